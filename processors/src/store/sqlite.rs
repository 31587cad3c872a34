//! The store in SQLite: the embedded default.
//!
//! SQLite has one writer, so one thread writes: whatever rounds are ready share one commit, and one
//! sync of the disk. Readers have connections of their own and are never held up by it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use schemas::FileId;
use schemas::ledger::Ledger;
use tokio::sync::{mpsc, oneshot};

use crate::account::AccountName;
use crate::run::Run;
use crate::store::{Commit, Error, Fetched, OutcomeRow, Probe, Range, ShardRow, Store};

mod read;
mod write;

pub use read::SqliteView;

/// Marks the file as ours: "btls".
const APPLICATION_ID: i32 = 0x6274_6c73;

/// The layout of the tables.
const LAYOUT: i32 = 2;

/// Pages of 4 KiB in the write-ahead log before it is taken over into the database: 64 MiB. A group
/// of rounds over uniformly spread accounts fills some 40 MiB, and should not wait for the transfer
/// each time.
const WAL_PAGES: i64 = 16_384;

/// Page cache of the writer: 8 MiB, of a reader: 1 MiB. It holds the inner pages of the trees, and
/// the system's cache holds the rest: memory stays flat.
const WRITER_CACHE_KIB: i64 = 8_192;
const READER_CACHE_KIB: i64 = 1_024;

/// How long a lock that another process holds is waited for, before the caller backs off.
const BUSY_MS_MAX: u64 = 5_000;

/// Work waiting for the writer: each shard has one round under way, so this is never reached; it
/// bounds what a defect could pile up.
const WAITING_MAX: usize = 1_024;

/// A store in a SQLite database. A cheap handle; clones are the same store.
#[derive(Clone, Debug)]
pub struct SqliteStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// None where the store is only read.
    writer: Option<mpsc::Sender<write::Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Connections that nobody is reading with.
    readers: Mutex<Vec<Connection>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread ends when nobody can ask it any more; waiting for it closes the database.
        drop(self.writer.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the store ended by a panic");
        }
    }
}

impl SqliteStore {
    /// Opens the store in this file, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// *Unusable* where the file can't be opened or made, is no store of ours or damaged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_probed(path, Probe::default())
    }

    /// The same for tests that stop it in the middle.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    #[doc(hidden)]
    pub fn open_probed(path: &Path, probe: Probe) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = connect(path, flags, WRITER_CACHE_KIB)?;
        write::prepare(&mut connection).map_err(|error| failed(path, error))?;
        check_layout(path, &connection)?;
        let (sender, jobs) = mpsc::channel(WAITING_MAX);
        let writer = write::Writer::new(path.to_owned(), connection, probe);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.work(jobs))
            .map_err(|error| Error::Retry {
                what: "no thread could be started for the writer".to_owned(),
                source: Some(Box::new(error)),
            })?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            writer: Some(sender),
            thread: Some(thread),
            readers: Mutex::new(Vec::new()),
        })))
    }

    /// Opens the store in this file beside whoever writes it, to read only.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and where there is none.
    pub fn open_read_only(path: &Path) -> Result<Self, Error> {
        let connection = connect_reader(path)?;
        check_layout(path, &connection)?;
        let readers = Mutex::new(vec![connection]);
        Ok(Self(Arc::new(Inner { path: path.to_owned(), writer: None, thread: None, readers })))
    }

    async fn write<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> write::Job,
    ) -> Result<T, Error> {
        let gone = || Error::Unusable {
            what: format!("the writer of {} has ended; start again", self.0.path.display()),
            source: None,
        };
        let writer = self.0.writer.as_ref().ok_or_else(|| Error::Unusable {
            what: format!("{} is open for reading only", self.0.path.display()),
            source: None,
        })?;
        let (reply, answer) = oneshot::channel();
        writer.send(job(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.clone();
        blocking(move || {
            let readers = || store.0.readers.lock().unwrap_or_else(PoisonError::into_inner);
            let idle = readers().pop();
            let connection = idle.map_or_else(|| connect_reader(&store.0.path), Ok)?;
            let found = read(&connection).map_err(|error| failed(&store.0.path, error))?;
            readers().push(connection);
            Ok(found)
        })
        .await
    }
}

impl Store for SqliteStore {
    type View = SqliteView;

    async fn open_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        self.write(|reply| write::Job::OpenLedger(ledger.clone(), reply)).await
    }

    async fn acquire(&self, shard: u32) -> Result<ShardRow, Error> {
        self.write(|reply| write::Job::Acquire(shard, reply)).await
    }

    async fn fetch(
        &self,
        shard: u32,
        accounts: Vec<AccountName>,
        files: Vec<FileId>,
    ) -> Result<Fetched, Error> {
        if accounts.is_empty() && files.is_empty() {
            return Ok(Fetched::default());
        }
        self.read(move |connection| read::fetch(connection, shard, &accounts, &files)).await
    }

    async fn fingerprints(
        &self,
        shard: u32,
        file: FileId,
        sequences: Vec<i64>,
    ) -> Result<Vec<(i64, i64)>, Error> {
        self.read(move |connection| read::fingerprints(connection, shard, &file, &sequences)).await
    }

    async fn reversing(&self, shard: u32) -> Result<Vec<Run>, Error> {
        self.read(move |connection| read::reversing(connection, shard)).await
    }

    async fn taken(
        &self,
        shard: u32,
        file: FileId,
        range: Range,
    ) -> Result<Vec<OutcomeRow>, Error> {
        self.read(move |connection| read::taken(connection, shard, &file, range)).await
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<(), Error> {
        self.write(|reply| write::Job::Commit(commit, reply)).await
    }

    async fn view(&self) -> Result<SqliteView, Error> {
        let path = self.0.path.clone();
        blocking(move || SqliteView::begin(path)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(found) => found,
        Err(error) => Err(Error::Retry {
            what: "a read of the store was given up".to_owned(),
            source: Some(Box::new(error)),
        }),
    }
}

fn connect_reader(path: &Path) -> Result<Connection, Error> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true).map_err(|error| failed(path, error))?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags, cache_kib: i64) -> Result<Connection, Error> {
    let open = || {
        // Each connection is used by one thread at a time.
        let connection =
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(std::time::Duration::from_millis(BUSY_MS_MAX))?;
        connection.pragma_update(None, "cache_size", -cache_kib)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(connection)
    };
    open().map_err(|error| failed(path, error))
}

fn check_layout(path: &Path, connection: &Connection) -> Result<(), Error> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let found = pragma("application_id")
        .and_then(|id| Ok((id, pragma("user_version")?)))
        .map_err(|error| failed(path, error))?;
    if found == (APPLICATION_ID, LAYOUT) {
        return Ok(());
    }
    let what = format!(
        "expected an account store of layout {LAYOUT} in {}, found {}; name another file, or use \
         the version that made this one",
        path.display(),
        if found.0 == APPLICATION_ID { "another layout" } else { "another database" }
    );
    Err(Error::Unusable { what, source: None })
}

/// What to do about a failure of SQLite, other than of a commit under way.
fn failed(path: &Path, error: rusqlite::Error) -> Error {
    let at = path.display();
    let unusable = |what: String, error| Error::Unusable { what, source: Some(Box::new(error)) };
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Retry {
            what: format!("another process holds a lock on {at}"),
            source: Some(Box::new(error)),
        },
        Some(ErrorCode::ConstraintViolation) => Error::Invariant {
            what: format!("a constraint of {at} fired"),
            source: Some(Box::new(error)),
        },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => unusable(
            format!(
                "{at} is damaged or no SQLite database; restore it from a copy, or move it away \
                 and rebuild the accounts from the topic postings"
            ),
            error,
        ),
        Some(ErrorCode::DiskFull) => Error::Retry {
            what: format!("the disk that holds {at} is full; free some space"),
            source: Some(Box::new(error)),
        },
        Some(ErrorCode::CannotOpen) => unusable(
            format!("{at} can't be opened; check that its directory exists and may be written"),
            error,
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => unusable(
            format!(
                "{at} can't be written; give this user write permission on it and its directory"
            ),
            error,
        ),
        Some(ErrorCode::SystemIoFailure) => Error::Retry {
            what: format!("reading or writing {at} failed"),
            source: Some(Box::new(error)),
        },
        _ => Error::Invariant {
            what: format!("{at} holds what this version can't read or write"),
            source: Some(Box::new(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What can't be brought about in a test, such as a full disk, is told by SQLite's own codes.
    #[test]
    fn each_failure_has_its_kind_and_its_remedy() {
        for (code, kind, expected) in [
            (rusqlite::ffi::SQLITE_BUSY, "retry", "another process holds a lock on a.db"),
            (rusqlite::ffi::SQLITE_CONSTRAINT, "invariant", "a constraint of a.db fired"),
            (rusqlite::ffi::SQLITE_CORRUPT, "unusable", "restore it from a copy"),
            (rusqlite::ffi::SQLITE_FULL, "retry", "free some space"),
            (rusqlite::ffi::SQLITE_READONLY, "unusable", "give this user write permission"),
            (rusqlite::ffi::SQLITE_CANTOPEN, "unusable", "check that its directory exists"),
            (rusqlite::ffi::SQLITE_IOERR, "retry", "reading or writing a.db failed"),
        ] {
            let error = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            let found = failed(Path::new("a.db"), error);
            let kind_found = match found {
                Error::Retry { .. } => "retry",
                Error::Invariant { .. } => "invariant",
                Error::Unusable { .. } => "unusable",
                Error::Fenced { .. } | Error::Ambiguous { .. } => "another",
            };
            assert_eq!(kind_found, kind, "{found}");
            assert!(found.to_string().contains(expected), "{found}");
        }
    }
}
