//! Which bytes of a closed file hold something, read from its pages
//! (<https://sqlite.org/fileformat2.html>).

use std::{collections::BTreeMap, ops::Range, path::Path};

use rusqlite::Connection;

pub(super) const PAGE: usize = 8192;

/// Why a byte may have any value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Free {
    /// No page, row or list of pages uses it.
    Space,
    /// In the header: counts changes of the schema, or names the SQLite that wrote last.
    Header,
    /// The key between two pages of a table: any key between theirs is as good.
    Divider,
    /// The key of a row of the schema, or the key's place in a row, which SQLite does not read.
    Key,
}

/// Bytes that hold something, and those of them that may have another value.
pub(super) struct Pages {
    file: Vec<u8>,
    used: Vec<bool>,
    free: BTreeMap<usize, Free>,
}

impl Pages {
    pub(super) fn read(path: &Path) -> Self {
        let conn = Connection::open(path).unwrap();
        let mut roots: Vec<usize> = vec![1];
        let mut statement = conn
            .prepare("SELECT rootpage FROM sqlite_schema WHERE rootpage > 0")
            .unwrap();
        let found = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        roots.extend(found.map(|root| usize::try_from(root.unwrap()).unwrap()));
        drop(statement);
        conn.close().unwrap();
        let file = std::fs::read(path).unwrap();
        let mut pages = Self {
            used: vec![false; file.len()],
            file,
            free: BTreeMap::new(),
        };
        pages.mark(0..100);
        for at in (40..44).chain(96..100) {
            pages.free.insert(at, Free::Header);
        }
        pages.free_pages();
        pages.pointer_maps();
        for root in roots {
            pages.tree(root);
        }
        pages
    }

    /// None if the byte holds something that nothing else says.
    pub(super) fn free(&self, at: usize) -> Option<Free> {
        match self.used[at] {
            false => Some(Free::Space),
            true => self.free.get(&at).copied(),
        }
    }

    fn mark(&mut self, bytes: Range<usize>) {
        self.used[bytes].fill(true);
    }

    fn number<const N: usize>(&self, at: usize) -> usize {
        let bytes = &self.file[at..at + N];
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte))
    }

    /// A number of variable length, and where it ends.
    fn varint(&self, at: usize) -> (usize, usize) {
        let mut number = 0;
        for end in at..at + 8 {
            number = number << 7 | usize::from(self.file[end] & 0x7f);
            if self.file[end] & 0x80 == 0 {
                return (number, end + 1);
            }
        }
        (number << 8 | usize::from(self.file[at + 8]), at + 9)
    }

    fn free_pages(&mut self) {
        let mut trunk = self.number::<4>(32);
        while trunk > 0 {
            let at = (trunk - 1) * PAGE;
            let leaves = self.number::<4>(at + 4);
            self.mark(at..at + 8 + 4 * leaves);
            trunk = self.number::<4>(at);
        }
    }

    /// Pages that say who points to each page.
    fn pointer_maps(&mut self) {
        let pages = self.file.len() / PAGE;
        let entries = PAGE / 5;
        let mut map = 2;
        while self.number::<4>(52) > 0 && map <= pages {
            let at = (map - 1) * PAGE;
            self.mark(at..at + 5 * entries.min(pages - map));
            map += entries + 1;
        }
    }

    fn tree(&mut self, page: usize) {
        let base = (page - 1) * PAGE;
        let head = base + if page == 1 { 100 } else { 0 };
        let (is_leaf, is_table) = match self.file[head] {
            2 => (false, false),
            5 => (false, true),
            10 => (true, false),
            13 => (true, true),
            kind => panic!("page {page} has the type {kind}"),
        };
        let cells = self.number::<2>(head + 3);
        let pointers = head + if is_leaf { 8 } else { 12 };
        self.mark(head..pointers + 2 * cells);
        let mut block = self.number::<2>(head + 1);
        while block > 0 {
            self.mark(base + block..base + block + 4);
            block = self.number::<2>(base + block);
        }
        if !is_leaf {
            self.tree(self.number::<4>(head + 8));
        }
        for cell in 0..cells {
            let at = base + self.number::<2>(pointers + 2 * cell);
            let mut end = at;
            if !is_leaf {
                self.tree(self.number::<4>(at));
                end += 4;
            }
            if is_table && !is_leaf {
                let (_, key_end) = self.varint(end);
                self.mark(at..key_end);
                for byte in end..key_end {
                    self.free.insert(byte, Free::Divider);
                }
                continue;
            }
            let (payload, mut begin) = self.varint(end);
            if is_table {
                let (_, key_end) = self.varint(begin);
                if page == 1 {
                    for byte in begin..key_end {
                        self.free.insert(byte, Free::Key);
                    }
                }
                begin = key_end;
                // The header begins with its length and the type of the first column, which is
                // NULL if that column is the key.
                let (_, first) = self.varint(begin);
                if self.file[first] == 0 {
                    self.free.insert(first, Free::Key);
                }
            }
            let local = local(payload, is_table);
            self.mark(at..begin + local);
            if local < payload {
                self.mark(begin + local..begin + local + 4);
                self.overflow(self.number::<4>(begin + local), payload - local);
            }
        }
    }

    fn overflow(&mut self, mut page: usize, mut left: usize) {
        while left > 0 {
            let at = (page - 1) * PAGE;
            let here = left.min(PAGE - 4);
            self.mark(at..at + 4 + here);
            left -= here;
            page = self.number::<4>(at);
        }
    }
}

/// The bytes of a payload that lie in its cell.
fn local(payload: usize, is_table: bool) -> usize {
    let most = match is_table {
        true => PAGE - 35,
        false => (PAGE - 12) * 64 / 255 - 23,
    };
    if payload <= most {
        return payload;
    }
    let least = (PAGE - 12) * 32 / 255 - 23;
    match least + (payload - least) % (PAGE - 4) {
        bytes if bytes <= most => bytes,
        _ => least,
    }
}
