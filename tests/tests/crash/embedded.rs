//! A directory with inboxes, an embedded log and a store, and child processes at work on it.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::LazyLock;

use tests::step::Step;

use super::enumeration::Start;
use super::evidence;
use super::scene::{SMALL, Scene};
use crate::oracle::audit::{Expected, Report, audit};
use crate::site::wait_until;

/// The signal that ends a process that aborts.
const SIGABRT: i32 = 6;

/// A directory for children.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    scene: &'static Scene,
    orders: &'static str,
}

/// A site at which the small files are reconciled; copied by whoever begins there.
static SETTLED: LazyLock<Site> = LazyLock::new(|| {
    let site = Site::new(&SMALL, "");
    site.goes_on();
    site
});

/// Copies the files of a folder, whichever lie there already.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

impl Site {
    /// A site at which nothing was done yet.
    pub(crate) fn new(scene: &'static Scene, orders: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        scene.drop_into(folder.path());
        fs::create_dir(folder.path().join("data")).unwrap();
        Self { folder, scene, orders }
    }

    /// A site as a case begins.
    pub(crate) fn at(start: Start) -> Self {
        let site = Self::new(start.scene(), start.orders());
        if start.is_reconciled() {
            site.copy_data_of(&SETTLED);
        }
        if start == Start::OlderStore {
            fs::remove_file(site.data().join("accounts.db")).unwrap();
        }
        site
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Takes over the log and store of another site, and its objects: whose versions, by which
    /// they are known, are those of the very files.
    fn copy_data_of(&self, other: &Self) {
        copy_files(&other.data(), &self.data());
        for sent in &self.scene.sent {
            let object = |site: &Self| site.path().join(sent.feed).join(&sent.name);
            fs::remove_file(object(self)).unwrap();
            fs::hard_link(object(other), object(self)).unwrap();
        }
    }

    /// Starts a child with more arguments.
    pub(crate) fn start(&self, arguments: &[String]) -> Child {
        let said = File::options().create(true).append(true).open(self.said_path()).unwrap();
        Command::new(env!("CARGO_BIN_EXE_crash-child"))
            .arg(format!("directory={}", self.folder.path().display()))
            .arg(format!("orders={}", self.orders))
            .args(arguments)
            .stderr(said)
            .spawn()
            .unwrap()
    }

    fn run(&self, arguments: &[String]) -> ExitStatus {
        self.start(arguments).wait().unwrap()
    }

    /// A child that pauses at a step: all of its threads, until it is told to go on.
    pub(crate) fn pauses_at(&self, step: Step, hit: u64) -> Paused {
        let step = format!("step={}", step.name());
        let mut child = self.start(&[step, format!("hit={hit}"), "then=pause".to_owned()]);
        let stat = format!("/proc/{}/stat", child.id());
        // The state stands behind the name, which is in parentheses; a T is a stopped process.
        let is_stopped = || fs::read_to_string(&stat).is_ok_and(|text| text.contains(") T "));
        let mut ended = None;
        wait_until(
            "it pauses",
            || {
                ended = child.try_wait().unwrap();
                is_stopped() || ended.is_some()
            },
            || self.said(),
        );
        assert!(ended.is_none(), "it ended before it paused: {ended:?}\n{}", self.said());
        Paused(child)
    }

    /// Has a child abort at a step; false where it came to its end before.
    pub(crate) fn aborts_at(&self, step: Step, hit: u64) -> bool {
        let step = format!("step={}", step.name());
        let status = self.run(&[step, format!("hit={hit}"), "then=abort".to_owned()]);
        assert!(status.success() || status.signal() == Some(SIGABRT), "{status}\n{}", self.said());
        !status.success()
    }

    /// Has a child work until all is at an end.
    pub(crate) fn goes_on(&self) {
        let status = self.run(&[]);
        assert!(status.success(), "{status}\n{}", self.said());
    }

    /// Has a child work until all is at an end, where it may; false where another process has one
    /// of the databases locked.
    pub(crate) fn is_let_go_on(&self) -> bool {
        let status = self.run(&[]);
        let is_locked = ["is locked by another process", "another process holds a lock"]
            .iter()
            .any(|words| self.said().contains(words));
        assert!(status.success() || is_locked, "{status}\n{}", self.said());
        status.success()
    }

    /// What its children have said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.said_path()).unwrap()
    }

    fn said_path(&self) -> PathBuf {
        self.path().join("said.txt")
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What the oracle finds.
    pub(crate) fn audit(&self) -> Report {
        self.audit_after(|_| ())
    }

    /// What the oracle finds where more is expected than was sent.
    pub(crate) fn audit_after(&self, change: impl FnOnce(&mut Expected)) -> Report {
        let mut expected = self.scene.expected.clone();
        change(&mut expected);
        audit(&expected, &evidence::embedded(&self.data()))
    }
}

/// A process that is paused; killed where a test ends before it goes on.
pub(crate) struct Paused(Child);

impl Paused {
    /// Has it go on until it ends.
    pub(crate) fn goes_on(mut self) -> ExitStatus {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-CONT", &id]).status().unwrap().success());
        let child = &mut self.0;
        let mut status = None;
        let ended = || {
            status = child.try_wait().unwrap();
            status.is_some()
        };
        wait_until("it ended", ended, String::new);
        status.unwrap()
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // It may have ended already, which is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
