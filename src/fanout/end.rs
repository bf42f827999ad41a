//! Why a stream ends, and what log and metrics call that.

use crate::log::{Damage, Earliest};

/// Why the gateway ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The gateway shuts down.
    Draining,
    /// An operator ended it.
    Disconnected,
    /// Retention has removed events that the subscriber has not got.
    Expired(Earliest),
    /// The next events of the log cannot be read.
    Damaged(Option<Damage>),
    /// The deadline that the caller set has passed.
    Deadline,
    /// The caller's credentials have expired.
    CredentialsExpired,
}

/// How a subscription ended: for a reason of the gateway, or because its client left.
pub(super) type End = Option<EndReason>;

/// Makes [`LABELS`] and [`label`]. An end that is not listed does not compile.
macro_rules! labels {
    ($($end:pat => $label:literal;)+) => {
        /// The label of each end.
        pub(super) const LABELS: [&str; [$($label),+].len()] = [$($label),+];

        /// What the log and the metrics call an end.
        pub(super) const fn label(end: End) -> &'static str {
            match end { $($end => $label),+ }
        }
    };
}

labels! {
    None => "client left";
    Some(EndReason::Draining) => "draining";
    Some(EndReason::Disconnected) => "disconnected";
    Some(EndReason::Expired(_)) => "cursor expired";
    Some(EndReason::Damaged(_)) => "log damaged";
    Some(EndReason::Deadline) => "deadline";
    Some(EndReason::CredentialsExpired) => "credentials expired";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_end_has_a_label_of_its_own_that_the_documents_name() {
        let labels = BTreeSet::from(LABELS);
        assert_eq!(labels.len(), LABELS.len());
        let operations = include_str!("../../docs/operations.md");
        let ended = operations
            .lines()
            .find(|line| line.starts_with("| `subscription ended` |"))
            .unwrap();
        for label in labels {
            assert!(ended.contains(&format!("`{label}`")), "{label}");
        }
    }
}
