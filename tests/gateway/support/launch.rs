//! Starts that are not by the book: output that goes elsewhere.

use std::{
    io::{self, PipeReader, PipeWriter, Write},
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

use rustix::pipe::fcntl_setpipe_size;

use super::{
    PATIENCE, eventually_asking,
    process::{Finished, Gateway, Process, Setup},
    webhook::{Http, client},
};

/// The smallest that a pipe may be.
const PAGE: usize = 4096;

/// A pipe that takes no byte more until somebody reads.
pub(crate) fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let size = fcntl_setpipe_size(&writer, PAGE).expect("a size for a pipe");
    writer.write_all(&vec![b'\n'; size]).expect("room");
    (reader, writer)
}

impl Setup {
    /// A gateway with its output elsewhere, at the addresses of one that was stopped or killed:
    /// nobody reads its banner.
    pub(crate) async fn start_with(
        self,
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Gateway {
        let address = |setting: &str| {
            let address = self.variable(setting).expect("an address");
            address.to_owned()
        };
        let webhook_url = format!("https://{}/webhooks/verbex", address("WEBHOOK_ADDR"));
        let grpc = address("GRPC_ADDR").parse().expect("an address");
        let admin_url = format!("http://{}", address("ADMIN_ADDR"));
        let process = launched(self.command(), &self, stdout, stderr);
        let ready = format!("{admin_url}/readyz");
        let http = client("".as_ref(), Http::One);
        let ready = eventually_asking(PATIENCE, "the gateway is ready", async || {
            let answer = http.get(&ready).send().await.ok()?;
            (answer.status() == 200).then_some(())
        });
        ready.await;
        Gateway {
            webhook_url,
            grpc,
            admin_url,
            setup: self,
            process,
        }
    }

    /// A gateway that is handed a socket, as systemd does, under a name.
    pub(crate) async fn start_on(self, socket: &TcpListener, name: &str) -> Gateway {
        let socket = socket.try_clone().expect("a socket");
        let process = self.spawn_on(socket, name);
        self.announced(process).await
    }

    /// A start on a socket that is expected to end by itself.
    pub(crate) async fn refused_on(self, socket: impl Into<OwnedFd>, name: &str) -> Finished {
        self.spawn_on(socket, name).finished().await
    }

    fn spawn_on(&self, socket: impl Into<OwnedFd>, name: &str) -> Process {
        // Only a process itself knows its id before it is the gateway; and the socket comes as the
        // one descriptor that can be given.
        let words = format!(
            "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES='{name}'"
        );
        let mut command = self.clone().shell(&words).command();
        command
            .current_dir(self.folder())
            .stdin(socket.into())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        Process::started(&command, self.folder(), child, stdout, stderr)
    }

    /// A start with its output elsewhere that is expected to end by itself.
    pub(crate) fn refused_with(
        self,
        stdout: impl Into<Stdio>,
        stderr: impl Into<Stdio>,
    ) -> Process {
        launched(self.command(), &self, stdout, stderr)
    }
}

fn launched(
    mut command: Command,
    setup: &Setup,
    stdout: impl Into<Stdio>,
    stderr: impl Into<Stdio>,
) -> Process {
    command
        .current_dir(setup.folder())
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let child = command.spawn().expect("the program starts");
    Process::started(&command, setup.folder(), child, io::empty(), io::empty())
}
