//! A view: what the database held when it was begun.

use std::sync::Arc;

use schemas::FileId;
use schemas::ledger::Ledger;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::account::{Account, AccountName};
use crate::run::{Run, Span};
use crate::store::postgres::columns;
use crate::store::postgres::failure::{Failure, failed};
use crate::store::postgres::read::{
    self, limit, of_account, of_outcome, of_run, of_span, shard_and_run,
};
use crate::store::postgres::session::{Connector, Session};
use crate::store::{Error, OutcomeRow, ShardRow, View};

/// What is read first fixes what all later reads see.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT count(*) FROM ledger";

const SHARDS: &str = "SELECT shard, epoch, next_offset, next_number FROM shards ORDER BY shard";

const ACCOUNTS: &str = concat!(
    "SELECT found.account, ",
    of_account!(),
    " FROM (SELECT account, state, label FROM accounts
            WHERE shard = $1::INT4 AND account > $2::TEXT ORDER BY account LIMIT $3::INT8) AS found
     LEFT JOIN balances ON balances.shard = $1::INT4 AND balances.account = found.account
     ORDER BY found.account, currency, exponent"
);

const RUNS: &str = concat!(
    "SELECT ",
    of_run!(),
    " FROM runs WHERE (file, shard) > ($1::BYTEA, $2::INT4) ORDER BY file, shard LIMIT $3::INT8"
);

const RUNS_OF: &str =
    concat!("SELECT ", of_run!(), " FROM runs WHERE file = $1::BYTEA ORDER BY shard");

const SPANS: &str = concat!(
    "SELECT ",
    of_span!(),
    " FROM spans WHERE shard = $1::INT4 AND file = $2::BYTEA ORDER BY first_sequence"
);

const OUTCOMES: &str = concat!(
    "SELECT ",
    of_outcome!(),
    " FROM outcomes WHERE shard = $1::INT4 AND number >= $2::INT8 ORDER BY number LIMIT $3::INT8"
);

/// What the database held when the view was begun: a transaction that only reads, on a connection
/// of its own, which ends with it.
#[derive(Debug)]
pub struct PostgresView {
    session: Session,
    connector: Arc<Connector>,
    _place: OwnedSemaphorePermit,
}

impl PostgresView {
    pub(super) async fn begin(
        mut session: Session,
        connector: Arc<Connector>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Error> {
        let begun = session.batch(BEGIN).await;
        begun.map_err(|failure| failed(&connector.settings, failure))?;
        Ok(Self { session, connector, _place: place })
    }

    async fn query<T>(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
        read: impl Fn(&Row) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Error> {
        let rows = self.rows(sql, parameters).await?;
        let read: Result<Vec<T>, Failure> = rows.iter().map(read).collect();
        read.map_err(|failure| self.failed(failure))
    }

    async fn rows(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let asked = async {
            let statement: Statement = self.session.prepared(sql).await?;
            self.session
                .ask(|client| async move { client.query(&statement, parameters).await })
                .await
        };
        let rows: Result<Vec<Row>, Failure> = asked.await;
        rows.map_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: Failure) -> Error {
        failed(&self.connector.settings, failure)
    }

    fn shard(&self, shard: u32) -> Result<i32, Error> {
        columns::shard(shard).map_err(|failure| self.failed(failure))
    }
}

impl View for PostgresView {
    async fn ledger(&mut self) -> Result<Option<Ledger>, Error> {
        let found = read::ledger(&mut self.session).await;
        found.map_err(|failure| self.failed(failure))
    }

    async fn shards(&mut self) -> Result<Vec<ShardRow>, Error> {
        self.query(SHARDS, &[], read::shard_row).await
    }

    async fn accounts(
        &mut self,
        shard: u32,
        after: Option<AccountName>,
        max: usize,
    ) -> Result<Vec<Account>, Error> {
        let shard = self.shard(shard)?;
        let after = after.map(|name| name.to_string()).unwrap_or_default();
        let rows = self.rows(ACCOUNTS, &[&shard, &after, &limit(max)]).await?;
        let accounts = accounts(&rows);
        accounts.map_err(|failure| self.failed(failure))
    }

    async fn account(&mut self, shard: u32, name: AccountName) -> Result<Option<Account>, Error> {
        let shard = self.shard(shard)?;
        let found = read::fetch(&mut self.session, shard, &[name], &[]).await;
        let fetched = found.map_err(|failure| self.failed(failure))?;
        Ok(fetched.accounts.into_iter().flatten().next())
    }

    async fn runs(
        &mut self,
        after: Option<(FileId, u32)>,
        max: usize,
    ) -> Result<Vec<(u32, Run)>, Error> {
        let file = after.as_ref().map_or(&[][..], |(file, _)| file.0.as_slice());
        let shard = self.shard(after.as_ref().map_or(0, |(_, shard)| *shard))?;
        self.query(RUNS, &[&file, &shard, &limit(max)], shard_and_run).await
    }

    async fn runs_of(&mut self, file: FileId) -> Result<Vec<(u32, Run)>, Error> {
        self.query(RUNS_OF, &[&file.0.as_slice()], shard_and_run).await
    }

    async fn spans(&mut self, shard: u32, file: FileId) -> Result<Vec<Span>, Error> {
        let shard = self.shard(shard)?;
        self.query(SPANS, &[&shard, &file.0.as_slice()], |row| read::span(row, 0)).await
    }

    async fn outcomes(
        &mut self,
        shard: u32,
        from_number: i64,
        max: usize,
    ) -> Result<Vec<OutcomeRow>, Error> {
        let shard = self.shard(shard)?;
        self.query(OUTCOMES, &[&shard, &from_number, &limit(max)], read::outcome).await
    }
}

/// Accounts from rows in their order, a row a balance.
fn accounts(rows: &[Row]) -> Result<Vec<Account>, Failure> {
    let mut accounts: Vec<Account> = Vec::new();
    let mut current: Option<(&str, Option<Account>)> = None;
    for row in rows {
        let name: &str = row.try_get(0)?;
        if current.as_ref().is_none_or(|(last, _)| *last != name) {
            accounts.extend(current.take().and_then(|(_, account)| account));
            current = Some((name, None));
        }
        if let Some((_, account)) = &mut current {
            read::add_account_row(account, || AccountName::from_text(name), row, 1)?;
        }
    }
    accounts.extend(current.and_then(|(_, account)| account));
    Ok(accounts)
}
