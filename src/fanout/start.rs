//! Where in the log a subscription begins that does not begin with new events.

use super::request::{ExpiredAction, Past, SubscribeError};
use crate::{
    event::{Epoch, Position},
    log::{Earliest, Located, ReadError, Reader},
};

/// Where a subscription begins in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub covered: Position,
    /// The subscriber has no event yet, and asked for none in particular: if retention removes
    /// events after `covered`, the start moves, and nobody is told of a gap.
    pub moves: bool,
    /// The gap that the subscriber has to be told of before the first event.
    pub gap: Option<Earliest>,
}

impl Past {
    pub(super) async fn place(
        self,
        reader: &Reader,
        epoch: Epoch,
        expired: ExpiredAction,
    ) -> Result<Place, SubscribeError> {
        let movable = |covered| Place {
            covered,
            moves: true,
            gap: None,
        };
        let fixed = |covered, gap| Place {
            covered,
            moves: false,
            gap,
        };
        let cursor = match self {
            Self::Earliest => return Ok(movable(reader.bounds().await?.earliest.before)),
            Self::At(time) => return Ok(movable(reader.before_time(time).await?)),
            Self::After(cursor) => cursor,
        };
        if !cursor.is_of(epoch) {
            return Err(SubscribeError::ForeignLog);
        }
        // `locate` finds the origin in every log, also in one whose first events are removed.
        let located = match reader.bounds().await?.earliest {
            earliest if cursor.sequence < earliest.before.sequence => Located::Expired(earliest),
            _ => reader.locate(cursor.sequence).await?,
        };
        match located {
            Located::Here(position) if position.id_tag == cursor.id_tag => {
                Ok(fixed(position, None))
            }
            // The event was erased; the cursor still marks its place.
            Located::Hole => Ok(fixed(cursor.position(), None)),
            Located::Here(_) | Located::Beyond => Err(SubscribeError::ForeignLog),
            // The place moves only once the gap is told.
            Located::Expired(earliest) if expired == ExpiredAction::Earliest => {
                Ok(fixed(cursor.position(), Some(earliest)))
            }
            Located::Expired(earliest) => Err(ReadError::Expired(earliest).into()),
        }
    }
}
