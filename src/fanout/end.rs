use crate::log::Earliest;

/// Why the gateway ends a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The gateway shuts down.
    Draining,
    /// An operator ended the stream.
    Disconnected,
    /// Retention has removed events before the subscriber got them.
    Expired(Earliest),
    /// The log is damaged.
    Damaged,
    /// The deadline that the caller set has passed.
    Deadline,
    /// The caller's credentials have expired.
    CredentialsExpired,
}

/// How a subscription ended: for a reason of the gateway, or because its client left.
pub(super) type End = Option<EndReason>;

/// Every end. The place in [`EndReason::Expired`] does not matter here.
pub(super) const ENDS: [End; 7] = [
    None,
    Some(EndReason::Draining),
    Some(EndReason::Disconnected),
    Some(EndReason::Expired(Earliest {
        before: Position::ORIGIN,
        time: None,
    })),
    Some(EndReason::Damaged),
    Some(EndReason::Deadline),
    Some(EndReason::CredentialsExpired),
];

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
    Some(EndReason::Damaged) => "log damaged";
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
