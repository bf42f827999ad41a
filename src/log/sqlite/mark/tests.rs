use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

fn mark(number: u64) -> Mark {
    let time = |seconds: u64| Timestamp::from_second(seconds.try_into().unwrap()).unwrap();
    Mark {
        epoch: Epoch([7; 16]),
        last: Position {
            sequence: Sequence(number),
            id_tag: [1, 2, 3, 4, 5, 250],
            receive_time: (number > 0).then(|| time(number)),
        },
        moved: Sequence(number / 2),
        written: time(number + 1),
    }
}

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join(MARK_NAME);
    (folder, path)
}

#[test]
fn the_newest_record_is_read_and_only_the_owner_reads_it() {
    let (_folder, path) = file();
    assert_eq!(read(&path).unwrap(), None);
    for number in 0..5 {
        // Each time as a start does it.
        MarkFile::open(&path).unwrap().write(&mark(number)).unwrap();
        assert_eq!(read(&path).unwrap(), Some(mark(number)));
    }
    let largest = Mark {
        last: Position {
            sequence: Sequence(u64::MAX),
            receive_time: Some(Timestamp::MAX),
            ..mark(1).last
        },
        moved: Sequence(u64::MAX),
        written: Timestamp::MIN,
        ..mark(1)
    };
    assert_eq!(record(u64::MAX, &largest).len(), RECORD_BYTES);
    assert_eq!(
        parse(&record(u64::MAX, &largest)),
        Some((u64::MAX, largest))
    );
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), 2 * RECORD_BYTES as u64);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn whatever_a_torn_write_leaves_of_one_record_the_other_counts() {
    let (_folder, path) = file();
    let mut open = MarkFile::open(&path).unwrap();
    open.write(&mark(1)).unwrap();
    open.write(&mark(2)).unwrap();
    let before = fs::read(&path).unwrap();
    open.write(&mark(3)).unwrap();
    let after = fs::read(&path).unwrap();
    for length in 0..RECORD_BYTES {
        let mut torn = before.clone();
        torn[RECORD_BYTES..][..length].copy_from_slice(&after[RECORD_BYTES..][..length]);
        fs::write(&path, torn).unwrap();
        let found = read(&path).unwrap();
        let whole = after[RECORD_BYTES..][length..]
            .iter()
            .all(|b| b" \n".contains(b));
        assert_eq!(found, Some(mark(if whole { 3 } else { 2 })), "{length}");
    }
}

#[test]
fn a_flipped_bit_is_never_a_mark_of_another_place() {
    let (_folder, path) = file();
    MarkFile::open(&path).unwrap().write(&mark(1)).unwrap();
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, flipped).unwrap();
        assert!(matches!(read(&path), Err(_) | Ok(Some(_))), "{bit}");
        if let Ok(found) = read(&path) {
            assert_eq!(found, Some(mark(1)), "{bit}");
        }
    }
    fs::write(&path, "").unwrap();
    assert_eq!(read(&path).unwrap(), None, "made, and nothing written");
    fs::write(&path, "x".repeat(700)).unwrap();
    read(&path).unwrap_err();
    // It is written over.
    MarkFile::open(&path).unwrap().write(&mark(9)).unwrap();
    assert_eq!(read(&path).unwrap(), Some(mark(9)));
}
