//! Publishing to an embedded log beside the process that owns it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use schemas::Topic;

use super::fault::Fault;
use super::record_batch::{self, Encoded};
use super::{Reads, blocking, read_layout, sql};
use crate::{Error, Layout, MessageSet};

/// How long a publish lets the owner go first: so one who publishes beside without a pause still
/// leaves it half of the time.
const GIVE_WAY: Duration = Duration::from_millis(2);

/// A log to which one may publish beside its owner: what an operator's command needs while a `run`
/// is at work. A cheap handle.
///
/// It appends, and does nothing else. It has no writers, so it fences nobody, and a publish of it
/// must not rest on state that its caller has read. It has no groups and commits no positions. And
/// it appends to `commands` and `records` only: the other topics are the state of owners, who trust
/// that nobody else writes it.
///
/// See `docs/adr/0014-publishing-beside.md`.
#[derive(Clone, Debug)]
pub struct Beside {
    path: PathBuf,
    layout: Layout,
    connection: Arc<Mutex<Connection>>,
}

impl Beside {
    /// Opens the log in this file. Blocks.
    ///
    /// # Errors
    ///
    /// As [`super::EmbeddedLog::open_read_only`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let layout = read_layout(&Reads { path: path.clone(), idle: Mutex::default() })?;
        let layout =
            layout.ok_or_else(|| Error::fatal(format!("{} holds no log yet", path.display())))?;
        let connection = sql::open_beside(&path).map_err(|it| Fault::of(&path, it).to_error())?;
        Ok(Self { path, layout, connection: Arc::new(Mutex::new(connection)) })
    }

    /// The layout of the log.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Publishes these sets: all of it becomes visible, or nothing does. When it returns, it is
    /// durable, and the owner takes note of it within some 50 ms.
    ///
    /// # Errors
    ///
    /// - *Retry*: nothing happened, and it may be published again. Also where the owner has kept
    ///   the log to itself for half a minute.
    /// - *Indefinite*: it may have happened or not; read back.
    /// - *Fatal*: nothing happened, and won't. Also where a topic is the state of an owner.
    pub async fn publish(&self, sets: Vec<MessageSet>) -> Result<(), Error> {
        let is_appended_to = |topic| matches!(topic, Topic::Commands | Topic::Records);
        if let Some(set) = sets.iter().find(|set| !is_appended_to(set.topic)) {
            return Err(Error::fatal(format!("{} is written by its owner only", set.topic)));
        }
        let log = self.clone();
        blocking(move || {
            let batches = record_batch::encode(log.layout, &sets)?;
            let connection = log.connection.lock().unwrap_or_else(PoisonError::into_inner);
            std::thread::sleep(GIVE_WAY);
            append(&connection, &log.path, batches).map_err(|fault| fault.to_error())
        })
        .await
    }
}

fn append(connection: &Connection, path: &Path, batches: Vec<Encoded>) -> Result<(), Fault> {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let inserted = begun.and_then(|()| {
        for Encoded { place, offsets, size, body } in batches {
            // Read in this transaction: nobody else appends before it has ended.
            let end = sql::end(connection, place)?;
            sql::insert(connection, place, (end, end + offsets), size, &body)?;
        }
        Ok(())
    });
    let outcome = match inserted {
        Ok(()) => connection.execute_batch("COMMIT").map_err(|source| {
            let is_rolled_back = connection.is_autocommit();
            Fault::of_commit(path, source, is_rolled_back)
        }),
        Err(source) => Err(Fault::of(path, source)),
    };
    if !connection.is_autocommit() {
        // Where even this fails, the next transaction can't begin, and says why.
        let _ = connection.execute_batch("ROLLBACK");
    }
    outcome
}
