//! A disk of a few megabytes, to be full: a file system in memory.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A small file system.
#[derive(Debug)]
pub(crate) struct Disk {
    place: PathBuf,
}

impl Disk {
    /// A disk of so many megabytes, mounted on a folder.
    ///
    /// # Panics
    ///
    /// Where nothing can be mounted: neither are we root, nor may `sudo` be used without asking.
    pub(crate) fn mount(place: &Path, megabytes: u64) -> Self {
        fs::create_dir_all(place).unwrap();
        let size = format!("size={megabytes}m,mode=1777");
        let place = place.to_owned();
        as_root(&["mount", "-t", "tmpfs", "-o", &size, "tests", place.to_str().unwrap()]);
        Self { place }
    }

    /// Writes until there is no more space.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.place.join("filler")).unwrap();
        let mut block = vec![0_u8; 1 << 16];
        while !block.is_empty() {
            if file.write_all(&block).is_err() {
                block.truncate(block.len() / 2);
            }
        }
    }

    /// Gives the space back.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.place.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what still has it open ends with the test.
        let place = self.place.to_str().unwrap().to_owned();
        if !std::thread::panicking() {
            as_root(&["umount", "-l", &place]);
        }
    }
}

fn as_root(command: &[&str]) {
    let id = Command::new("id").arg("-u").output().unwrap();
    let sudo: &[&str] = if id.stdout == b"0\n" { &[] } else { &["sudo", "-n"] };
    let words: Vec<&str> = sudo.iter().chain(command).copied().collect();
    let ran = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{words:?}, which needs root: {said}");
}
