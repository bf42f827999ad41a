use std::path::Path;

use super::*;
use crate::{
    event::{EventId, Raw},
    filter::Selector,
    log::{
        Damage, Query, ReadError,
        sqlite::{file::tests::open, ids::Recent, query},
        tests::{all, event},
    },
};

/// A file with nine events, of which those up to `through` have no checksum.
fn upgraded(folder: &tempfile::TempDir, through: u64) -> LogFile {
    let mut file = open(folder);
    file.commit((1..=9).map(|number| {
        let mut event = event(number.into());
        event.id = EventId([number; 16]);
        event.event.id = event.id.to_string();
        event.raw = Raw {
            json: "{}".into(),
            headers: Vec::new(),
        };
        event.into()
    }))
    .unwrap();
    let made = file.change(|conn| {
        conn.execute(
            "UPDATE events SET checksum = 0 WHERE sequence <= ?1",
            [through],
        )?;
        conn.execute("UPDATE log SET unchecked_sequence = ?1", [through])?;
        Ok(schema::seal(conn)?)
    });
    made.unwrap();
    file
}

fn sql(folder: &Path, sql: &str) {
    let conn = Connection::open(folder.join("events.db")).unwrap();
    conn.execute_batch(sql).unwrap();
}

fn damage(file: &LogFile, selector: Selector) -> Option<Damage> {
    let query = Query { selector, ..all() };
    let read = file
        .read(|conn| Ok(query::read(conn, &Recent::default(), &query)))
        .unwrap();
    match read {
        Ok(batch) if batch.complete => None,
        // The next read meets the damage first.
        Ok(batch) => {
            let after = batch.covered.sequence;
            let query = Query { after, ..query };
            match file
                .read(|conn| Ok(query::read(conn, &Recent::default(), &query)))
                .unwrap()
            {
                Err(ReadError::Damaged { damage, .. }) => damage,
                other => panic!("{other:?}"),
            }
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_row_without_a_checksum_is_damaged_unless_its_file_was_upgraded() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = upgraded(&folder, 4);
    assert_eq!(damage(&file, Selector::default()), None);
    sql(
        folder.path(),
        "UPDATE events SET checksum = 0 WHERE sequence = 5",
    );
    let found = damage(&file, Selector::default());
    assert_eq!(found, Some(Damage::at(Sequence(5))));
}

#[test]
fn checksums_are_made_step_by_step_for_all_rows_that_are_whole() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut file = upgraded(&folder, 6);
    // It was changed before it got a checksum: what is sent is another event.
    sql(
        folder.path(),
        "UPDATE events SET encoded = x'00' WHERE sequence = 4;
         UPDATE events SET id = zeroblob(16) WHERE sequence = 2;
         DELETE FROM events WHERE sequence = 3",
    );
    let bounds: Vec<u64> = std::iter::from_fn(|| {
        let next = Unchecked.step(&mut file, Instant::now()).unwrap();
        (next != Next::Never).then(|| file.read(bound).unwrap().0)
    })
    .collect();
    assert_eq!(bounds, [5, 4, 3, 1, 0]);
    let count = "SELECT group_concat(sequence) FROM events WHERE checksum = 0";
    let lacking = file.read(|conn| conn.query_row(count, [], |row| row.get::<_, String>(0)));
    assert_eq!(lacking.unwrap(), "2,4");
    assert!(file.read(schema::is_sealed).unwrap());
    let read = |number| {
        let id = EventId([number; 16]);
        let read = file.read(|conn| Ok(query::get(conn, &Recent::default(), id)));
        read.unwrap().map(|found| found.is_some())
    };
    assert!(read(1).unwrap() && read(5).unwrap());
    assert!(matches!(read(4), Err(ReadError::Damaged { .. })));
}
