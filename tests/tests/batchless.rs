//! The built binary, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary `batchless` of the profile that this test was built with.
///
/// # Panics
///
/// Where it isn't built: tests of one crate alone don't build the binary of another.
pub(crate) fn path() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let profile = test.ancestors().nth(2).expect("tests are built into target/<profile>/deps");
    let binary = profile.join(format!("batchless{}", std::env::consts::EXE_SUFFIX));
    let advice = "run `cargo build -p cli` first, or ./test, which does";
    assert!(binary.is_file(), "{} is missing: {advice}", binary.display());
    binary
}

/// A command of the binary in this directory, with nothing of the caller's settings.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(path());
    command.current_dir(directory).env("NO_COLOR", "1").stdin(std::process::Stdio::null());
    for (name, _) in std::env::vars() {
        if name.starts_with("BATCHLESS_") {
            command.env_remove(name);
        }
    }
    command
}

/// What a run said and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit code; none where a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Runs it to its end in this directory.
pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Run {
    let output = command(directory).args(arguments).output().expect("the binary starts");
    Run::from(output)
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Run {
    /// The objects of NDJSON on standard output.
    pub(crate) fn objects(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in: {line}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}
