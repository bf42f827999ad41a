//! Files that the documents show are shown as they are.

use std::fs;

const OPERATIONS: &str = include_str!("../../docs/operations.md");

#[test]
fn the_units_and_the_hook_are_shown_as_they_are() {
    let mut shown = 0;
    for block in OPERATIONS.split("```").skip(1).step_by(2) {
        let text = block.split_once('\n').map_or("", |(_, text)| text);
        let Some(text) = text.strip_prefix("# deploy/") else {
            continue;
        };
        let (name, text) = text.split_once('\n').expect("a file under its name");
        let path = format!("{}/deploy/{name}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(fs::read_to_string(path).unwrap(), text, "{name}");
        shown += 1;
    }
    assert_eq!(shown, 3);
}
