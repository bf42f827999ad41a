//! The flags that choose events, the same for every command that reads them.

use clap::builder::{
    NonEmptyStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser,
};

use crate::{
    event::EVENT_TYPES,
    proto::{EventFilter, EventType},
};

/// Which events. Values of one flag are alternatives; flags that are given must all match.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which events (repeat a flag or use commas for alternatives)")]
pub(super) struct FilterFlags {
    /// Only events of this type
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_delimiter = ',',
        ignore_case = true,
        value_parser = type_parser(),
    )]
    types: Vec<EventType>,
    /// Only events of this agent
    #[arg(
        long = "agent",
        value_name = "AGENT_ID",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new(),
    )]
    agents: Vec<String>,
    /// Only events of this call
    #[arg(
        long = "call",
        value_name = "CALL_ID",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new(),
    )]
    calls: Vec<String>,
    /// Only events of this organization
    #[arg(
        long = "org",
        value_name = "ORGANIZATION_ID",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new(),
    )]
    organizations: Vec<String>,
    /// Only events with this name, such as CallHandler.CallEnded
    #[arg(
        long = "name",
        value_name = "EVENT_NAME",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    names: Vec<String>,
    /// Only events with this status, such as failed
    #[arg(
        long = "status",
        value_name = "STATUS",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new()
    )]
    statuses: Vec<String>,
}

impl FilterFlags {
    /// The filter as the gRPC API has it.
    pub(super) fn to_filter(&self) -> EventFilter {
        EventFilter {
            event_types: self.types.iter().map(|&kind| kind.into()).collect(),
            agent_ids: self.agents.clone(),
            call_ids: self.calls.clone(),
            organization_ids: self.organizations.clone(),
            event_names: self.names.clone(),
            statuses: self.statuses.clone(),
        }
    }

    pub(super) fn is_everything(&self) -> bool {
        self.to_filter() == EventFilter::default()
    }
}

/// The short name of a type.
pub(super) const fn type_name(event_type: EventType) -> &'static str {
    match event_type {
        EventType::CallStarted => "call-started",
        EventType::CallEnded => "call-ended",
        EventType::CallTransferred => "call-transferred",
        EventType::PcaCompleted => "pca-completed",
        // A type that only a newer gateway knows arrives as unspecified.
        EventType::Other | EventType::Unspecified => "other",
    }
}

/// Accepts the short names, and the names in the gRPC API.
fn type_parser() -> impl TypedValueParser<Value = EventType> {
    let values =
        EVENT_TYPES.map(|kind| PossibleValue::new(type_name(kind)).alias(kind.as_str_name()));
    PossibleValuesParser::new(values).map(|typed| {
        let is_meant = |kind: &EventType| {
            let names = [type_name(*kind), kind.as_str_name()];
            names.iter().any(|name| name.eq_ignore_ascii_case(&typed))
        };
        // The parser above accepts no other value.
        let meant = EVENT_TYPES.into_iter().find(is_meant);
        meant.unwrap_or(EventType::Other)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        filter: FilterFlags,
    }

    fn parse(line: &str) -> Result<EventFilter, String> {
        let words = std::iter::once("test").chain(line.split_whitespace());
        match Command::try_parse_from(words) {
            Ok(command) => Ok(command.filter.to_filter()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn each_flag_fills_its_field_and_repeats_and_commas_are_alternatives() {
        let texts = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let filter = parse(
            "--type call-ended,other --type EVENT_TYPE_PCA_COMPLETED --type Call-Started --agent \
             a,b --agent c --call d --org e --name CallHandler.CallEnded --status failed",
        );
        let types = [
            EventType::CallEnded,
            EventType::Other,
            EventType::PcaCompleted,
            EventType::CallStarted,
        ];
        assert_eq!(
            filter.unwrap(),
            EventFilter {
                event_types: types.map(i32::from).into(),
                agent_ids: texts(&["a", "b", "c"]),
                call_ids: texts(&["d"]),
                organization_ids: texts(&["e"]),
                event_names: texts(&["CallHandler.CallEnded"]),
                statuses: texts(&["failed"]),
            }
        );
        assert_eq!(parse("").unwrap(), EventFilter::default());
    }

    #[test]
    fn an_empty_value_is_refused() {
        for flag in ["--agent", "--call", "--org", "--name", "--status"] {
            for value in ["", "a,", ",b"] {
                let told = parse(&format!("{flag}={value}")).unwrap_err();
                assert!(told.contains(flag), "{told}");
            }
        }
    }

    #[test]
    fn a_type_that_is_none_is_refused_with_those_that_are() {
        for wrong in ["call", "EVENT_TYPE_UNSPECIFIED", "1"] {
            let told = parse(&format!("--type {wrong}")).unwrap_err();
            for kind in EVENT_TYPES {
                assert!(told.contains(type_name(kind)), "{told}");
            }
        }
    }
}
