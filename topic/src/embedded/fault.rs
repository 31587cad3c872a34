//! What a failure of SQLite means for whoever called, in one sentence.

use std::path::Path;
use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::Error;

/// A failure that may have to be told to several callers.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    fate: Fate,
    what: String,
    source: Option<Arc<rusqlite::Error>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Retry,
    Indefinite,
    Fatal,
}

impl Fault {
    /// A fault that isn't SQLite's.
    pub(super) fn fatal(what: String) -> Self {
        Self { fate: Fate::Fatal, what, source: None }
    }

    /// What a failure before, or without, a commit means: nothing happened.
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let (fate, what) = sentence(path, source.sqlite_error_code());
        Self { fate, what, source: Some(Arc::new(source)) }
    }

    /// What a failure of the commit itself means.
    ///
    /// Nothing happened where SQLite rolled back; but where the disk failed in the middle of the
    /// commit, what it had taken so far may come back after a crash.
    pub(super) fn of_commit(path: &Path, source: rusqlite::Error, is_rolled_back: bool) -> Self {
        let is_of_the_disk = source.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        let mut fault = Self::of(path, source);
        if !is_rolled_back || is_of_the_disk {
            fault.fate = Fate::Indefinite;
        }
        fault
    }

    /// The error to give to one of the callers.
    pub(super) fn to_error(&self) -> Error {
        let what = self.what.clone();
        let source = self.source.clone().map(|it| Box::new(it) as Box<_>);
        match self.fate {
            Fate::Retry => Error::Retry { what, source },
            Fate::Indefinite => Error::Indefinite { what, source },
            Fate::Fatal => Error::Fatal { what, source },
        }
    }
}

fn sentence(path: &Path, code: Option<ErrorCode>) -> (Fate, String) {
    let file = path.display();
    let directory = path.parent().unwrap_or(path).display();
    match code {
        Some(ErrorCode::DiskFull) => {
            (Fate::Retry, format!("the disk of {directory} is full; make room on it"))
        }
        Some(ErrorCode::SystemIoFailure) => (
            Fate::Retry,
            format!("the disk of {directory} fails to read or write; check it, and its free space"),
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Fate::Retry, format!("{file} is locked by another process; end that one"))
        }
        Some(ErrorCode::OutOfMemory) => (Fate::Retry, "memory ran out; free some".to_owned()),
        Some(ErrorCode::NotADatabase) => {
            (Fate::Fatal, format!("{file} is not a log of ours, or is damaged; {RESTORE}"))
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            Fate::Fatal,
            format!(
                "{file} can't be opened; make sure that {directory} is a directory in which this \
                 user may read and write"
            ),
        ),
        // Corruption, and what only corruption can cause: tables or columns that aren't ours.
        _ => (Fate::Fatal, format!("{file} is damaged; {RESTORE}")),
    }
}

/// The one remedy of damage.
const RESTORE: &str = "restore the data directory from a backup";

/// A failure of a read: SQLite's, or ours.
#[derive(Debug)]
pub(super) enum ReadFault {
    Sqlite(rusqlite::Error),
    Log(Error),
}

impl From<rusqlite::Error> for ReadFault {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(source)
    }
}

impl From<Error> for ReadFault {
    fn from(error: Error) -> Self {
        Self::Log(error)
    }
}

impl ReadFault {
    /// The error to give to the caller.
    pub(super) fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Sqlite(source) => Fault::of(path, source).to_error(),
            Self::Log(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    fn kind(error: &Error) -> &'static str {
        match error {
            Error::Retry { .. } => "retry",
            Error::Indefinite { .. } => "indefinite",
            Error::Fatal { .. } => "fatal",
            Error::Fenced { .. } | Error::Outside { .. } => "other",
        }
    }

    /// Before a commit nothing is ever indefinite; in a commit, what may come back is.
    #[test]
    fn each_failure_has_its_fate() {
        let path = Path::new("/data/log.db");
        for (code, before, rolled_back, open) in [
            (ffi::SQLITE_FULL, "retry", "retry", "indefinite"),
            (ffi::SQLITE_BUSY, "retry", "retry", "indefinite"),
            (ffi::SQLITE_IOERR_FSYNC, "retry", "indefinite", "indefinite"),
            (ffi::SQLITE_CORRUPT, "fatal", "fatal", "indefinite"),
            (ffi::SQLITE_NOTADB, "fatal", "fatal", "indefinite"),
            (ffi::SQLITE_READONLY, "fatal", "fatal", "indefinite"),
            (ffi::SQLITE_CANTOPEN, "fatal", "fatal", "indefinite"),
        ] {
            let fate = |fault: Fault| kind(&fault.to_error());
            assert_eq!(fate(Fault::of(path, failure(code))), before, "{code}");
            assert_eq!(fate(Fault::of_commit(path, failure(code), true)), rolled_back, "{code}");
            assert_eq!(fate(Fault::of_commit(path, failure(code), false)), open, "{code}");
        }
    }
}
