//! Reading: queries, and a view that stays as it is.

use std::path::PathBuf;

use bytes::Bytes;
use rusqlite::types::{ToSqlOutput, Type};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use schemas::ledger::Ledger;
use schemas::outcome::AccountState;
use schemas::{Currency, FileId};

use crate::account::{Account, AccountName, Balance};
use crate::run::{Run, RunState, Span};
use crate::store::sqlite::{blocking, connect_reader, failed};
use crate::store::{Error, Fetched, OutcomeRow, Range, ShardRow, View};

/// An account's name as a column. A customer's has at most 41 characters, so it is written on the
/// stack.
pub(super) struct Name<'a>(pub(super) &'a AccountName);

impl ToSql for Name<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            AccountName::Customer(account) => ToSqlOutput::from(account.to_string()),
            AccountName::House(name) => ToSqlOutput::from(name.as_ref()),
        })
    }
}

pub(super) fn ledger(connection: &Connection) -> rusqlite::Result<Option<Ledger>> {
    let found = connection.query_row("SELECT * FROM ledger", [], |row| {
        Ok(Ledger {
            name: row.get("name")?,
            shards: row.get("shards")?,
            file_partitions: row.get("file_partitions")?,
            key_check_value: row.get("key_check_value")?,
        })
    });
    found.optional()
}

pub(super) fn shard_row(row: &Row<'_>) -> rusqlite::Result<ShardRow> {
    Ok(ShardRow {
        shard: row.get("shard")?,
        epoch: row.get("epoch")?,
        next_offset: row.get("next_offset")?,
        next_number: row.get("next_number")?,
    })
}

pub(super) fn fetch(
    connection: &Connection,
    shard: u32,
    accounts: &[AccountName],
    files: &[FileId],
) -> rusqlite::Result<Fetched> {
    // One transaction, so that the pages read once stay valid for all of the queries.
    let transaction = connection.unchecked_transaction()?;
    let mut fetched = Fetched::default();
    for name in accounts {
        fetched.accounts.push(account(&transaction, shard, name)?);
    }
    let mut run = transaction.prepare_cached("SELECT * FROM runs WHERE file = ? AND shard = ?")?;
    for file in files {
        fetched.runs.push(run.query_row(params![file.0.as_slice(), shard], of_run).optional()?);
    }
    Ok(fetched)
}

fn account(
    connection: &Connection,
    shard: u32,
    name: &AccountName,
) -> rusqlite::Result<Option<Account>> {
    let mut query = connection
        .prepare_cached("SELECT state, label FROM accounts WHERE shard = ? AND account = ?")?;
    let found = query.query_row(params![shard, Name(name)], |row| {
        let (state, label) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str_or_null()?);
        Ok((AccountState::from(state), label.map(Into::into)))
    });
    let Some((state, label)) = found.optional()? else { return Ok(None) };
    let balances = balances(connection, shard, name)?;
    Ok(Some(Account { name: name.clone(), state, label, balances }))
}

fn balances(
    connection: &Connection,
    shard: u32,
    name: &AccountName,
) -> rusqlite::Result<Vec<Balance>> {
    let mut query = connection.prepare_cached(
        "SELECT currency, exponent, debits_minor, credits_minor, version, last_number
         FROM balances WHERE shard = ? AND account = ? ORDER BY currency, exponent",
    )?;
    let mut rows = query.query(params![shard, Name(name)])?;
    let mut balances = Vec::new();
    while let Some(row) = rows.next()? {
        let letters = row.get_ref(0)?.as_str()?;
        balances.push(Balance {
            currency: Currency::from_letters(letters).ok_or_else(|| wrong(0, Type::Text))?,
            exponent: row.get(1)?,
            debits_minor: row.get(2)?,
            credits_minor: row.get(3)?,
            version: row.get(4)?,
            last_number: row.get(5)?,
        });
    }
    Ok(balances)
}

fn of_run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        file: file(row, "file")?,
        state: RunState::from(row.get_ref("state")?.as_str()?),
        is_blocked: row.get("is_blocked")?,
        next_sequence: row.get("next_sequence")?,
        applied: row.get("applied")?,
        rejected: row.get("rejected")?,
        reversed: row.get("reversed")?,
        duplicates: row.get("duplicates")?,
        applied_sums: json(row, "applied_sums")?,
        rejected_sums: json(row, "rejected_sums")?,
        reversed_sums: json(row, "reversed_sums")?,
        first_number: row.get("first_number")?,
        last_number: row.get("last_number")?,
        reversals: json(row, "reversals")?,
    })
}

fn of_span(row: &Row<'_>) -> rusqlite::Result<Span> {
    Ok(Span {
        file: file(row, "file")?,
        first_sequence: row.get("first_sequence")?,
        first_index: row.get("first_index")?,
        first_number: row.get("first_number")?,
        last_number: row.get("last_number")?,
    })
}

fn of_outcome(row: &Row<'_>) -> rusqlite::Result<OutcomeRow> {
    let has_file = row.get_ref("file")?.as_blob_or_null()?.is_some();
    Ok(OutcomeRow {
        number: row.get("number")?,
        file: if has_file { Some(file(row, "file")?) } else { None },
        sequence: row.get("sequence")?,
        index: row.get("record_index")?,
        fingerprint: row.get("fingerprint")?,
        body: Bytes::copy_from_slice(row.get_ref("body")?.as_blob()?),
    })
}

fn file(row: &Row<'_>, column: &str) -> rusqlite::Result<FileId> {
    let bytes = row.get_ref(column)?.as_blob()?;
    bytes.try_into().map(FileId).map_err(|_| wrong(0, Type::Blob))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

fn wrong(column: usize, found: Type) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "value".to_owned(), found)
}

pub(super) fn reversing(connection: &Connection, shard: u32) -> rusqlite::Result<Vec<Run>> {
    let mut query = connection
        .prepare_cached("SELECT * FROM runs WHERE shard = ? AND is_reversing = 1 ORDER BY file")?;
    query.query_map([shard], of_run)?.collect()
}

/// Walks the spans back from the newest that can hold what is asked for, and reads of each only the
/// rows between its ends.
pub(super) fn taken(
    connection: &Connection,
    shard: u32,
    file: &FileId,
    range: Range,
) -> rusqlite::Result<Vec<OutcomeRow>> {
    let transaction = connection.unchecked_transaction()?;
    let Some(newest) = newest_span(&transaction, shard, file, range)? else {
        return Ok(Vec::new());
    };
    let mut spans = transaction.prepare_cached(
        "SELECT * FROM spans WHERE shard = ? AND file = ? AND first_sequence <= ?
         ORDER BY first_sequence DESC",
    )?;
    let mut rows = transaction.prepare_cached(
        "SELECT * FROM outcomes
         WHERE shard = ? AND number BETWEEN ? AND ? AND file = ?
           AND record_index BETWEEN ? AND ?
         ORDER BY number DESC LIMIT ?",
    )?;
    let mut found = Vec::new();
    let at = params![shard, file.0.as_slice(), newest.first_sequence];
    for span in spans.query_map(at, of_span)? {
        let span = span?;
        let last_number = span.last_number.min(range.below.saturating_sub(1));
        let of_span = rows.query_map(
            params![
                shard,
                span.first_number,
                last_number,
                file.0.as_slice(),
                range.first_index,
                range.last_index,
                limit(range.max.saturating_sub(found.len()))
            ],
            of_outcome,
        )?;
        for row in of_span {
            found.push(row?);
        }
        if span.first_index <= range.first_index || range.max <= found.len() {
            break;
        }
    }
    Ok(found)
}

/// The newest span that begins below a number and not after a record. Sequences, indices and
/// numbers ascend together, so it is found by halving the sequences, without an index that every
/// commit would pay for.
fn newest_span(
    connection: &Connection,
    shard: u32,
    file: &FileId,
    range: Range,
) -> rusqlite::Result<Option<Span>> {
    let mut query = connection.prepare_cached(
        "SELECT * FROM spans WHERE shard = ? AND file = ? AND first_sequence <= ?
         ORDER BY first_sequence DESC LIMIT 1",
    )?;
    let mut at_or_before = |sequence: i64| {
        query.query_row(params![shard, file.0.as_slice(), sequence], of_span).optional()
    };
    // A record's sequence on one shard is never above its index in the file.
    let (mut low, mut high) = (0, range.last_index);
    let mut found = None;
    while low <= high {
        let middle = low.midpoint(high);
        let Some(span) = at_or_before(middle)? else { break };
        if span.first_index <= range.last_index && span.first_number < range.below {
            found = Some(span);
            let Some(next) = middle.checked_add(1) else { break };
            low = next;
        } else {
            high = span.first_sequence.saturating_sub(1);
        }
    }
    Ok(found)
}

/// A span holds one commit's sequences of a file, so a run of sequences is found by one search and
/// one scan of at most a round.
pub(super) fn fingerprints(
    connection: &Connection,
    shard: u32,
    file: &FileId,
    sequences: &[i64],
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let transaction = connection.unchecked_transaction()?;
    let mut span = transaction.prepare_cached(
        "SELECT * FROM spans WHERE shard = ? AND file = ? AND first_sequence <= ?
         ORDER BY first_sequence DESC LIMIT 1",
    )?;
    let mut taken = transaction.prepare_cached(
        "SELECT sequence, fingerprint FROM outcomes
         WHERE shard = ? AND number BETWEEN ? AND ? AND file = ? AND sequence IS NOT NULL",
    )?;
    let mut found = Vec::with_capacity(sequences.len());
    let mut scanned: Vec<(i64, i64)> = Vec::new();
    for sequence in sequences {
        if scanned.last().is_none_or(|(last, _)| last < sequence) {
            let at = params![shard, file.0.as_slice(), sequence];
            let Some(span) = span.query_row(at, of_span).optional()? else { continue };
            let range = params![shard, span.first_number, span.last_number, file.0.as_slice()];
            let rows = taken.query_map(range, |row| Ok((row.get(0)?, row.get(1)?)))?;
            scanned = rows.collect::<rusqlite::Result<_>>()?;
        }
        if let Ok(at) = scanned.binary_search_by_key(sequence, |(taken, _)| *taken) {
            found.extend(scanned.get(at));
        }
    }
    Ok(found)
}

/// What the database held when the view was begun.
#[derive(Debug)]
pub struct SqliteView {
    path: PathBuf,
    /// None while a read is under way, or after one was given up.
    connection: Option<Connection>,
}

impl SqliteView {
    pub(super) fn begin(path: PathBuf) -> Result<Self, Error> {
        let connection = connect_reader(&path)?;
        // A read transaction sees one state from its first read on.
        connection
            .execute_batch("BEGIN; SELECT count(*) FROM ledger;")
            .map_err(|error| failed(&path, error))?;
        Ok(Self { path, connection: Some(connection) })
    }

    async fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(connection) = self.connection.take() else {
            let what = "an earlier read of this view was given up".to_owned();
            return Err(Error::Retry { what, source: None });
        };
        let path = self.path.clone();
        let (connection, found) = blocking(move || {
            let found = read(&connection).map_err(|error| failed(&path, error));
            Ok((connection, found))
        })
        .await?;
        self.connection = Some(connection);
        found
    }
}

impl View for SqliteView {
    async fn ledger(&mut self) -> Result<Option<Ledger>, Error> {
        self.read(ledger).await
    }

    async fn shards(&mut self) -> Result<Vec<ShardRow>, Error> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT * FROM shards ORDER BY shard")?;
            query.query_map([], shard_row)?.collect()
        })
        .await
    }

    async fn accounts(
        &mut self,
        shard: u32,
        after: Option<AccountName>,
        max: usize,
    ) -> Result<Vec<Account>, Error> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT account, state, label FROM accounts WHERE shard = ? AND account > ?
                 ORDER BY account LIMIT ?",
            )?;
            let after = after.map(|name| name.to_string()).unwrap_or_default();
            let mut rows = query.query(params![shard, after, limit(max)])?;
            let mut accounts = Vec::new();
            while let Some(row) = rows.next()? {
                let name = AccountName::from_text(row.get_ref(0)?.as_str()?);
                let state = AccountState::from(row.get_ref(1)?.as_str()?);
                let label = row.get_ref(2)?.as_str_or_null()?.map(Into::into);
                let balances = balances(connection, shard, &name)?;
                accounts.push(Account { name, state, label, balances });
            }
            Ok(accounts)
        })
        .await
    }

    async fn account(&mut self, shard: u32, name: AccountName) -> Result<Option<Account>, Error> {
        self.read(move |connection| account(connection, shard, &name)).await
    }

    async fn runs(
        &mut self,
        after: Option<(FileId, u32)>,
        max: usize,
    ) -> Result<Vec<(u32, Run)>, Error> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT * FROM runs WHERE (file, shard) > (?, ?) ORDER BY file, shard LIMIT ?",
            )?;
            let file = after.as_ref().map_or(&[][..], |(file, _)| file.0.as_slice());
            let shard = after.as_ref().map_or(0, |(_, shard)| *shard);
            query.query_map(params![file, shard, limit(max)], of_shard_run)?.collect()
        })
        .await
    }

    async fn runs_of(&mut self, file: FileId) -> Result<Vec<(u32, Run)>, Error> {
        self.read(move |connection| {
            let mut query =
                connection.prepare_cached("SELECT * FROM runs WHERE file = ? ORDER BY shard")?;
            query.query_map([file.0.as_slice()], of_shard_run)?.collect()
        })
        .await
    }

    async fn spans(&mut self, shard: u32, file: FileId) -> Result<Vec<Span>, Error> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT * FROM spans WHERE shard = ? AND file = ? ORDER BY first_sequence",
            )?;
            query.query_map(params![shard, file.0.as_slice()], of_span)?.collect()
        })
        .await
    }

    async fn outcomes(
        &mut self,
        shard: u32,
        from_number: i64,
        max: usize,
    ) -> Result<Vec<OutcomeRow>, Error> {
        self.read(move |connection| {
            let mut query = connection.prepare_cached(
                "SELECT * FROM outcomes WHERE shard = ? AND number >= ? ORDER BY number LIMIT ?",
            )?;
            query.query_map(params![shard, from_number, limit(max)], of_outcome)?.collect()
        })
        .await
    }
}

fn of_shard_run(row: &Row<'_>) -> rusqlite::Result<(u32, Run)> {
    Ok((row.get("shard")?, of_run(row)?))
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}
