//! Reading: the queries of a shard's owner, and rows as values.

use bytes::Bytes;
use schemas::ledger::Ledger;
use schemas::outcome::AccountState;
use schemas::{Currency, FileId};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::account::{Account, AccountName, Balance};
use crate::run::{Run, RunState, Span};
use crate::store::postgres::failure::Failure;
use crate::store::postgres::session::Session;
use crate::store::{Fetched, OutcomeRow, Range, ShardRow};

/// An account with its balances is one row a balance, or one without: state, label, and the
/// balance's columns.
macro_rules! of_account {
    () => {
        "state, label, currency, exponent, debits_minor, credits_minor, version, last_number"
    };
}

macro_rules! of_run {
    () => {
        "file, state, is_blocked, next_sequence, applied, rejected, reversed, duplicates,
         applied_sums, rejected_sums, reversed_sums, first_number, last_number, reversals, shard"
    };
}

macro_rules! of_span {
    () => {
        "file, first_sequence, first_index, first_number, last_number"
    };
}

macro_rules! of_outcome {
    () => {
        "number, file, sequence, record_index, fingerprint, body"
    };
}

pub(super) use {of_account, of_outcome, of_run, of_span};

const SHARD: &str =
    "SELECT shard, epoch, next_offset, next_number FROM shards WHERE shard = $1::INT4";

const LEDGER: &str = "SELECT name, shards, file_partitions, key_check_value FROM ledger";

/// Each says its whole key: see the statement that changes balances.
const ACCOUNTS: &str = concat!(
    "SELECT said.at, ",
    of_account!(),
    " FROM unnest($1::INT4[], $2::TEXT[]) WITH ORDINALITY AS said (shard, account, at)
     JOIN accounts ON accounts.shard = said.shard AND accounts.account = said.account
     LEFT JOIN balances ON balances.shard = said.shard AND balances.account = said.account
     ORDER BY said.at, currency, exponent"
);

const RUNS: &str =
    concat!("SELECT ", of_run!(), " FROM runs WHERE file = ANY($2::BYTEA[]) AND shard = $1::INT4");

const REVERSING: &str = concat!(
    "SELECT ",
    of_run!(),
    " FROM runs WHERE shard = $1::INT4 AND is_reversing ORDER BY file"
);

/// A span holds one commit's sequences of a file: each sequence asked for is found in the newest
/// span that begins at it or before.
const FINGERPRINTS: &str = "
SELECT taken.sequence, taken.fingerprint
FROM (
  SELECT DISTINCT span.first_number, span.last_number
  FROM unnest($3::INT8[]) AS said (sequence)
  CROSS JOIN LATERAL (
    SELECT first_number, last_number FROM spans
    WHERE shard = $1::INT4 AND file = $2::BYTEA AND first_sequence <= said.sequence
    ORDER BY first_sequence DESC LIMIT 1
  ) AS span
) AS found
CROSS JOIN LATERAL (
  SELECT sequence, fingerprint FROM outcomes
  WHERE shard = $1::INT4 AND number BETWEEN found.first_number AND found.last_number
    AND file = $2::BYTEA AND sequence = ANY($3::INT8[]) AND fingerprint IS NOT NULL
  ORDER BY number LIMIT $4::INT8
) AS taken
ORDER BY taken.sequence";

/// The newest spans that begin at an index or before, and below a number. Sequences, indices and
/// numbers ascend together, so the newest is the older of the two that either bound finds.
const NEWEST_SPANS: &str = concat!(
    "SELECT ",
    of_span!(),
    " FROM spans WHERE shard = $1::INT4 AND file = $2::BYTEA
     AND first_sequence <= (
       SELECT first_sequence FROM spans
       WHERE shard = $1::INT4 AND file = $2::BYTEA AND first_index <= $3::INT8
       ORDER BY first_index DESC LIMIT 1)
     AND first_sequence <= (
       SELECT first_sequence FROM spans
       WHERE shard = $1::INT4 AND file = $2::BYTEA AND first_number < $4::INT8
       ORDER BY first_number DESC LIMIT 1)
     ORDER BY first_sequence DESC LIMIT $5::INT8"
);

/// What lies in these spans, and no row between them.
const TAKEN: &str = concat!(
    "SELECT taken.* FROM unnest($3::INT8[], $4::INT8[]) AS span (first_number, last_number)
     CROSS JOIN LATERAL (
       SELECT ",
    of_outcome!(),
    " FROM outcomes
       WHERE shard = $1::INT4 AND number BETWEEN span.first_number AND span.last_number
         AND file = $2::BYTEA AND record_index BETWEEN $5::INT8 AND $6::INT8 AND number < $7::INT8
       ORDER BY number DESC LIMIT $8::INT8
     ) AS taken
     ORDER BY taken.number DESC LIMIT $8::INT8"
);

/// Spans read at once to find a slice of what is undone: under light load a commit, and so a span,
/// is a record or two.
const SPANS_MAX: usize = 512;

pub(super) async fn ledger(session: &mut Session) -> Result<Option<Ledger>, Failure> {
    let sql = session.prepared(LEDGER).await?;
    let row = session.ask(|client| async move { client.query_opt(&sql, &[]).await }).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Ledger {
        name: row.try_get(0)?,
        shards: row.try_get(1)?,
        file_partitions: row.try_get(2)?,
        key_check_value: row.try_get(3)?,
    }))
}

/// The row of a shard; none where there is no such shard.
pub(super) async fn shard(session: &mut Session, shard: i32) -> Result<Option<ShardRow>, Failure> {
    let sql = session.prepared(SHARD).await?;
    let row = session.ask(|client| async move { client.query_opt(&sql, &[&shard]).await }).await?;
    row.as_ref().map(shard_row).transpose()
}

pub(super) async fn fetch(
    session: &mut Session,
    shard: i32,
    accounts: &[AccountName],
    files: &[FileId],
) -> Result<Fetched, Failure> {
    let (of_accounts, of_runs) = (session.prepared(ACCOUNTS).await?, session.prepared(RUNS).await?);
    let names: Vec<String> = accounts.iter().map(ToString::to_string).collect();
    let ids: Vec<&[u8]> = files.iter().map(|file| file.0.as_slice()).collect();
    let shards = vec![shard; names.len()];
    let (shards, names, ids) = (&shards, &names, &ids);
    // Both in one exchange. Nobody but the asker writes what they read; and where somebody does,
    // because the asker no longer has the shard, what it makes of them can't be committed.
    let (accounts_found, runs_found) = session
        .ask(|client| async move {
            tokio::try_join!(
                biased;
                async {
                    match names.is_empty() {
                        true => Ok(Vec::new()),
                        false => client.query(&of_accounts, &[shards, names]).await,
                    }
                },
                async {
                    match ids.is_empty() {
                        true => Ok(Vec::new()),
                        false => client.query(&of_runs, &[&shard, ids]).await,
                    }
                },
            )
        })
        .await?;
    let mut fetched = Fetched { accounts: vec![None; accounts.len()], runs: Vec::new() };
    for row in &accounts_found {
        let at: i64 = row.try_get(0)?;
        let at = usize::try_from(at).ok().and_then(|at| at.checked_sub(1));
        let place = at.and_then(|at| Some((accounts.get(at)?, fetched.accounts.get_mut(at)?)));
        let Some((name, place)) = place else { return Err(wrong("the place of an account")) };
        add_account_row(place, || name.clone(), row, 1)?;
    }
    let runs: Vec<Run> = runs_found.iter().map(run).collect::<Result<_, _>>()?;
    let find = |file: &FileId| runs.iter().find(|run| run.file == *file).cloned();
    fetched.runs = files.iter().map(find).collect();
    Ok(fetched)
}

pub(super) async fn reversing(session: &mut Session, shard: i32) -> Result<Vec<Run>, Failure> {
    let sql = session.prepared(REVERSING).await?;
    let rows = session.ask(|client| async move { client.query(&sql, &[&shard]).await }).await?;
    rows.iter().map(run).collect()
}

pub(super) async fn fingerprints(
    session: &mut Session,
    shard: i32,
    file: &FileId,
    sequences: &[i64],
) -> Result<Vec<(i64, i64)>, Failure> {
    let sql = session.prepared(FINGERPRINTS).await?;
    let (file, max) = (file.0.as_slice(), limit(sequences.len()));
    let rows = session
        .ask(|client| async move { client.query(&sql, &[&shard, &file, &sequences, &max]).await })
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Walks the spans back from the newest that can hold what is asked for, and reads of each only the
/// rows between its ends.
pub(super) async fn taken(
    session: &mut Session,
    shard: i32,
    file: &FileId,
    range: Range,
) -> Result<Vec<OutcomeRow>, Failure> {
    let mut found: Vec<OutcomeRow> = Vec::new();
    let mut below = range.below;
    while found.len() < range.max {
        let asked = Range { below, max: range.max.saturating_sub(found.len()), ..range };
        let spans = newest_spans(session, shard, file, asked).await?;
        let Some(oldest) = spans.last() else { break };
        found.extend(taken_in(session, shard, file, asked, &spans).await?);
        if oldest.first_index <= range.first_index {
            break;
        }
        below = oldest.first_number;
    }
    Ok(found)
}

/// The newest spans that can hold what is asked for, newest first, and no more of them than it
/// takes to find as many rows.
async fn newest_spans(
    session: &mut Session,
    shard: i32,
    file: &FileId,
    range: Range,
) -> Result<Vec<Span>, Failure> {
    let sql = session.prepared(NEWEST_SPANS).await?;
    let (file, max) = (file.0.as_slice(), limit(range.max.min(SPANS_MAX)));
    let rows = session
        .ask(|client| async move {
            let bounds: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&shard, &file, &range.last_index, &range.below, &max];
            client.query(&sql, &bounds).await
        })
        .await?;
    let mut spans: Vec<Span> = Vec::with_capacity(rows.len());
    let mut sequences: i64 = 0;
    for row in &rows {
        let next = span(row, 0)?;
        // Sequences are dense: what lies between two spans' beginnings is in the older one. How
        // much of the newest is in the range is not known.
        if let Some(newer) = spans.last() {
            let of_next = newer.first_sequence.saturating_sub(next.first_sequence);
            sequences = sequences.saturating_add(of_next);
        }
        let is_last = next.first_index <= range.first_index || limit(range.max) <= sequences;
        spans.push(next);
        if is_last {
            break;
        }
    }
    Ok(spans)
}

async fn taken_in(
    session: &mut Session,
    shard: i32,
    file: &FileId,
    range: Range,
    spans: &[Span],
) -> Result<Vec<OutcomeRow>, Failure> {
    let sql = session.prepared(TAKEN).await?;
    let first: Vec<i64> = spans.iter().map(|span| span.first_number).collect();
    let last: Vec<i64> = spans.iter().map(|span| span.last_number).collect();
    let (file, max) = (file.0.as_slice(), limit(range.max));
    let rows = session
        .ask(|client| {
            let (first, last) = (&first, &last);
            async move {
                let bounds: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
                    &shard,
                    &file,
                    first,
                    last,
                    &range.first_index,
                    &range.last_index,
                    &range.below,
                    &max,
                ];
                client.query(&sql, &bounds).await
            }
        })
        .await?;
    rows.iter().map(outcome).collect()
}

pub(super) fn shard_row(row: &Row) -> Result<ShardRow, Failure> {
    let shard: i32 = row.try_get(0)?;
    Ok(ShardRow {
        shard: u32::try_from(shard).map_err(|_| wrong("a shard"))?,
        epoch: row.try_get(1)?,
        next_offset: row.try_get(2)?,
        next_number: row.try_get(3)?,
    })
}

/// Adds a row of an account and one of its balances; its columns begin at `from`.
pub(super) fn add_account_row(
    account: &mut Option<Account>,
    name: impl FnOnce() -> AccountName,
    row: &Row,
    from: usize,
) -> Result<(), Failure> {
    let account = match account {
        Some(account) => account,
        None => {
            let (state, label): (&str, Option<&str>) = (get(row, from, 0)?, get(row, from, 1)?);
            let (state, label) = (AccountState::from(state), label.map(Into::into));
            account.insert(Account { name: name(), state, label, balances: Vec::new() })
        }
    };
    let Some(currency) = get::<Option<&str>>(row, from, 2)? else { return Ok(()) };
    account.balances.push(Balance {
        currency: Currency::from_letters(currency).ok_or_else(|| wrong("a currency"))?,
        exponent: get(row, from, 3)?,
        debits_minor: get(row, from, 4)?,
        credits_minor: get(row, from, 5)?,
        version: get(row, from, 6)?,
        last_number: get(row, from, 7)?,
    });
    Ok(())
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, from: usize, column: usize) -> Result<T, Failure> {
    Ok(row.try_get(from.saturating_add(column))?)
}

pub(super) fn run(row: &Row) -> Result<Run, Failure> {
    Ok(Run {
        file: file(row.try_get(0)?)?,
        state: RunState::from(row.try_get::<_, &str>(1)?),
        is_blocked: row.try_get(2)?,
        next_sequence: row.try_get(3)?,
        applied: row.try_get(4)?,
        rejected: row.try_get(5)?,
        reversed: row.try_get(6)?,
        duplicates: row.try_get(7)?,
        applied_sums: json(row, 8)?,
        rejected_sums: json(row, 9)?,
        reversed_sums: json(row, 10)?,
        first_number: row.try_get(11)?,
        last_number: row.try_get(12)?,
        reversals: json(row, 13)?,
    })
}

/// A run with the shard that it is on.
pub(super) fn shard_and_run(row: &Row) -> Result<(u32, Run), Failure> {
    let shard: i32 = row.try_get(14)?;
    Ok((u32::try_from(shard).map_err(|_| wrong("a shard"))?, run(row)?))
}

pub(super) fn span(row: &Row, from: usize) -> Result<Span, Failure> {
    Ok(Span {
        file: file(get(row, from, 0)?)?,
        first_sequence: get(row, from, 1)?,
        first_index: get(row, from, 2)?,
        first_number: get(row, from, 3)?,
        last_number: get(row, from, 4)?,
    })
}

pub(super) fn outcome(row: &Row) -> Result<OutcomeRow, Failure> {
    Ok(OutcomeRow {
        number: row.try_get(0)?,
        file: row.try_get::<_, Option<&[u8]>>(1)?.map(file).transpose()?,
        sequence: row.try_get(2)?,
        index: row.try_get(3)?,
        fingerprint: row.try_get(4)?,
        body: Bytes::copy_from_slice(row.try_get(5)?),
    })
}

fn file(bytes: &[u8]) -> Result<FileId, Failure> {
    bytes.try_into().map(FileId).map_err(|_| wrong("the id of a file"))
}

fn json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, Failure> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text).map_err(|error| Failure::Form(format!("a form in JSON: {error}")))
}

fn wrong(expected: &str) -> Failure {
    Failure::Form(expected.to_owned())
}

/// A number of rows as a column.
pub(super) fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}
