//! The embedded log: one SQLite file, for one process that owns it and any number that read it, or
//! publish beside ([`Beside`]).
//!
//! As Kafka does, it stores record batches: one row for each partition and publish, compressed.
//! Publishes that wait together are committed together (`committer`), each as a whole or not at
//! all. What is visible to this process's readers moves for all partitions at once, after the
//! commit. See `docs/adr/0004-log-on-sqlite.md`.

mod record_batch;
mod sql;
mod fault;
mod committer;
mod compaction;
mod changes;
mod beside;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::Connection;
use schemas::Topic;
use tokio::sync::{mpsc, oneshot, watch};

use crate::member::{Groups, Source};
use crate::memory::check_offset;
use crate::{Batch, Error, Layout, Log, Member, Received};
use changes::Lookout;
use committer::{Committer, Publish, Request, places_of};
use compaction::{Compactor, Piles};
use fault::{Fault, ReadFault};
use record_batch::Wanted;

pub use beside::Beside;
pub use changes::Changes;

#[cfg(test)]
mod tests;

/// How many requests wait for the committer; more wait at their callers. Two rounds of it.
const QUEUE_MAX: usize = 128;

/// How many idle read connections are kept. Reads are short; this many overlap now and then.
const IDLE_MAX: usize = 4;

/// Publishes up to this size are encoded where they are called, which takes less than handing them
/// to another thread would; larger ones would keep other tasks waiting.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// A log in one SQLite file.
#[derive(Clone, Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    reads: Reads,
    groups: Arc<Groups>,
    /// None where the log is open for reading only.
    owner: Option<Owner>,
}

/// What only the process has that writes.
#[derive(Debug)]
struct Owner {
    queue: mpsc::Sender<Request>,
    visible: Arc<Visible>,
    compactor: Arc<Compactor>,
}

/// What readers of this process see.
#[derive(Debug)]
struct Visible {
    /// For each place, the offset that its next message gets. Changed for all places at once, so
    /// that nobody sees half a publish.
    ends: RwLock<Vec<i64>>,
    /// One for each place: told when messages were appended, and at the close.
    grown: Vec<watch::Sender<()>>,
    is_closed: AtomicBool,
}

impl Visible {
    fn ends(&self) -> Vec<i64> {
        self.ends.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&self, place: usize) -> Result<i64, Error> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let ends = self.ends.read().unwrap_or_else(PoisonError::into_inner);
        Ok(ends.get(place).copied().unwrap_or(0))
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        for grown in &self.grown {
            grown.send_replace(());
        }
    }

    /// Shows these ends, at once for all places, and wakes who waits at a place that has another.
    fn show(&self, ends: Vec<i64>) {
        let mut shown = self.ends.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *shown, ends.clone());
        drop(shown);
        for ((grown, before), end) in self.grown.iter().zip(before).zip(ends) {
            if before != end {
                grown.send_replace(());
            }
        }
    }
}

/// The read connections.
#[derive(Debug)]
struct Reads {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Reads {
    /// Reads on a connection of the pool; opens one where none is idle.
    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, ReadFault>) -> Result<T, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let found = match idle {
            Some(connection) => Ok(connection),
            None => sql::open_to_read(&self.path).map_err(ReadFault::from),
        };
        let found = found.and_then(|connection| Ok((read(&connection)?, connection)));
        let (value, connection) = found.map_err(|fault| fault.into_error(&self.path))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(value)
    }
}

impl EmbeddedLog {
    /// Opens the log in this file for writing, and creates it where there is none. Blocks.
    ///
    /// One process may do so at a time; the lock of the data directory sees to it. Where it
    /// happens all the same, the former one can't publish any more.
    ///
    /// # Errors
    ///
    /// *Fatal* where the file is no log, is damaged, has another layout or format, or may not be
    /// written; *retry* where the disk is full or fails.
    pub fn open(path: impl AsRef<Path>, layout: Layout) -> Result<Self, Error> {
        Self::open_fenced(path.as_ref(), layout, true)
    }

    /// As [`Self::open`], but nobody is ever fenced: neither a former writer of a name, nor a past
    /// member of a group, nor the process that had it open before. For tests that must find out
    /// what goes wrong then.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    #[doc(hidden)]
    pub fn open_unfenced(path: impl AsRef<Path>, layout: Layout) -> Result<Self, Error> {
        Self::open_fenced(path.as_ref(), layout, false)
    }

    fn open_fenced(path: &Path, layout: Layout, is_fenced: bool) -> Result<Self, Error> {
        let sqlite = |source| Fault::of(path, source).to_error();
        let mut connection = sql::open_to_write(path).map_err(sqlite)?;
        let opening = prepare(&mut connection, path, layout)?;
        let places = layout.places().count();
        let (seen, ends) = sql::ends(&connection, places).map_err(sqlite)?;
        let grown = (0..places).map(|_| watch::Sender::new(())).collect();
        let is_closed = AtomicBool::new(false);
        let visible = Arc::new(Visible { ends: RwLock::new(ends), grown, is_closed });
        // Members and generations are numbered within an opening, so that none is used again
        // after a restart.
        let groups = Arc::new(Groups::new(u64::from(opening) << u32::BITS));
        let compactor = Arc::new(Compactor::new(path, layout));
        let (queue, requests) = mpsc::channel(QUEUE_MAX);
        let committer = Committer {
            path: path.to_owned(),
            piles: Piles::watch(&connection, &compactor, queue.downgrade())?,
            lookout: Lookout::start(path, queue.downgrade())?,
            connection,
            seen,
            layout,
            opening,
            visible: Arc::clone(&visible),
            groups: Arc::clone(&groups),
            epochs: HashMap::new(),
            is_stale: false,
            is_fenced,
        };
        let thread = std::thread::Builder::new().name("log committer".to_owned());
        thread.spawn(move || committer.run(requests)).map_err(|source| Error::Retry {
            what: "no thread could be started".to_owned(),
            source: Some(Box::new(source)),
        })?;
        let reads = Reads { path: path.to_owned(), idle: Mutex::default() };
        let owner = Some(Owner { queue, visible, compactor });
        Ok(Self { shared: Arc::new(Shared { layout, reads, groups, owner }) })
    }

    /// Opens the log in this file for reading, beside a process that may be writing it. Blocks.
    ///
    /// It has no writers and no groups: both are refused as *fatal*.
    ///
    /// # Errors
    ///
    /// As [`Self::open`]; *fatal* also where there is no log.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let reads = Reads { path: path.to_owned(), idle: Mutex::default() };
        let layout = read_layout(&reads)?.ok_or_else(|| {
            Error::fatal(format!("{} holds no log yet; open it for writing first", path.display()))
        })?;
        let groups = Arc::new(Groups::new(0));
        Ok(Self { shared: Arc::new(Shared { layout, reads, groups, owner: None }) })
    }

    /// The layout of the log in this file; none where nothing was made there, or only begun:
    /// whoever made it ended before that was committed. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn layout_in(path: impl AsRef<Path>) -> Result<Option<Layout>, Error> {
        if !path.as_ref().exists() {
            return Ok(None);
        }
        read_layout(&Reads { path: path.as_ref().to_owned(), idle: Mutex::default() })
    }

    /// The layout of the log.
    pub fn layout(&self) -> Layout {
        self.shared.layout
    }

    /// Removes from compacted topics what a later message of its key has replaced; gives how many
    /// messages that were. It also happens by itself where much has piled up.
    ///
    /// # Errors
    ///
    /// *Fatal* where the log is damaged, closed, or open for reading only; *retry* where the disk
    /// is full or fails. The log is whole in each case.
    pub async fn compact(&self) -> Result<u64, Error> {
        let owner = self.owner()?;
        let compactor = Arc::clone(&owner.compactor);
        let queue = owner.queue.downgrade();
        blocking(move || compactor.compact_all(&queue)).await
    }

    /// Commits what was published so far, and ends the log: whoever publishes, reads or waits for
    /// messages later, through whichever handle, is told so by a *fatal*. Dropping the last handle
    /// does the same, but nobody can wait for it.
    pub async fn close(&self) {
        let Ok(owner) = self.owner() else { return };
        let (done, closed) = oneshot::channel();
        if owner.queue.send(Request::Close { done }).await.is_ok() {
            // An error means that it has ended already.
            let _ = closed.await;
        }
        self.shared.reads.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What tells when any process has committed to this log. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Self::open_read_only`].
    pub fn changes(&self) -> Result<Changes, Error> {
        Changes::of(&self.shared.reads.path)
    }

    fn owner(&self) -> Result<&Owner, Error> {
        self.shared.owner.as_ref().ok_or_else(|| Error::fatal("it is open for reading only"))
    }

    async fn request<T>(&self, request: Request, answer: oneshot::Receiver<T>) -> Result<T, Error> {
        self.owner()?.queue.send(request).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())
    }
}

/// Creates the tables or checks those that are there, and counts this opening.
fn prepare(connection: &mut Connection, path: &Path, layout: Layout) -> Result<u32, Error> {
    let mut prepare = || -> Result<u32, ReadFault> {
        // Immediate, so that two processes don't create the tables at the same time.
        let behavior = rusqlite::TransactionBehavior::Immediate;
        let transaction = connection.transaction_with_behavior(behavior)?;
        let identity = sql::identity(&transaction)?;
        if identity.is_empty {
            sql::create(&transaction, layout)?;
        } else {
            check_identity(path, &identity)?;
        }
        for topic in Topic::ALL {
            let found = sql::partitions(&transaction, topic)?;
            let expected = layout.partitions(topic);
            if found != expected {
                return Err(Error::fatal(format!(
                    "expected {expected} partitions of {topic}, as configured, found {found} in \
                     {}; configure {found}, or take another data directory",
                    path.display()
                ))
                .into());
            }
        }
        let opening = sql::count_opening(&transaction)?;
        transaction.commit()?;
        Ok(opening)
    };
    prepare().map_err(|fault| fault.into_error(path))
}

/// The layout that a database has; none where it is empty.
fn read_layout(reads: &Reads) -> Result<Option<Layout>, Error> {
    reads.with(|connection| {
        let identity = sql::identity(connection)?;
        if identity.is_empty {
            return Ok(None);
        }
        check_identity(&reads.path, &identity)?;
        let count = |topic| sql::partitions(connection, topic);
        let arrivals = count(Topic::Arrivals)?;
        let (files, shards) = (count(Topic::Files)?, count(Topic::Records)?);
        if arrivals == 0 || files == 0 || shards == 0 {
            let path = reads.path.display();
            return Err(Error::fatal(format!("{path} has no partitions")).into());
        }
        Ok(Some(Layout::new(arrivals, files, shards)))
    })
}

fn check_identity(path: &Path, identity: &sql::Identity) -> Result<(), Error> {
    let file = path.display();
    if !identity.is_ours {
        return Err(Error::fatal(format!(
            "{file} is a database, but not a log of ours; take another data directory"
        )));
    }
    if identity.format != sql::FORMAT {
        return Err(Error::fatal(format!(
            "expected format {} of {file}, found {}; use the version of batchless that wrote it",
            sql::FORMAT,
            identity.format
        )));
    }
    Ok(())
}

impl Log for EmbeddedLog {
    type Writer = Writer;
    type Subscription = Member<Self>;

    fn partitions(&self, topic: Topic) -> u32 {
        self.shared.layout.partitions(topic)
    }

    async fn writer(&self, name: &str) -> Result<Writer, Error> {
        let name: Arc<str> = name.into();
        let (done, epoch) = oneshot::channel();
        // Behind the publishes of the former writer: once this is answered, they have happened or
        // never will.
        let epoch = self.request(Request::Open { name: Arc::clone(&name), done }, epoch).await?;
        Ok(Writer { log: self.clone(), name, epoch })
    }

    async fn subscribe(&self, group: &str, topic: Topic) -> Result<Member<Self>, Error> {
        self.owner()?;
        Ok(Member::join(self.clone(), group, topic))
    }

    async fn read(
        &self,
        topic: Topic,
        partition: u32,
        offsets: Range<i64>,
        bytes_max: usize,
    ) -> Result<Vec<Received>, Error> {
        let place = self.shared.layout.place(topic, partition)?;
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let end = shared.end(place)?;
            check_offset(topic, partition, offsets.start, end)?;
            let (from, to) = (offsets.start, offsets.end.min(end));
            if from >= to {
                return Ok(Vec::new());
            }
            let mut wanted = Wanted::new(from..to, bytes_max);
            shared.reads.with(|connection| {
                sql::batches(connection, place, (from, to), |batch| {
                    Ok(wanted.take((topic, partition), batch)?)
                })
            })?;
            Ok(wanted.found)
        })
        .await
    }

    async fn end(&self, topic: Topic, partition: u32) -> Result<i64, Error> {
        let place = self.shared.layout.place(topic, partition)?;
        match &self.shared.owner {
            Some(owner) => owner.visible.end(place),
            None => {
                let shared = Arc::clone(&self.shared);
                blocking(move || shared.end(place)).await
            }
        }
    }

    async fn committed(&self, group: &str, topic: Topic) -> Result<Vec<Option<i64>>, Error> {
        let places = places_of(self.shared.layout, topic)?;
        let group = group.to_owned();
        if self.shared.owner.is_some() {
            // Behind whatever has been published: a new member's positions are settled.
            let (done, positions) = oneshot::channel();
            return self.request(Request::Positions { group, places, done }, positions).await?;
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            shared.reads.with(|connection| {
                let positions = places.map(|place| sql::position(connection, &group, place));
                Ok(positions.collect::<rusqlite::Result<_>>()?)
            })
        })
        .await
    }
}

impl Shared {
    fn end(&self, place: usize) -> Result<i64, Error> {
        match &self.owner {
            Some(owner) => owner.visible.end(place),
            None => self.reads.with(|connection| Ok(sql::end(connection, place)?)),
        }
    }
}

impl Source for EmbeddedLog {
    fn groups(&self) -> &Arc<Groups> {
        &self.shared.groups
    }

    fn follow(&self, topic: Topic, partition: u32) -> Result<watch::Receiver<()>, Error> {
        let place = self.shared.layout.place(topic, partition)?;
        let grown = self.owner()?.visible.grown.get(place).map(watch::Sender::subscribe);
        grown.ok_or_else(|| Error::fatal(format!("{topic} has no place {place}")))
    }
}

/// The writer of a name in an embedded log.
#[derive(Debug)]
pub struct Writer {
    log: EmbeddedLog,
    name: Arc<str>,
    epoch: u64,
}

impl crate::Writer for Writer {
    async fn publish(&mut self, batch: Batch) -> Result<(), Error> {
        let layout = self.log.shared.layout;
        let Batch { sets, consumed } = batch;
        let messages = sets.iter().flat_map(|set| &set.messages);
        let size: usize = messages.map(|it| it.value.as_ref().map_or(0, |it| it.len())).sum();
        let batches = if size <= INLINE_BYTES_MAX {
            record_batch::encode(layout, &sets)?
        } else {
            blocking(move || record_batch::encode(layout, &sets)).await?
        };
        let publish =
            Publish { name: Arc::clone(&self.name), epoch: self.epoch, batches, consumed };
        let (done, answer) = oneshot::channel();
        let queue = &self.log.owner()?.queue;
        let sent = queue.send(Request::Publish { publish, done }).await;
        sent.map_err(|_| closed())?;
        answer.await.map_err(|_| Error::Indefinite {
            what: "the log was closed meanwhile".to_owned(),
            source: None,
        })?
    }
}

fn closed() -> Error {
    Error::fatal("it was closed")
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(run).await {
        Ok(outcome) => outcome,
        Err(source) => Err(Error::Retry {
            what: "its thread was stopped".to_owned(),
            source: Some(Box::new(source)),
        }),
    }
}
