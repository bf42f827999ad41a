//! The parts that run until the end, each with a name.

use std::{collections::HashMap, fmt, future::Future, pin::Pin};

use tokio::task::{Id, JoinSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Log,
    Fanout,
    WebhookDoor,
    GrpcDoor,
    AdminDoor,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "the log",
            Self::Fanout => "the fan-out",
            Self::WebhookDoor => "the webhook door",
            Self::GrpcDoor => "the gRPC door",
            Self::AdminDoor => "the operators' door",
        })
    }
}

/// The work of a part, from its start to its end.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The parts that run. Dropping this ends them.
pub(super) struct Parts {
    tasks: JoinSet<()>,
    /// A task that panics gives only its id, so its part is looked up here.
    parts: HashMap<Id, Part>,
}

impl Parts {
    pub(super) fn start(parts: impl IntoIterator<Item = (Part, Work)>) -> Self {
        let mut tasks = JoinSet::new();
        let parts = parts
            .into_iter()
            .map(|(part, work)| (tasks.spawn(work).id(), part))
            .collect();
        Self { tasks, parts }
    }

    /// The next part that ends, for whatever reason; none if all have ended.
    pub(super) async fn next_ended(&mut self) -> Option<Part> {
        let id = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        self.parts.remove(&id)
    }

    /// Resolves when this part has ended.
    pub(super) async fn ended(&mut self, part: Part) {
        while let Some(ended) = self.next_ended().await {
            if ended == part {
                return;
            }
        }
    }
}
