//! The headers that are stored with an event.

use super::{Path, Reason, Surprise};

/// The most bytes of names and values that are stored with one event. Verbex's take about 200
/// bytes.
pub(super) const BYTES_MAX: usize = 32 * 1024;

const SIGNATURE: &str = "x-webhook-signature";

/// The stored headers: lower-case names, sorted, each once.
pub(super) struct Headers(Vec<(String, String)>);

impl Headers {
    /// Picks those that [`keeps_header`] names. Of a repeated header it takes the first value that
    /// is not empty, of signatures all values. Headers beyond [`BYTES_MAX`] are left out. Picking
    /// again from the result changes nothing.
    pub(super) fn pick(mut picked: Vec<(String, String)>) -> (Self, Option<Surprise>) {
        picked.retain(|(name, _)| keeps_header(name));
        for (name, _) in &mut picked {
            name.make_ascii_lowercase();
        }
        picked.sort_by(|(one, one_value), (other, other_value)| {
            one.cmp(other)
                .then(one_value.is_empty().cmp(&other_value.is_empty()))
        });
        picked.dedup_by(|(later, later_value), (first, first_value)| {
            // For a time after its secret has changed, Verbex also signs with the old one.
            if later == first && later == SIGNATURE && !later_value.is_empty() {
                *first_value = format!("{first_value}, {later_value}");
            }
            later == first
        });

        let count = picked.len();
        let mut bytes_left = BYTES_MAX;
        picked.retain(
            |(name, value)| match bytes_left.checked_sub(name.len() + value.len()) {
                Some(left) => {
                    bytes_left = left;
                    true
                }
                None => false,
            },
        );
        let surprise = (picked.len() < count).then(|| Surprise {
            field: Path::BODY.child("headers"),
            reason: Reason::TooLarge,
        });
        (Self(picked), surprise)
    }

    /// The value of a header, if it is present and not empty.
    pub(super) fn usable(&self, name: &str) -> Option<&str> {
        let index = self
            .0
            .binary_search_by(|(other, _)| other.as_str().cmp(name))
            .ok()?;
        Some(self.0[index].1.as_str()).filter(|value| !value.is_empty())
    }

    /// For the log.
    pub(super) fn into_vec(self) -> Vec<(String, String)> {
        self.0
    }
}

/// Whether a header is stored with an event: `x-webhook-*`, `user-agent` and `content-type`, in
/// upper or lower case.
pub(crate) fn keeps_header(name: &str) -> bool {
    const PREFIX: &str = "x-webhook-";
    let prefix = name.get(..PREFIX.len()).unwrap_or_default();
    prefix.eq_ignore_ascii_case(PREFIX)
        || name.eq_ignore_ascii_case("user-agent")
        || name.eq_ignore_ascii_case("content-type")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn only_headers_that_say_something_are_kept_sorted_and_in_lower_case() {
        let given = headers(&[
            ("X-Webhook-Traceid", "t"),
            ("Authorization", "Bearer secret"),
            ("X-Forwarded-For", "192.0.2.1"),
            ("User-Agent", "ReactorNetty/1.1.13"),
            ("x-webhook", "not one of them"),
            ("CONTENT-TYPE", "application/json"),
            ("X-Webhook-New", "kept"),
        ]);
        let (kept, surprise) = Headers::pick(given);
        assert_eq!(surprise, None);
        let expected = headers(&[
            ("content-type", "application/json"),
            ("user-agent", "ReactorNetty/1.1.13"),
            ("x-webhook-new", "kept"),
            ("x-webhook-traceid", "t"),
        ]);
        assert_eq!(kept.into_vec(), expected);
    }

    #[test]
    fn of_a_repeated_header_the_first_that_is_not_empty_counts() {
        let given = headers(&[
            ("X-Webhook-Event", ""),
            ("x-webhook-event", "b"),
            ("X-WEBHOOK-EVENT", "a"),
        ]);
        let (kept, _) = Headers::pick(given);
        assert_eq!(kept.usable("x-webhook-event"), Some("b"));
        assert_eq!(kept.into_vec().len(), 1);
    }

    #[test]
    fn of_signatures_all_are_kept() {
        let given = headers(&[
            ("X-Webhook-Signature", "v1=aa"),
            ("X-Webhook-Event", "e"),
            ("x-webhook-signature", ""),
            ("x-webhook-signature", "v1=bb"),
        ]);
        let (kept, _) = Headers::pick(given);
        assert_eq!(kept.usable("x-webhook-signature"), Some("v1=aa, v1=bb"));
        let (again, _) = Headers::pick(kept.0.clone());
        assert_eq!(again.0, kept.0);
    }

    #[test]
    fn huge_headers_are_left_out_alone_and_picking_again_changes_nothing() {
        let huge = "x".repeat(BYTES_MAX);
        let given = headers(&[
            ("x-webhook-a", &huge),
            ("x-webhook-event", "e"),
            ("x-webhook-b", &huge[..30_000]),
            ("x-webhook-c", &huge[..30_000]),
        ]);
        let (kept, surprise) = Headers::pick(given);
        assert_eq!(
            surprise.map(|surprise| surprise.reason),
            Some(Reason::TooLarge)
        );
        assert_eq!(kept.usable("x-webhook-event"), Some("e"));
        let kept = kept.into_vec();
        assert_eq!(kept.len(), 2);
        let (again, surprise) = Headers::pick(kept.clone());
        assert_eq!((again.into_vec(), surprise), (kept, None));
    }
}
