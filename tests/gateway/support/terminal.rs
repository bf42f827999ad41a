//! A terminal for the program to run in.

use std::{fs::File, io, path::Path, process::Command};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::process::{PROGRAM, Process, isolate};

/// A command of the program in a terminal that does not say how wide it is. What both outputs say
/// is read as one, as standard output. It is no controlling terminal: what its keys would do is
/// done by signals.
pub(crate) fn spawn_in_terminal(
    folder: &Path,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Process {
    spawn(folder, args, variables, &Terminal::open())
}

/// The same in a terminal of so many columns.
pub(crate) fn spawn_in_columns(folder: &Path, args: &[&str], columns: u16) -> (Process, Terminal) {
    let terminal = Terminal::open();
    terminal.set_columns(columns);
    (spawn(folder, args, &[], &terminal), terminal)
}

/// The side on which people sit.
pub(crate) struct Terminal(File);

impl Terminal {
    fn open() -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY);
        let terminal = terminal.expect("a terminal");
        grantpt(&terminal).expect("a terminal");
        unlockpt(&terminal).expect("a terminal");
        Self(terminal.into())
    }

    /// Makes it wider or narrower.
    pub(crate) fn set_columns(&self, columns: u16) {
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.0, size).expect("a terminal");
    }
}

fn spawn(folder: &Path, args: &[&str], variables: &[(&str, &str)], terminal: &Terminal) -> Process {
    let name = ptsname(&terminal.0, Vec::new()).expect("a terminal");
    let name = name.to_str().expect("a path");
    let side = || {
        let side = File::options().read(true).write(true).open(name);
        side.expect("the other side of the terminal")
    };
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(folder);
    isolate(&mut command);
    command
        .env("TERM", "xterm-256color")
        .envs(variables.iter().copied());
    command.stdin(side()).stdout(side()).stderr(side());
    let child = command.spawn().expect("the program starts");
    let reader = terminal.0.try_clone().expect("a descriptor");
    // The command goes, and with it the sides that are open here: so the reader finds an end.
    Process::started(&command, folder, child, reader, io::empty())
}
