//! A disk that fails and loses power: see `power.c`, which the gateway is started with.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use super::process::Setup;

static LIBRARY: OnceLock<PathBuf> = OnceLock::new();

/// What would be left of a gateway's data folder.
pub(crate) struct Disk {
    data: PathBuf,
    shadow: PathBuf,
}

impl Disk {
    /// Puts such a disk under a gateway that does not run. What is in its folder is on the disk.
    pub(crate) fn under(setup: Setup) -> (Setup, Self) {
        let folder = fs::canonicalize(setup.folder()).expect("a folder");
        let disk = Self {
            data: folder.join("data"),
            shadow: folder.join("shadow"),
        };
        let _ = fs::remove_dir_all(&disk.shadow);
        fs::create_dir(&disk.shadow).expect("a shadow");
        disk.take_over().expect("a shadow");
        let text = |path: &Path| path.display().to_string();
        let setup = setup
            .environment("LD_PRELOAD", Some(&text(preloaded(&LIBRARY, "power"))))
            .environment("SHADOW_OF", Some(&text(&disk.data)))
            .environment("SHADOW", Some(&text(&disk.shadow)));
        (setup, disk)
    }

    fn take_over(&self) -> io::Result<()> {
        let mut names = String::new();
        if self.data.exists() {
            for entry in fs::read_dir(&self.data)? {
                let file = entry?;
                let (name, about) = (file.file_name(), file.metadata()?);
                let name = name.to_string_lossy();
                if about.is_file() && !name.ends_with("-shm") {
                    fs::copy(file.path(), self.shadow.join(about.ino().to_string()))?;
                    names.push_str(&format!("{} {name}\n", about.ino()));
                }
            }
        }
        fs::write(self.shadow.join("names"), names)
    }

    /// From the next call on, the `nth` of this kind (`sync`, `write`, `name`) on this file (`*`:
    /// any) fails, and those after it, until it has been `times`.
    pub(crate) fn fail(&self, kind: &str, name: &str, nth: usize, times: usize) {
        let written = self.shadow.join("fail.new");
        fs::write(&written, format!("{kind} {name} {nth} {times}\n")).expect("a fault");
        fs::rename(written, self.shadow.join("fail")).expect("a fault");
    }

    /// From now on syncs of this file (`*`: any) hang, until [`Self::release`].
    pub(crate) fn hold(&self, name: &str) {
        let written = self.shadow.join("hold.new");
        fs::write(&written, name).expect("a hold");
        fs::rename(written, self.shadow.join("hold")).expect("a hold");
    }

    pub(crate) fn release(&self) {
        fs::remove_file(self.shadow.join("hold")).expect("a hold");
    }

    /// From now on each sync takes so long.
    pub(crate) fn slow_down(&self, ms: u32) {
        fs::write(self.shadow.join("slow"), ms.to_string()).expect("a slow disk");
    }

    /// Calls so far: a line for each, `KIND NAME`, with `failed` behind it if it did. A sync that
    /// is held has another line before, with `waits`.
    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(self.shadow.join("calls")).unwrap_or_default()
    }

    /// Leaves in the folder of a gateway that was killed what a loss of power leaves. What is
    /// started next has a good disk.
    pub(crate) fn lose_power(&self, setup: Setup) -> Setup {
        for entry in fs::read_dir(&self.data).expect("the data folder") {
            let path = entry.expect("a file").path();
            if path.is_file() {
                fs::remove_file(path).expect("a file");
            }
        }
        let names = fs::read_to_string(self.shadow.join("names")).expect("a synced folder");
        for line in names.lines() {
            let (content, name) = line.split_once(' ').expect("a name");
            // A file that was never synced is empty.
            let content = match fs::read(self.shadow.join(content)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                content => content.expect("what was synced"),
            };
            fs::write(self.data.join(name), content).expect("a file");
        }
        ["LD_PRELOAD", "SHADOW_OF", "SHADOW"]
            .into_iter()
            .fold(setup, |setup, name| setup.environment(name, None))
    }
}

/// What a gateway is started with, compiled once for all tests from `NAME.c` beside this file.
pub(crate) fn preloaded(once: &'static OnceLock<PathBuf>, name: &str) -> &'static Path {
    once.get_or_init(|| {
        let source = format!(
            "{}/tests/gateway/support/{name}.c",
            env!("CARGO_MANIFEST_DIR")
        );
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.so"));
        let draft = built.with_extension(std::process::id().to_string());
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&draft);
        let compiled = cc.arg(&source).args(["-ldl", "-lpthread"]).status();
        assert!(compiled.expect("cc runs").success(), "{source}");
        fs::rename(draft, &built).expect("a library");
        built
    })
}
