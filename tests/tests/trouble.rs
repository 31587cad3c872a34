//! Trouble of the surroundings: one clear sentence, the right exit code, and nothing lost.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::batchless::{self, Run};
use crate::sender::Sent;
use crate::site::{Site, wait_until};

/// Fails unless it ended with this code, after one sentence that has these words, and no panic.
fn assert_said(run: &Run, code: i32, words: &[&str]) {
    assert_eq!(run.code, Some(code), "{run:?}");
    let sentences: Vec<&str> =
        run.stderr.lines().filter(|line| line.starts_with("batchless: ")).collect();
    let [sentence] = sentences[..] else { unreachable!("one sentence, but: {}", run.stderr) };
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in {sentence:?}");
    }
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!run.stderr.contains(word), "{}", run.stderr);
    }
}

/// A site at which two files were applied.
fn applied() -> (Site, Vec<Sent>) {
    let files = vec![Sent::nacha("payments.ach", 91, 200), Sent::ipm("cards.ipm", 91, 200)];
    let site = Site::with(&files);
    let run = site.once();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    (site, files)
}

/// Drops one more file, and shows that all goes on.
fn assert_goes_on(site: &Site, mut files: Vec<Sent>) {
    files.push(Sent::nacha("later.ach", 92, 50));
    site.drop_in(&files[2]);
    let run = site.once();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    site.assert_whole(&files);
}

#[test]
fn wrong_flags_are_usage() {
    let site = Site::new();
    for (arguments, word) in [
        (&["run", "--colour"][..], "--colour"),
        (&["frobnicate"], "frobnicate"),
        (&["run", "--inbox", "ach", "--once"], "--format"),
        (&["run", "--inbox", "ach", "--format", "swift", "--once"], "swift"),
        (&["run", "--config", "batchless.toml", "--inbox", "ach", "--format", "nacha"], "--config"),
        (&["files", "--output", "xml"], "xml"),
        (&["run", "--config", "wrong.toml", "--once"], "shrads"),
    ] {
        fs::write(site.path().join("wrong.toml"), "[ledger]\nshrads = 8\n").unwrap();
        let run = site.batchless(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(word), "{arguments:?}: {}", run.stderr);
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
        assert!(!site.data().exists(), "{arguments:?} made a data directory");
    }
}

/// What can't be a directory, or isn't there. (Modes don't hinder who is root.)
#[test]
fn directories_that_can_not_be_used() {
    let site = Site::new();
    fs::write(site.path().join("a-file"), "text").unwrap();
    for (arguments, words) in [
        (["run", "--inbox", "ach", "--data", "a-file"], ["data directory", "a-file"]),
        (["run", "--inbox", "ach", "--data", "a-file/below"], ["data directory", "a-file/below"]),
        (["run", "--inbox", "a-file", "--data", "data"], ["a-file", "folder"]),
        (["run", "--inbox", "nowhere", "--data", "data"], ["nowhere", "folder"]),
    ] {
        let arguments = [&arguments[..], &["--format", "nacha", "--once"]].concat();
        assert_said(&site.batchless(&arguments), 1, &words);
    }
    assert_eq!(fs::read_to_string(site.path().join("a-file")).unwrap(), "text");
    for command in ["files", "accounts", "rejects", "verify"] {
        let run = site.batchless(&[command, "--data", "nowhere"]);
        assert_said(&run, 1, &["nowhere", "data directory"]);
        assert!(!site.path().join("nowhere").exists(), "{command} made it");
    }
}

#[test]
fn another_ledgers_key_is_refused() {
    let (site, files) = applied();
    let key = site.data().join("key");
    let right = fs::read_to_string(&key).unwrap();
    let rows = site.stored_rows();
    for (wrong, words) in [
        (format!("{}\n", "5".repeat(64)), ["key", "restore"]),
        ("not a key\n".to_owned(), ["key", "64 hexadecimal digits"]),
    ] {
        fs::write(&key, wrong).unwrap();
        assert_said(&site.once(), 1, &words);
        assert!(site.stored_rows() == rows);
    }
    fs::remove_file(&key).unwrap();
    assert_said(&site.once(), 1, &["key", "restore"]);
    fs::write(&key, right).unwrap();
    assert_goes_on(&site, files);
}

#[test]
fn a_second_run_is_refused() {
    let (site, files) = applied();
    let working = site.start();
    let has_the_lock = || working.said().contains("started");
    wait_until("the first has the lock", has_the_lock, || working.said());
    assert_said(&site.once(), 1, &["another `batchless run`", "data"]);
    // Who only reads is not held up.
    assert_eq!(site.batchless(&["verify", "--data", "data"]).code, Some(0));
    working.terminate();
    assert_goes_on(&site, files);
}

/// Folds what a database has in its write-ahead log into its file, as its own shutdown does.
fn fold(database: &Path) {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
}

/// Overwritten pages of either database: said in a sentence by whoever meets them, never a panic;
/// with the right pages back, all goes on.
#[test]
fn a_damaged_database_is_said_and_not_made_worse() {
    let (site, files) = applied();
    for name in ["accounts.db", "log.db"] {
        let path = site.data().join(name);
        fold(&path);
        let whole = fs::read(&path).unwrap();
        // The head of the file, and all of it but the head.
        for (from, length) in [(0, 4096), (4096, whole.len() - 4096)] {
            let mut file = File::options().write(true).open(&path).unwrap();
            file.seek(SeekFrom::Start(from)).unwrap();
            file.write_all(&vec![0xa5; length]).unwrap();
            drop(file);
            assert_said(&site.once(), 1, &[name]);
            for command in ["files", "accounts", "verify"] {
                let run = site.batchless(&[command, "--data", "data"]);
                let concerned = command == "verify" || (command == "files") == (name == "log.db");
                if concerned {
                    assert_said(&run, 1, &[name]);
                }
                assert!(!run.stderr.contains("panicked"), "{run:?}");
            }
            let beside = |ending: &str| site.data().join(format!("{name}{ending}"));
            for left in [beside("-wal"), beside("-shm")] {
                drop(fs::remove_file(left));
            }
            fs::write(&path, &whole).unwrap();
        }
    }
    assert_goes_on(&site, files);
}

/// A disk that may be full: a small file system in memory, given back at the end.
struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount one.
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir(&folder).unwrap();
        let arguments = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"];
        let mount = Command::new("mount").args(arguments).arg(&folder).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(folder))
    }

    fn resize(&self, mib: u64) {
        let size = format!("remount,size={mib}m");
        let status = Command::new("mount").args(["-o", &size]).arg(&self.0).status().unwrap();
        assert!(status.success(), "mount: {status}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A full disk: it ends with a sentence, each time a little further on; with room it goes on, and
/// every record counts once.
#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let files = [Sent::nacha("payments.ach", 93, 20_000), Sent::ipm("cards.ipm", 93, 20_000)];
    let site = Site::with(&files);
    let Some(disk) = Disk::mount(site.data()) else {
        println!("skipped: only root may mount a small disk");
        return;
    };
    let mut full = 0;
    for mib in [1, 2, 4, 6, 8, 12, 16] {
        disk.resize(mib);
        let run = site.once();
        if run.code == Some(0) {
            break;
        }
        assert_said(&run, 1, &["full"]);
        let says_what_to_do =
            ["free some space", "make room"].iter().any(|w| run.stderr.contains(w));
        assert!(says_what_to_do, "{}", run.stderr);
        full += 1;
    }
    assert!(full >= 3, "it was full {full} times");
    disk.resize(256);
    let run = site.once();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    site.assert_whole(&files);
}

/// A disk that fails to write: no file may grow over a size, which the operating system answers
/// as it does a broken disk.
#[test]
fn a_failing_disk_is_said_and_nothing_is_lost() {
    let files = [Sent::nacha("payments.ach", 94, 20_000), Sent::ipm("cards.ipm", 94, 20_000)];
    let site = Site::with(&files);
    let mut failed = 0;
    for kib in [16, 256, 1024, 2048, 4096] {
        // The signal that goes with the limit is ignored: the write fails.
        let script = format!(
            "trap '' XFSZ; ulimit -f {kib}; exec '{}' run --config batchless.toml --once",
            batchless::path().display()
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(site.path());
        let run = site.bounded(command);
        if run.code == Some(0) {
            break;
        }
        assert_said(&run, 1, &["disk"]);
        failed += 1;
    }
    assert!(failed >= 3, "it failed {failed} times");
    let run = site.once();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    site.assert_whole(&files);
}
