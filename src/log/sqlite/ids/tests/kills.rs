//! A process that ends between any two writes. A group is one transaction, and its writes are
//! frames that are appended to the write-ahead log. So what a kill leaves is the file with the
//! beginning of its write-ahead log, and so is what a power loss leaves of writes that were not
//! synced: SQLite takes frames up to the first that is not whole.

use std::fs;

use super::*;

/// Bytes of the write-ahead log before its first frame, and of a frame without its page.
const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The model of an event log whose last group may not be there.
fn rows(conn: &Connection) -> BTreeMap<u64, u64> {
    let mut rows = conn.prepare("SELECT id, sequence FROM events").unwrap();
    let rows = rows.query_map([], |row| {
        let id: [u8; 16] = row.get(0)?;
        let number = id[8..].try_into().map(u64::from_be_bytes).unwrap();
        Ok((number, row.get(1)?))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
fn ids_are_exact_after_a_kill_between_any_two_writes() {
    let mut log = Log::new();
    let wal = log.path().with_extension("db-wal");
    let copy = TempDir::new().unwrap();
    let copied = copy.path().join("events.db");
    let (mut kills, mut ended_work) = (0, 0);
    let mut before = log.model.clone();
    for group in 0..40_u64 {
        let begin = fs::metadata(&wal).unwrap().len() as usize;
        // Some are there already.
        log.commit(&Vec::from_iter(group * 9..group * 9 + 12));
        // Its thread gets time, so that the next group has work to write.
        (0..200).for_each(|_| thread::yield_now());
        let bytes = fs::read(&wal).unwrap();
        let page: usize = 8 * 1024;
        let frames = (bytes.len() - WAL_HEADER) / (FRAME_HEADER + page);
        for frame in 0..=frames {
            let whole = WAL_HEADER + frame * (FRAME_HEADER + page);
            for end in [whole, whole + FRAME_HEADER + page / 2] {
                if end < begin || end > bytes.len() {
                    continue;
                }
                fs::copy(log.path(), &copied).unwrap();
                fs::write(copied.with_extension("db-wal"), &bytes[..end]).unwrap();
                let _ = fs::remove_file(copied.with_extension("db-shm"));
                let conn = connection::writer(&copied).unwrap();
                let found = rows(&conn);
                assert!(found == before || found == log.model);
                let recent = Arc::default();
                let mut ids = open(&conn, &copied, &recent);
                ended_work += usize::from(!ids.dead.is_empty());
                check(
                    &conn,
                    &mut ids,
                    &recent,
                    &found,
                    (group * 9).saturating_sub(30)..group * 9 + 20,
                );
                kills += 1;
            }
        }
        before = log.model.clone();
        connection::checkpoint(&log.conn, "TRUNCATE").unwrap();
    }
    assert!(kills > 200, "{kills}");
    assert!(ended_work > 5, "{ended_work}");
}
