//! docs/api.md says what the protos say. Its reference is made from them:
//!
//! ```sh
//! UPDATE_DOCS=1 cargo test --test gateway api_document
//! ```

use std::{env, fmt::Write, fs, path::Path};

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    ServiceDescriptor,
};
use verbex_gateway::proto::DESCRIPTOR_SET;

/// What follows this line is made; what comes before it is written by hand.
const MADE: &str = "<!-- From here on made from proto/: UPDATE_DOCS=1 cargo test --test gateway \
 api_document -->\n";
const GOOGLE: &str = "https://protobuf.dev/reference/protobuf/google.protobuf/#";

#[test]
fn the_reference_is_what_the_protos_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let document = fs::read_to_string(&path).unwrap();
    let (written, made) = document.split_once(MADE).expect("a line where it begins");
    let fresh = reference();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{written}{MADE}{fresh}")).unwrap();
        return;
    }
    let differ = made
        .lines()
        .zip(fresh.lines())
        .find(|(old, new)| old != new);
    assert!(
        made == fresh,
        "docs/api.md is not what the protos say, from here on: {differ:#?}\n\
         UPDATE_DOCS=1 cargo test --test gateway api_document"
    );
}

fn reference() -> String {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    // As a newcomer reads: how to get events, what an event is, and last what operators need.
    let files = ["event_service", "event", "admin_service"].map(|name| {
        let path = format!("verbex/gateway/v1/{name}.proto");
        pool.get_file_by_name(&path).unwrap()
    });
    let mut text = String::new();
    for file in &files {
        for service in file.services() {
            push_service(&mut text, &service);
        }
    }
    text += "\n## Messages\n";
    for message in files.iter().flat_map(FileDescriptor::messages) {
        push_message(&mut text, &message);
    }
    text += "\n## Enums\n";
    for an_enum in files.iter().flat_map(FileDescriptor::enums) {
        push_enum(&mut text, &an_enum);
    }
    text
}

fn push_service(text: &mut String, service: &ServiceDescriptor) {
    let file = service.parent_file();
    let comment = comment(&file, service.path());
    write!(text, "\n## {}\n\n{comment}\n", service.name()).unwrap();
    for method in service.methods() {
        let stream = if method.is_server_streaming() {
            "a stream of "
        } else {
            ""
        };
        write!(
            text,
            "\n### {}\n\n{} → {stream}{}\n\n{}\n",
            method.name(),
            link(method.input().name()),
            link(method.output().name()),
            self::comment(&file, method.path()),
        )
        .unwrap();
    }
}

fn push_message(text: &mut String, message: &MessageDescriptor) {
    let file = message.parent_file();
    let comment = comment(&file, message.path());
    write!(text, "\n### {}\n\n{comment}\n", message.name()).unwrap();
    for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
        let names: Vec<String> = oneof
            .fields()
            .map(|field| format!("`{}`", field.name()))
            .collect();
        let comment = self::comment(&file, oneof.path());
        let names = names.join(", ");
        write!(
            text,
            "\n`{}` is at most one of {names}. {comment}\n",
            oneof.name()
        )
        .unwrap();
    }
    // By number, so that those of a group stand together and the order is that of the wire.
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    if !fields.is_empty() {
        *text += "\n| | field | type | meaning |\n|---|---|---|---|\n";
    }
    for field in fields {
        let comment = cell(&self::comment(&file, field.path()));
        let (number, name, kind) = (field.number(), field.name(), kind(&field));
        writeln!(text, "| {number} | `{name}` | {kind} | {comment} |").unwrap();
    }
}

fn push_enum(text: &mut String, an_enum: &EnumDescriptor) {
    let file = an_enum.parent_file();
    let comment = comment(&file, an_enum.path());
    write!(text, "\n### {}\n\n{comment}\n", an_enum.name()).unwrap();
    *text += "\n| | value | meaning |\n|---|---|---|\n";
    for value in an_enum.values() {
        let comment = cell(&self::comment(&file, value.path()));
        writeln!(
            text,
            "| {} | `{}` | {comment} |",
            value.number(),
            value.name()
        )
        .unwrap();
    }
}

/// The type of a field, with a link to what is described elsewhere.
fn kind(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let inner = |field: FieldDescriptor| kind(&field);
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map of {} to {}", inner(key), inner(value));
    }
    let name = match field.kind() {
        Kind::Message(message) if message.package_name() == "google.protobuf" => {
            let anchor = message.name().to_lowercase();
            format!("[{}]({GOOGLE}{anchor})", message.name())
        }
        Kind::Message(message) => link(message.name()),
        Kind::Enum(an_enum) => link(an_enum.name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let own_presence = field.field_descriptor_proto().proto3_optional();
    match (field.is_list(), own_presence) {
        (true, _) => format!("repeated {name}"),
        (false, true) => format!("optional {name}"),
        (false, false) => name,
    }
}

fn link(name: &str) -> String {
    format!("[{name}](#{})", name.to_lowercase())
}

/// The comment of what is at this path in its file, without the space behind each `//`.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let proto = file.file_descriptor_proto();
    let mut places = proto
        .source_code_info
        .iter()
        .flat_map(|info| &info.location);
    let place = places.find(|place| place.path == path);
    let comment = place.map_or("", |place| place.leading_comments());
    assert!(!comment.is_empty(), "{} {path:?} says nothing", file.name());
    let lines: Vec<&str> = comment
        .trim_end()
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    lines.join("\n")
}

/// In one line of a table.
fn cell(comment: &str) -> String {
    comment.replace('\n', " ").replace('|', "\\|")
}
