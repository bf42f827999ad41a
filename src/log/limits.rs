//! How much the log keeps.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{Span, SpanRelativeTo};

/// The least that [`Limits::bytes`] can be: the write-ahead log needs its share of it.
pub(crate) const BYTES_MIN: u64 = 64 * 1024 * 1024;

/// How much the log keeps, and how much of the disk it leaves free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events that are older are removed.
    pub age: Age,
    /// The bytes that the log may take on disk, its write-ahead log included. Beyond it the oldest
    /// events are removed.
    pub bytes: Option<u64>,
    /// With less free space on its disk, the log takes no events.
    pub disk_free_bytes_min: u64,
}

impl Limits {
    /// Keeps everything, for as long as the disk takes it.
    pub const NONE: Self = Self {
        age: Age::FOR_EVER,
        bytes: None,
        disk_free_bytes_min: 0,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            age: Age(Some(Duration::from_secs(30 * 24 * 60 * 60))),
            bytes: None,
            disk_free_bytes_min: 256 * 1024 * 1024,
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.age {
            Age::FOR_EVER => f.write_str("for ever")?,
            age => write!(f, "for {age}")?,
        }
        match self.bytes {
            Some(bytes) => write!(f, ", {bytes} bytes at most"),
            None => Ok(()),
        }
    }
}

/// How long events are kept: a whole number of seconds, or for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(Option<Duration>);

impl Age {
    /// Events are not removed for their age.
    pub const FOR_EVER: Self = Self(None);

    /// None if events are kept for ever.
    pub(super) fn duration(self) -> Option<Duration> {
        self.0
    }
}

const NEVER: &str = "never";
const UNITS: [(u64, char); 4] = [(24 * 60 * 60, 'd'), (60 * 60, 'h'), (60, 'm'), (1, 's')];

impl FromStr for Age {
    type Err = ();

    /// Reads `never`, or a length such as `30d` or `12h`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if text == NEVER {
            return Ok(Self::FOR_EVER);
        }
        let span: Span = text.parse().map_err(|_| ())?;
        // Months and years have no fixed length, and are refused.
        let length = span
            .to_duration(SpanRelativeTo::days_are_24_hours())
            .map_err(|_| ())?;
        let length = Duration::try_from(length).map_err(|_| ())?;
        (length.as_secs() > 0 && length.subsec_nanos() == 0)
            .then_some(Self(Some(length)))
            .ok_or(())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(length) = self.0 else {
            return f.write_str(NEVER);
        };
        let seconds = length.as_secs();
        let whole = UNITS.iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
        let (unit, name) = whole.copied().unwrap_or((1, 's'));
        write!(f, "{}{name}", seconds / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_length_of_whole_seconds_or_never() {
        let shown = |text: &str| text.parse::<Age>().map(|age| age.to_string());
        for (text, expected) in [
            ("30d", "30d"),
            ("720h", "30d"),
            ("2w", "14d"),
            ("1d 12h", "36h"),
            ("90m", "90m"),
            ("2s", "2s"),
            ("PT24H", "1d"),
            ("never", "never"),
        ] {
            assert_eq!(shown(text), Ok(expected.to_owned()), "{text}");
        }
        for text in [
            "", "30", "0s", "-1d", "1mo", "1y", "1ms", "1.5s", "Never", "d",
        ] {
            assert_eq!(shown(text), Err(()), "{text}");
        }
    }
}
