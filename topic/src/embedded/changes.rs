//! How a process learns that another one has committed to the log: it looks, often.

use std::path::{Path, PathBuf};
use std::sync::mpsc as threads;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::mpsc;

use super::committer::Request;
use super::fault::Fault;
use super::sql;
use crate::Error;

/// How often one looks. A look costs some microseconds; people don't notice a twentieth of a
/// second.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Tells when any process has committed to a log.
#[derive(Debug)]
pub struct Changes {
    path: PathBuf,
    connection: Connection,
    seen: i64,
}

impl Changes {
    /// Of the log in this file, from now on. Blocks.
    pub(super) fn of(path: &Path) -> Result<Self, Error> {
        let open = || -> rusqlite::Result<(Connection, i64)> {
            let connection = sql::open_to_read(path)?;
            let seen = sql::data_version(&connection)?;
            Ok((connection, seen))
        };
        let (connection, seen) = open().map_err(|it| Fault::of(path, it).to_error())?;
        Ok(Self { path: path.to_owned(), connection, seen })
    }

    /// Waits until something was committed since the last call, or since this was made. Safe to
    /// cancel.
    ///
    /// # Errors
    ///
    /// As [`super::EmbeddedLog::open_read_only`].
    pub async fn next(&mut self) -> Result<(), Error> {
        while !self.look()? {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(())
    }

    /// Whether something was committed since the last look.
    fn look(&mut self) -> Result<bool, Error> {
        let version = sql::data_version(&self.connection);
        let version = version.map_err(|it| Fault::of(&self.path, it).to_error())?;
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }
}

/// The thread of a log's owner that looks out for what others append, and tells the committer.
///
/// It has a connection of its own, so it takes note of the owner's commits as well; then the
/// committer finds that nothing is new.
#[derive(Debug)]
pub(super) struct Lookout {
    /// Dropped to end the thread.
    stay: Option<threads::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Lookout {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Where the system has no thread left, or the log can't be read.
    pub(super) fn start(path: &Path, queue: mpsc::WeakSender<Request>) -> Result<Self, Error> {
        let mut changes = Changes::of(path)?;
        let (stay, stayed) = threads::channel();
        let look = move || {
            let mut is_due = false;
            while stayed.recv_timeout(LOOK_INTERVAL) == Err(threads::RecvTimeoutError::Timeout) {
                // A disk that fails now is reported by whoever reads or writes.
                is_due |= changes.look().unwrap_or(false);
                // Where the queue is full, the committer is at work, and looks by itself.
                if is_due && let Some(queue) = queue.upgrade() {
                    is_due = queue.try_send(Request::Look).is_err();
                }
            }
        };
        let thread = std::thread::Builder::new().name("log lookout".to_owned()).spawn(look);
        let thread = thread.map_err(|source| Error::Retry {
            what: "no thread could be started".to_owned(),
            source: Some(Box::new(source)),
        })?;
        Ok(Self { stay: Some(stay), thread: Some(thread) })
    }

    /// Ends the thread.
    pub(super) fn end(&mut self) {
        self.stay = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has said so itself, and concerns no message.
            let _ = thread.join();
        }
    }
}
