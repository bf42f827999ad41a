//! Where in the log a subscription begins that asks for past events.

use super::{
    catchup::Reads,
    request::{ExpiredAction, Past, SubscribeError},
};
use crate::{
    event::Position,
    log::{Earliest, Located, ReadError},
};

/// Where a subscription begins in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub covered: Position,
    /// The subscriber has no event yet and named no cursor. If retention removes events after
    /// `covered`, the start moves, and the subscriber is told of no gap.
    pub moves: bool,
    /// A gap to tell the subscriber before the first event.
    pub gap: Option<Earliest>,
}

impl Place {
    pub(super) fn at(head: Position) -> Self {
        Self {
            covered: head,
            moves: false,
            gap: None,
        }
    }
}

impl Past {
    pub(super) async fn place(
        self,
        reads: &Reads,
        expired: ExpiredAction,
    ) -> Result<Place, SubscribeError> {
        let reader = &reads.reader;
        let movable = |covered| Place {
            moves: true,
            ..Place::at(covered)
        };
        let cursor = match self {
            Self::Earliest => return Ok(movable(reader.bounds().await?.earliest.before)),
            Self::At(time) => return Ok(movable(reader.before_time(time).await?)),
            Self::After(cursor) => cursor,
        };
        if !cursor.is_of(reads.epoch) && !reader.was_known(cursor).await? {
            return Err(SubscribeError::ForeignLog);
        }
        // `locate` finds the origin in every log, even if its first events are removed.
        let located = match reader.bounds().await?.earliest {
            earliest if cursor.sequence < earliest.before.sequence => Located::Expired(earliest),
            _ => reader.locate(cursor.sequence).await?,
        };
        match located {
            Located::Here(position) if position.id_tag == cursor.id_tag => Ok(Place::at(position)),
            // The event was erased; the cursor still marks its place.
            Located::Hole => Ok(Place::at(cursor.position())),
            Located::Here(_) | Located::Beyond => Err(SubscribeError::ForeignLog),
            // The place moves only when the subscriber is told of the gap.
            Located::Expired(earliest) if expired == ExpiredAction::Earliest => Ok(Place {
                gap: Some(earliest),
                ..Place::at(cursor.position())
            }),
            Located::Expired(earliest) => Err(ReadError::Expired(earliest).into()),
        }
    }
}
