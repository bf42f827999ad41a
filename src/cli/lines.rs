//! Output that never makes the program wait: a separate thread writes it.
//!
//! A write to standard output or standard error blocks while nobody reads the pipe or the terminal.
//! Here a caller only puts a line into a queue. When [`LINES_MAX`] lines wait, further ones are
//! dropped and counted.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for the thread.
const LINES_MAX: usize = 1024;

/// A handle to the thread. Clones use the same thread.
#[derive(Clone)]
pub(super) struct Lines(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Lines that were not written, because the queue was full or the write failed.
    dropped: Counter,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    /// Whether the thread is writing a line.
    writing: bool,
}

impl Lines {
    /// Starts the thread, which writes to `out` until the process ends. When all waiting lines are
    /// written, it calls `missed` with the number of lines that were dropped.
    ///
    /// # Errors
    /// If the system provides no descriptor or no thread.
    pub(super) fn start(
        name: &str,
        out: impl AsFd,
        missed: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        // Not through the standard library's handle, which holds a lock during a write.
        let mut out = File::from(out.as_fd().try_clone_to_owned()?);
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            dropped: Counter::default(),
        });
        let lines = Self(Arc::clone(&shared));
        thread::Builder::new().name(name.into()).spawn(move || {
            let mut told = 0;
            loop {
                let line = shared.next();
                if out.write_all(&line).is_err() {
                    shared.dropped.inc();
                    continue;
                }
                let dropped = shared.dropped.get();
                if dropped > told && shared.lock().waiting.is_empty() {
                    missed(dropped - told);
                    told = dropped;
                }
            }
        })?;
        Ok(lines)
    }

    /// Puts a line, with its line break, into the queue.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() < LINES_MAX {
            state.waiting.push_back(line.to_owned());
            self.0.changed.notify_all();
        } else {
            self.0.dropped.inc();
        }
    }

    /// Blocks until all lines are written, or `time` has passed.
    pub(super) fn flush(&self, time: Duration) {
        let pending = |state: &mut State| state.writing || !state.waiting.is_empty();
        let state = self.0.lock();
        let _ = self.0.changed.wait_timeout_while(state, time, pending);
    }

    /// Counts the lines that were dropped.
    pub(super) fn dropped(&self) -> Counter {
        self.0.dropped.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next line for the thread. The call means that the line before is written.
    fn next(&self) -> Vec<u8> {
        let mut state = self.lock();
        state.writing = false;
        loop {
            if let Some(line) = state.waiting.pop_front() {
                state.writing = true;
                return line;
            }
            self.changed.notify_all();
            let woken = self.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

/// Writes one line at once.
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        sync::mpsc::{self, Receiver},
        time::Instant,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn started() -> (Lines, io::PipeReader, Receiver<u64>) {
        let (reader, writer) = io::pipe().unwrap();
        let (told, missed) = mpsc::channel();
        let lines = Lines::start("lines", writer, move |count| told.send(count).unwrap());
        (lines.unwrap(), reader, missed)
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_was_dropped_is_counted_and_told_once_there_is_room() {
        const LINES: u64 = 5_000;
        let (lines, mut reader, missed) = started();
        let line = [&[b'a'; 99][..], b"\n"].concat();
        for _ in 0..LINES {
            lines.push(&line);
        }
        let began = Instant::now();
        lines.flush(Duration::from_millis(10));
        assert!(began.elapsed() < PATIENCE);
        let dropped = lines.dropped().get();
        assert!(dropped > 0);
        assert!(missed.try_recv().is_err());

        let mut read = vec![0; usize::try_from(LINES - dropped).unwrap() * line.len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(line.len()).all(|read| read == line));
        assert_eq!(missed.recv_timeout(PATIENCE), Ok(dropped));
    }

    #[test]
    fn a_flush_waits_until_all_is_written() {
        let (lines, mut reader, _missed) = started();
        for number in 0..100 {
            lines.push(format!("{number:02}\n").as_bytes());
        }
        lines.flush(PATIENCE);
        let mut read = [0; 300];
        reader.read_exact(&mut read).unwrap();
        assert!(read.ends_with(b"98\n99\n"));
        assert_eq!(lines.dropped().get(), 0);
    }

    #[test]
    fn a_pipe_that_is_closed_costs_the_line_and_nothing_else() {
        let (lines, reader, missed) = started();
        drop(reader);
        lines.push(b"a\n");
        lines.push(b"b\n");
        lines.flush(PATIENCE);
        assert_eq!(lines.dropped().get(), 2);
        assert!(missed.try_recv().is_err());
    }
}
