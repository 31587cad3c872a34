//! The store in PostgreSQL, for as many processes as there are.
//!
//! A round is one commit: a compare-and-swap of the shard's row, then all that it holds in one
//! exchange, an array a column, then the commit. Shards commit side by side, each over a
//! connection of its own, and the server syncs together what commits at the same moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemas::FileId;
use schemas::ledger::Ledger;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::account::AccountName;
use crate::run::Run;
use crate::store::{Commit, Error, Fetched, OutcomeRow, Probe, Range, ShardRow, Store};

mod columns;
mod failure;
mod layout;
mod read;
mod session;
mod settings;
mod tls;
mod view;
mod write;

pub use settings::{LocationError, Password, Settings, Tls};
pub use view::PostgresView;

use failure::{Failure, failed};
use session::{Connector, Purpose, Session};

/// Views that are open at once, each on a connection of its own.
const VIEWS_MAX: usize = 8;

/// How long a place among the views is waited for: who holds one may be waiting for something else.
const VIEW_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long a server that is away is tried when the store is opened, and the time between tries.
const OPENING_MAX: Duration = Duration::from_secs(5);
const OPENING_DELAY: Duration = Duration::from_millis(250);

/// A store in a PostgreSQL database. A cheap handle; clones are the same store.
#[derive(Clone, Debug)]
pub struct PostgresStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Arc<Connector>,
    is_read_only: bool,
    probe: Probe,
    /// As many as there may be connections that work on shards.
    places: Semaphore,
    /// Those of them that nobody works with.
    idle: Mutex<Vec<Session>>,
    views: Arc<Semaphore>,
}

impl PostgresStore {
    /// Opens the store in this database, and makes its tables where there are none. A server that
    /// is away is tried for some seconds.
    ///
    /// # Errors
    ///
    /// *Unusable* at once where the server is unknown, doesn't let us in, has no such database, or
    /// holds tables that are not ours; *retry* where it can't be reached.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        Self::open_probed(settings, Probe::default()).await
    }

    /// The same for tests that stop it in the middle.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    #[doc(hidden)]
    pub async fn open_probed(settings: Settings, probe: Probe) -> Result<Self, Error> {
        Self::open_as(settings, probe, false).await
    }

    /// Opens the store in this database beside whoever writes it, to read only.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], and *unusable* where there is none.
    pub async fn open_read_only(settings: Settings) -> Result<Self, Error> {
        Self::open_as(settings, Probe::default(), true).await
    }

    async fn open_as(settings: Settings, probe: Probe, is_read_only: bool) -> Result<Self, Error> {
        let places = Semaphore::new(settings.connections.max(1));
        let connector = Arc::new(Connector::new(settings)?);
        connector.find_host().await?;
        let since = Instant::now();
        let mut session = loop {
            match connector.connect(Purpose::Shards).await {
                Err(Error::Retry { .. }) if since.elapsed() < OPENING_MAX => {
                    tokio::time::sleep(OPENING_DELAY).await;
                }
                connected => break connected?,
            }
        };
        layout::prepare(&mut session, &connector.settings, !is_read_only).await?;
        Ok(Self(Arc::new(Inner {
            connector,
            is_read_only,
            probe,
            places,
            idle: Mutex::new(vec![session]),
            views: Arc::new(Semaphore::new(VIEWS_MAX)),
        })))
    }

    fn failed(&self, failure: Failure) -> Error {
        failed(&self.0.connector.settings, failure)
    }

    fn shard(&self, shard: u32) -> Result<i32, Error> {
        columns::shard(shard).map_err(|failure| self.failed(failure))
    }

    fn check_may_write(&self) -> Result<(), Error> {
        match self.0.is_read_only {
            true => {
                let what = "the store was opened for reading only".to_owned();
                Err(Error::Unusable { what, source: None })
            }
            false => Ok(()),
        }
    }

    /// Lends a connection.
    async fn lend(&self) -> Result<Lent<'_>, Error> {
        let place = self.0.places.acquire().await;
        let place = place
            .map_err(|_| Error::Retry { what: "the store was closed".to_owned(), source: None })?;
        while let Some(mut session) = self.0.pop_idle() {
            if session.is_alive() {
                return Ok(Lent { store: &self.0, session, _place: place });
            }
        }
        let session = self.0.connector.connect(Purpose::Shards).await?;
        Ok(Lent { store: &self.0, session, _place: place })
    }
}

impl Inner {
    fn pop_idle(&self) -> Option<Session> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn push_idle(&self, session: Session) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

/// A connection that is lent. Where the work with it is given up in the middle it is never given
/// back, and ends instead: answers to it may still come.
struct Lent<'a> {
    store: &'a Inner,
    session: Session,
    _place: SemaphorePermit<'a>,
}

impl Lent<'_> {
    fn give_back(mut self) {
        if self.session.is_alive() {
            self.store.push_idle(self.session);
        }
    }
}

impl Store for PostgresStore {
    type View = PostgresView;

    async fn open_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        self.check_may_write()?;
        let mut lent = self.lend().await?;
        let opened =
            write::open_ledger(&mut lent.session, &self.0.connector.settings, ledger).await;
        // Where it failed it may have been within a transaction, which ends with the connection.
        if opened.is_ok() {
            lent.give_back();
        }
        opened
    }

    async fn acquire(&self, shard: u32) -> Result<ShardRow, Error> {
        self.check_may_write()?;
        let number = self.shard(shard)?;
        let mut lent = self.lend().await?;
        let taken = write::acquire(&mut lent.session, number).await;
        lent.give_back();
        taken.map_err(|failure| self.failed(failure))?.ok_or_else(|| Error::Unusable {
            what: format!("expected shard {shard} in the ledger of the store, found none"),
            source: None,
        })
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
        let shard = self.shard(shard)?;
        let mut lent = self.lend().await?;
        let fetched = read::fetch(&mut lent.session, shard, &accounts, &files).await;
        lent.give_back();
        fetched.map_err(|failure| self.failed(failure))
    }

    async fn fingerprints(
        &self,
        shard: u32,
        file: FileId,
        sequences: Vec<i64>,
    ) -> Result<Vec<(i64, i64)>, Error> {
        let shard = self.shard(shard)?;
        let mut lent = self.lend().await?;
        let found = read::fingerprints(&mut lent.session, shard, &file, &sequences).await;
        lent.give_back();
        found.map_err(|failure| self.failed(failure))
    }

    async fn reversing(&self, shard: u32) -> Result<Vec<Run>, Error> {
        let shard = self.shard(shard)?;
        let mut lent = self.lend().await?;
        let found = read::reversing(&mut lent.session, shard).await;
        lent.give_back();
        found.map_err(|failure| self.failed(failure))
    }

    async fn taken(
        &self,
        shard: u32,
        file: FileId,
        range: Range,
    ) -> Result<Vec<OutcomeRow>, Error> {
        let shard = self.shard(shard)?;
        let mut lent = self.lend().await?;
        let found = read::taken(&mut lent.session, shard, &file, range).await;
        lent.give_back();
        found.map_err(|failure| self.failed(failure))
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<(), Error> {
        self.check_may_write()?;
        let mut lent = self.lend().await?;
        let settings = &self.0.connector.settings;
        let done = write::commit(&mut lent.session, settings, &commit, &self.0.probe).await;
        lent.give_back();
        done
    }

    async fn view(&self) -> Result<PostgresView, Error> {
        let place = Arc::clone(&self.0.views).acquire_owned();
        let Ok(Ok(place)) = tokio::time::timeout(VIEW_WAIT_MAX, place).await else {
            let what = format!("{VIEWS_MAX} views of the store are open already");
            return Err(Error::Retry { what, source: None });
        };
        let session = self.0.connector.connect(Purpose::View).await?;
        PostgresView::begin(session, Arc::clone(&self.0.connector), place).await
    }
}
