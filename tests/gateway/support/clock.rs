//! A machine whose clock can be set: see `clock.c`, which the gateway is started with.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf, sync::OnceLock};

use super::{power::preloaded, process::Setup};

static LIBRARY: OnceLock<PathBuf> = OnceLock::new();

/// How far the clock of a gateway is ahead.
pub(crate) struct Clock(File);

impl Clock {
    /// Puts such a clock into a gateway's machine. It agrees with this process's at first.
    pub(crate) fn in_machine(setup: Setup) -> (Setup, Self) {
        let path = setup.folder().join("clock");
        let clock = Self(File::create(&path).expect("a clock"));
        clock.set_ahead(0);
        let library = preloaded(&LIBRARY, "clock").display().to_string();
        let setup = setup
            .environment("LD_PRELOAD", Some(&library))
            .environment("CLOCK_AHEAD", Some(&path.display().to_string()));
        (setup, clock)
    }

    pub(crate) fn set_ahead(&self, seconds: i64) {
        let written = self.0.write_all_at(&seconds.to_ne_bytes(), 0);
        written.expect("a clock");
    }
}
