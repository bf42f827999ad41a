//! How many connections each door may have: the doors share the process's file descriptors.

use super::places::leaving_max;

/// Descriptors for the log's files, its readers, the runtime's sockets, standard input and output.
const RESERVE: usize = 64;
/// The webhook door has no use for more connections. In a burst of single posts each has its own.
const WEBHOOK_MAX: usize = 16_384;
/// The operations door has no use for more connections.
const ADMIN_MAX: usize = 1_024;
/// The gRPC door has no use for more connections.
const GRPC_MAX: usize = 65_536;
/// Fewer connections than this are logged as a warning: that many webhooks may be in flight at
/// once.
const FEW: usize = 1_024;

/// How many connections each door may have. A full door takes none from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// The webhook door.
    pub webhook: usize,
    /// The gRPC door.
    pub grpc: usize,
    /// The operations door.
    pub admin: usize,
}

impl Shares {
    /// Shares out the descriptors of the whole process.
    #[must_use]
    pub(crate) fn of(descriptors: usize) -> Self {
        let all = descriptors.saturating_sub(RESERVE);
        let admin = suffice_for(all / 16).min(ADMIN_MAX);
        let webhook = suffice_for(all / 2).min(WEBHOOK_MAX);
        let left = all.saturating_sub(needed_by(admin) + needed_by(webhook));
        let grpc = suffice_for(left).min(GRPC_MAX);
        Self {
            webhook,
            grpc,
            admin,
        }
    }

    /// Raises the limit of this process as far as the system allows, and shares it out. Warns if it
    /// is low.
    #[must_use]
    pub(crate) fn of_this_process() -> Self {
        let descriptors = raise();
        let shares = Self::of(descriptors);
        let Self {
            webhook,
            grpc,
            admin,
        } = shares;
        if webhook.min(grpc) < FEW {
            tracing::warn!(
                descriptors,
                webhook,
                grpc,
                admin,
                "there are few file descriptors, so the doors take few connections at the same \
                 time; raise LimitNOFILE in the systemd unit, or the hard limit (ulimit -Hn)"
            );
        }
        shares
    }
}

/// Descriptors that a door needs for this many connections. Connections that are about to close
/// count, too.
fn needed_by(connections: usize) -> usize {
    connections + leaving_max(connections)
}

/// The number of connections for which these descriptors are enough; at least one.
fn suffice_for(descriptors: usize) -> usize {
    descriptors.saturating_sub(leaving_max(descriptors)).max(1)
}

/// Raises the soft limit of descriptors to the hard one, and returns the limit.
#[cfg(unix)]
fn raise() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of file descriptors");
            current
        }
    };
    // No limit means more than any door uses.
    current.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

#[cfg(not(unix))]
fn raise() -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_door_has_a_share_and_all_together_fit() {
        for descriptors in [0, 64, 65, 100, 256, 1_024, 4_096, 20_000, 65_536, 1_048_576] {
            let Shares {
                webhook,
                grpc,
                admin,
            } = Shares::of(descriptors);
            let doors = [webhook, grpc, admin];
            assert!(
                doors.iter().all(|&door| door > 0),
                "{descriptors}: {doors:?}"
            );
            let needed: usize = doors.into_iter().map(needed_by).sum();
            let granted = descriptors.saturating_sub(RESERVE);
            assert!(needed <= granted.max(9), "{descriptors}: {doors:?}");
            assert!(
                webhook >= admin && grpc >= admin,
                "{descriptors}: {doors:?}"
            );
        }
        let most = Shares {
            webhook: WEBHOOK_MAX,
            grpc: GRPC_MAX,
            admin: ADMIN_MAX,
        };
        assert_eq!(Shares::of(1_048_576), most);
        assert_eq!(Shares::of(usize::MAX), most);
    }

    #[test]
    fn a_process_with_few_descriptors_keeps_some_for_webhooks_and_operators() {
        let shares = Shares::of(256);
        assert!(shares.webhook >= 80 && shares.admin >= 8, "{shares:?}");
    }
}
