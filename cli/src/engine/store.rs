//! The store of a ledger, whichever it is: the contract of `processors::store`, passed on.

use std::sync::Arc;

use processors::account::{Account, AccountName};
use processors::run::{Run, Span};
use processors::store::postgres::PostgresStore;
use processors::store::sqlite::SqliteStore;
use processors::store::{Commit, Error, Fetched, OutcomeRow, Range, ShardRow, Store, View};
use schemas::FileId;
use schemas::ledger::Ledger;

/// A store.
#[derive(Clone, Debug)]
pub(crate) enum AnyStore {
    /// In the data directory.
    Sqlite(SqliteStore),
    /// In PostgreSQL.
    Postgres(PostgresStore),
}

/// What a store held at one moment.
pub(crate) enum AnyView {
    Sqlite(<SqliteStore as Store>::View),
    Postgres(<PostgresStore as Store>::View),
}

/// Does the same with whichever it is.
macro_rules! with {
    ($any:expr, $it:ident => $done:expr) => {
        match $any {
            Self::Sqlite($it) => $done,
            Self::Postgres($it) => $done,
        }
    };
}

impl Store for AnyStore {
    type View = AnyView;

    async fn open_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        with!(self, store => store.open_ledger(ledger).await)
    }

    async fn acquire(&self, shard: u32) -> Result<ShardRow, Error> {
        with!(self, store => store.acquire(shard).await)
    }

    async fn fetch(
        &self,
        shard: u32,
        accounts: Vec<AccountName>,
        files: Vec<FileId>,
    ) -> Result<Fetched, Error> {
        with!(self, store => store.fetch(shard, accounts, files).await)
    }

    async fn fingerprints(
        &self,
        shard: u32,
        file: FileId,
        sequences: Vec<i64>,
    ) -> Result<Vec<(i64, i64)>, Error> {
        with!(self, store => store.fingerprints(shard, file, sequences).await)
    }

    async fn reversing(&self, shard: u32) -> Result<Vec<Run>, Error> {
        with!(self, store => store.reversing(shard).await)
    }

    async fn taken(
        &self,
        shard: u32,
        file: FileId,
        range: Range,
    ) -> Result<Vec<OutcomeRow>, Error> {
        with!(self, store => store.taken(shard, file, range).await)
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<(), Error> {
        with!(self, store => store.commit(commit).await)
    }

    async fn view(&self) -> Result<AnyView, Error> {
        Ok(match self {
            Self::Sqlite(store) => AnyView::Sqlite(store.view().await?),
            Self::Postgres(store) => AnyView::Postgres(store.view().await?),
        })
    }
}

impl View for AnyView {
    async fn ledger(&mut self) -> Result<Option<Ledger>, Error> {
        with!(self, view => view.ledger().await)
    }

    async fn shards(&mut self) -> Result<Vec<ShardRow>, Error> {
        with!(self, view => view.shards().await)
    }

    async fn accounts(
        &mut self,
        shard: u32,
        after: Option<AccountName>,
        max: usize,
    ) -> Result<Vec<Account>, Error> {
        with!(self, view => view.accounts(shard, after, max).await)
    }

    async fn account(&mut self, shard: u32, name: AccountName) -> Result<Option<Account>, Error> {
        with!(self, view => view.account(shard, name).await)
    }

    async fn runs(
        &mut self,
        after: Option<(FileId, u32)>,
        max: usize,
    ) -> Result<Vec<(u32, Run)>, Error> {
        with!(self, view => view.runs(after, max).await)
    }

    async fn runs_of(&mut self, file: FileId) -> Result<Vec<(u32, Run)>, Error> {
        with!(self, view => view.runs_of(file).await)
    }

    async fn spans(&mut self, shard: u32, file: FileId) -> Result<Vec<Span>, Error> {
        with!(self, view => view.spans(shard, file).await)
    }

    async fn outcomes(
        &mut self,
        shard: u32,
        from_number: i64,
        max: usize,
    ) -> Result<Vec<OutcomeRow>, Error> {
        with!(self, view => view.outcomes(shard, from_number, max).await)
    }
}
