//! The one thread that writes.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};
use schemas::ledger::Ledger;
use tokio::sync::{mpsc, oneshot};

use crate::store::sqlite::{
    APPLICATION_ID, LAYOUT, WAL_PAGES, WRITER_CACHE_KIB, connect, failed, read,
};
use crate::store::{Commit, Error, Probe, ShardRow, other_balance, other_ledger};

/// Who asked, and is to be told.
type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    OpenLedger(Ledger, Reply<()>),
    Acquire(u32, Reply<ShardRow>),
    Commit(Arc<Commit>, Reply<()>),
}

/// Sets the connection up for writing, and makes the tables where there are none.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL syncs the write-ahead log at every commit: what was answered survives a loss of power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(include_str!("schema.sql"))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
    }
    transaction.commit()
}

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    probe: Probe,
}

impl Writer {
    pub(super) fn new(path: PathBuf, connection: Connection, probe: Probe) -> Self {
        Self { path, connection, probe }
    }

    /// Works until nobody can ask any more.
    pub(super) fn work(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            // What became ready while the last commit was under way shares the next one.
            let mut next = Some(first);
            let mut commits = Vec::new();
            while let Some(job) = next {
                match job {
                    // Nobody waits any more where the asker was dropped; there is nothing to do
                    // about it, here and below.
                    Job::OpenLedger(ledger, reply) => drop(reply.send(self.open_ledger(&ledger))),
                    Job::Acquire(shard, reply) => drop(reply.send(self.acquire(shard))),
                    Job::Commit(commit, reply) => commits.push((commit, reply)),
                }
                next = jobs.try_recv().ok();
            }
            self.commit_all(commits);
        }
    }

    fn open_ledger(&mut self, ledger: &Ledger) -> Result<(), Error> {
        let path = self.path.clone();
        let failed = |error| failed(&path, error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(failed)?;
        match read::ledger(&transaction).map_err(failed)? {
            Some(found) if found == *ledger => return Ok(()),
            Some(found) => return Err(other_ledger(ledger, &found)),
            None => (),
        }
        let make = || {
            transaction.execute(
                "INSERT INTO ledger VALUES (1, ?, ?, ?, ?)",
                params![ledger.name, ledger.shards, ledger.file_partitions, ledger.key_check_value],
            )?;
            for shard in 0..ledger.shards {
                transaction.execute("INSERT INTO shards VALUES (?, 0, 0, 0)", [shard])?;
            }
            Ok(())
        };
        make().map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    fn acquire(&mut self, shard: u32) -> Result<ShardRow, Error> {
        let taken = self.connection.query_row(
            "UPDATE shards SET epoch = epoch + 1 WHERE shard = ?
             RETURNING shard, epoch, next_offset, next_number",
            [shard],
            read::shard_row,
        );
        let taken = taken.optional().map_err(|error| failed(&self.path, error))?;
        taken.ok_or_else(|| Error::Unusable {
            what: format!("expected shard {shard} in {}, found none", self.path.display()),
            source: None,
        })
    }

    /// Commits rounds together. Where one can't be, all is rolled back and the others are
    /// committed without it.
    fn commit_all(&mut self, mut commits: Vec<(Arc<Commit>, Reply<()>)>) {
        while !commits.is_empty() {
            let (at, error) = match self.commit_once(&commits) {
                Ok(()) => {
                    for (_, reply) in commits {
                        let _ = reply.send(Ok(()));
                    }
                    return;
                }
                Err(failure) => failure,
            };
            match at {
                Some(at) => {
                    let (_, reply) = commits.remove(at);
                    let _ = reply.send(Err(error));
                }
                None => {
                    // The commit itself failed, for all of them alike.
                    for (commit, reply) in commits {
                        let _ = reply.send(Err(self.of_all(&commit, &error)));
                    }
                    self.reconnect();
                    return;
                }
            }
        }
    }

    /// One database transaction. Its error names the round that is at fault, or none where the
    /// transaction itself failed.
    fn commit_once(
        &mut self,
        commits: &[(Arc<Commit>, Reply<()>)],
    ) -> Result<(), (Option<usize>, Error)> {
        let path = &self.path;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| (None, failed(path, error)))?;
        for (at, (commit, _)) in commits.iter().enumerate() {
            write_round(&transaction, commit, &self.probe).map_err(|error| {
                let error = match error {
                    Failure::Ours(error) => error,
                    Failure::Sqlite(error) => failed(path, error),
                };
                (Some(at), error)
            })?;
        }
        transaction.commit().map_err(|error| {
            let error = match error.sqlite_error_code() {
                Some(ErrorCode::SystemIoFailure) => {
                    Error::Ambiguous { shard: 0, source: Some(Box::new(error)) }
                }
                _ => failed(path, error),
            };
            (None, error)
        })
    }

    /// The error of a transaction, as each of its rounds is told.
    fn of_all(&self, commit: &Commit, error: &Error) -> Error {
        let source = Some(error.to_string().into());
        match error {
            Error::Ambiguous { source: cause, .. } => Error::Ambiguous {
                shard: commit.from.shard,
                source: cause.as_ref().map(|cause| cause.to_string().into()),
            },
            Error::Unusable { what, source } => Error::Unusable {
                what: what.clone(),
                source: source.as_ref().map(|source| source.to_string().into()),
            },
            _ => Error::Retry {
                what: format!("committing to {} failed", self.path.display()),
                source,
            },
        }
    }

    /// A failed commit may leave the connection in any state. Where a new one can't be had, the old
    /// one answers with the reason next time.
    fn reconnect(&mut self) {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        if let Ok(mut connection) = connect(&self.path, flags, WRITER_CACHE_KIB)
            && prepare(&mut connection).is_ok()
        {
            self.connection = connection;
        }
    }
}

/// Why a round can't be written.
enum Failure {
    Ours(Error),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Writes one round, the swap first: where that fails, nothing was written.
fn write_round(connection: &Connection, commit: &Commit, probe: &Probe) -> Result<(), Failure> {
    commit.check().map_err(Failure::Ours)?;
    let (from, to) = (commit.from, commit.to());
    let mut swap = connection.prepare_cached(
        "UPDATE shards SET next_offset = ?5, next_number = ?6
         WHERE shard = ?1 AND (?7 OR epoch = ?2 AND next_offset = ?3 AND next_number = ?4)",
    )?;
    let swapped = swap.execute(params![
        from.shard,
        from.epoch,
        from.next_offset,
        from.next_number,
        to.next_offset,
        to.next_number,
        probe.is_swap_blind
    ])?;
    if swapped == 0 {
        let mut row = connection.prepare_cached("SELECT * FROM shards WHERE shard = ?")?;
        if row.query_row([from.shard], read::shard_row).optional()? == Some(to) {
            // Repeated after it was committed.
            return Ok(());
        }
        let (epoch, number) = (from.epoch, from.next_number);
        return Err(Failure::Ours(Error::Fenced { shard: from.shard, epoch, number }));
    }
    probe.swapped(from.shard);
    write_accounts(connection, commit)?;
    write_outcomes(connection, commit)?;
    write_runs(connection, commit)?;
    Ok(())
}

fn write_accounts(connection: &Connection, commit: &Commit) -> Result<(), Failure> {
    let shard = commit.from.shard;
    let mut account = connection.prepare_cached(
        "INSERT INTO accounts VALUES (?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET state = excluded.state, label = excluded.label",
    )?;
    for row in &commit.accounts {
        let name = Name(&row.name);
        account.execute(params![shard, name, row.state.as_str(), row.label.as_deref()])?;
    }
    let mut made =
        connection.prepare_cached("INSERT INTO balances VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
    let mut changed = connection.prepare_cached(
        "UPDATE balances SET debits_minor = ?5, credits_minor = ?6, version = ?7, last_number = ?8
         WHERE shard = ?1 AND account = ?2 AND currency = ?3 AND exponent = ?4 AND version = ?9",
    )?;
    for row in &commit.balances {
        let (name, balance) = (Name(&row.name), &row.balance);
        let currency = balance.currency.as_str();
        if row.version_before == 0 {
            made.execute(params![
                shard,
                name,
                currency,
                balance.exponent,
                balance.debits_minor,
                balance.credits_minor,
                balance.version,
                balance.last_number
            ])?;
            continue;
        }
        let rows = changed.execute(params![
            shard,
            name,
            currency,
            balance.exponent,
            balance.debits_minor,
            balance.credits_minor,
            balance.version,
            balance.last_number,
            row.version_before
        ])?;
        if rows != 1 {
            return Err(Failure::Ours(other_balance(row)));
        }
    }
    Ok(())
}

fn write_outcomes(connection: &Connection, commit: &Commit) -> rusqlite::Result<()> {
    let mut outcome =
        connection.prepare_cached("INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    for row in &commit.outcomes {
        outcome.execute(params![
            commit.from.shard,
            row.number,
            row.file.as_ref().map(|file| file.0.as_slice()),
            row.sequence,
            row.index,
            row.fingerprint,
            row.body.as_ref()
        ])?;
    }
    Ok(())
}

fn write_runs(connection: &Connection, commit: &Commit) -> rusqlite::Result<()> {
    let shard = commit.from.shard;
    let mut run = connection.prepare_cached(
        "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for row in &commit.runs {
        run.execute(params![
            row.file.0.as_slice(),
            shard,
            row.state.as_str(),
            row.is_blocked,
            row.next_sequence,
            row.applied,
            row.rejected,
            row.reversed,
            row.duplicates,
            json(&row.applied_sums)?,
            json(&row.rejected_sums)?,
            json(&row.reversed_sums)?,
            row.first_number,
            row.last_number,
            json(&row.reversals)?,
            row.is_reversing()
        ])?;
    }
    let mut span = connection.prepare_cached("INSERT INTO spans VALUES (?, ?, ?, ?, ?, ?)")?;
    for row in &commit.spans {
        span.execute(params![
            shard,
            row.file.0.as_slice(),
            row.first_sequence,
            row.first_index,
            row.first_number,
            row.last_number
        ])?;
    }
    Ok(())
}

fn json<T: serde::Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

use read::Name;
