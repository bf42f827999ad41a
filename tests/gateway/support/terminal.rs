//! A terminal for the program to run in.

use std::{fs::File, io, path::Path, process::Command};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::process::{PROGRAM, Process, isolate};

/// A command of the program in a terminal: what both outputs say is read as one, as standard output. It is no controlling terminal:
/// what its keys would do is done by signals.
pub(crate) fn spawn_in_terminal(
    folder: &Path,
    args: &[&str],
    variables: &[(&str, &str)],
) -> Process {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY);
    let terminal = terminal.expect("a terminal");
    grantpt(&terminal).expect("a terminal");
    unlockpt(&terminal).expect("a terminal");
    let name = ptsname(&terminal, Vec::new()).expect("a terminal");
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
    // The command goes, and with it the sides that are open here: so the reader finds an end.
    Process::started(&command, folder, child, File::from(terminal), io::empty())
}
