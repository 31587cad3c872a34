//! Writing: a round is one commit, the swap first.

use schemas::ledger::Ledger;
use tokio_postgres::SimpleQueryMessage;

use crate::store::postgres::failure::{Failure, failed, failed_in_commit};
use crate::store::postgres::session::Session;
use crate::store::postgres::settings::Settings;
use crate::store::postgres::{columns, read};
use crate::store::{Commit, Error, Probe, ShardRow, other_ledger};

const ACCOUNTS: &str = "
INSERT INTO accounts (shard, account, state, label)
SELECT $1::INT4, account, state, label
FROM unnest($2::TEXT[], $3::TEXT[], $4::TEXT[]) AS said (account, state, label)
ON CONFLICT (shard, account) DO UPDATE SET state = excluded.state, label = excluded.label";

const BALANCES_MADE: &str = "
INSERT INTO balances (shard, account, currency, exponent, debits_minor, credits_minor, version,
                      last_number)
SELECT $1::INT4, account, currency, exponent, debits_minor, credits_minor, version, last_number
FROM unnest($2::TEXT[], $3::TEXT[], $4::INT4[], $5::INT8[], $6::INT8[], $7::INT8[], $8::INT8[])
  AS said (account, currency, exponent, debits_minor, credits_minor, version, last_number)";

/// Each row says its whole key, the shard too: so there is one way to find it. Where the shard is
/// said once, a server that has no statistics yet takes reading all of the shard for as good.
const BALANCES_CHANGED: &str = "
UPDATE balances SET debits_minor = said.debits_minor, credits_minor = said.credits_minor,
                    version = said.version, last_number = said.last_number
FROM unnest($1::INT4[], $2::TEXT[], $3::TEXT[], $4::INT4[], $5::INT8[], $6::INT8[], $7::INT8[],
            $8::INT8[], $9::INT8[])
  AS said (shard, account, currency, exponent, debits_minor, credits_minor, version, last_number,
           version_before)
WHERE balances.shard = said.shard AND balances.account = said.account
  AND balances.currency = said.currency AND balances.exponent = said.exponent
  AND balances.version = said.version_before";

const OUTCOMES: &str = "
INSERT INTO outcomes (shard, number, file, sequence, record_index, fingerprint, body)
SELECT $1::INT4, number, file, sequence, record_index, fingerprint, body
FROM unnest($2::INT8[], $3::BYTEA[], $4::INT8[], $5::INT8[], $6::INT8[], $7::BYTEA[])
  AS said (number, file, sequence, record_index, fingerprint, body)";

const RUNS: &str = "
INSERT INTO runs (shard, file, state, is_blocked, next_sequence, applied, rejected, reversed,
                  duplicates, applied_sums, rejected_sums, reversed_sums, first_number, last_number,
                  reversals, is_reversing)
SELECT $1::INT4, file, state, is_blocked, next_sequence, applied, rejected, reversed, duplicates,
       applied_sums, rejected_sums, reversed_sums, first_number, last_number, reversals,
       is_reversing
FROM unnest($2::BYTEA[], $3::TEXT[], $4::BOOL[], $5::INT8[], $6::INT8[], $7::INT8[], $8::INT8[],
            $9::INT8[], $10::TEXT[], $11::TEXT[], $12::TEXT[], $13::INT8[], $14::INT8[],
            $15::TEXT[], $16::BOOL[])
  AS said (file, state, is_blocked, next_sequence, applied, rejected, reversed, duplicates,
           applied_sums, rejected_sums, reversed_sums, first_number, last_number, reversals,
           is_reversing)
ON CONFLICT (file, shard) DO UPDATE SET
  state = excluded.state, is_blocked = excluded.is_blocked,
  next_sequence = excluded.next_sequence, applied = excluded.applied,
  rejected = excluded.rejected, reversed = excluded.reversed, duplicates = excluded.duplicates,
  applied_sums = excluded.applied_sums, rejected_sums = excluded.rejected_sums,
  reversed_sums = excluded.reversed_sums, first_number = excluded.first_number,
  last_number = excluded.last_number, reversals = excluded.reversals,
  is_reversing = excluded.is_reversing";

const SPANS: &str = "
INSERT INTO spans (shard, file, first_sequence, first_index, first_number, last_number)
SELECT $1::INT4, file, first_sequence, first_index, first_number, last_number
FROM unnest($2::BYTEA[], $3::INT8[], $4::INT8[], $5::INT8[], $6::INT8[])
  AS said (file, first_sequence, first_index, first_number, last_number)";

const ACQUIRE: &str = "
UPDATE shards SET epoch = epoch + 1 WHERE shard = $1::INT4
RETURNING shard, epoch, next_offset, next_number";

const LEDGER: &str = "
INSERT INTO ledger (one, name, shards, file_partitions, key_check_value)
VALUES (1, $1::TEXT, $2::INT4, $3::INT4, $4::TEXT) ON CONFLICT (one) DO NOTHING";

const SHARDS: &str = "
INSERT INTO shards (shard, epoch, next_offset, next_number)
SELECT shard, 0, 0, 0 FROM unnest($1::INT4[]) AS said (shard)";

/// Makes the ledger where there is none, else compares it.
pub(super) async fn open_ledger(
    session: &mut Session,
    settings: &Settings,
    ledger: &Ledger,
) -> Result<(), Error> {
    let failed = |failure| failed(settings, failure);
    let made = async {
        session.batch("BEGIN").await?;
        let (make, shards) = (session.prepared(LEDGER).await?, session.prepared(SHARDS).await?);
        let Ledger { name, shards: count, file_partitions, key_check_value } = ledger;
        // Where another process makes it at this moment, this waits for it, and does nothing.
        let made = session
            .ask(|client| async move {
                client.execute(&make, &[name, count, file_partitions, key_check_value]).await
            })
            .await?;
        if 0 < made {
            let numbers: Vec<i32> = (0..*count).collect();
            session.ask(|client| async move { client.execute(&shards, &[&numbers]).await }).await?;
        }
        session.batch("COMMIT").await
    };
    let made: Result<(), Failure> = made.await;
    made.map_err(failed)?;
    match read::ledger(session).await.map_err(failed)? {
        Some(found) if found == *ledger => Ok(()),
        Some(found) => Err(other_ledger(ledger, &found)),
        None => Err(Error::Retry { what: "the ledger was not kept".to_owned(), source: None }),
    }
}

/// Takes a shard; none where there is no such shard.
pub(super) async fn acquire(
    session: &mut Session,
    shard: i32,
) -> Result<Option<ShardRow>, Failure> {
    let acquire = session.prepared(ACQUIRE).await?;
    let row =
        session.ask(|client| async move { client.query_opt(&acquire, &[&shard]).await }).await?;
    row.as_ref().map(read::shard_row).transpose()
}

/// What became of the swap and all that follows it, short of the commit.
enum Written {
    /// All of it.
    All,
    /// Nothing: the commit had happened before.
    Earlier,
    /// Nothing: the row is another.
    Fenced,
    /// Fewer balances than these had the version that the commit is based on.
    OtherBalances(usize, u64),
}

/// Commits a round.
///
/// What is swapped is known before anything else is sent, and what was written before the COMMIT
/// is: so nothing of a fenced owner ever waits for, or holds up, what the new one writes.
pub(super) async fn commit(
    session: &mut Session,
    settings: &Settings,
    commit: &Commit,
    probe: &Probe,
) -> Result<(), Error> {
    commit.check()?;
    let from = commit.from;
    let written = write(session, commit, probe).await;
    let error = match written {
        Ok(Written::All) => {
            probe.written(from.shard);
            return session.batch("COMMIT").await.map_err(|failure| {
                // Whatever the server makes of the session now, nobody is to build on it.
                session.give_up();
                failed_in_commit(settings, from.shard, failure)
            });
        }
        Ok(Written::Earlier) => None,
        Ok(Written::Fenced) => {
            Some(Error::Fenced { shard: from.shard, epoch: from.epoch, number: from.next_number })
        }
        Ok(Written::OtherBalances(expected, found)) => Some(Error::Invariant {
            what: format!(
                "expected {expected} balances at the versions that a round is based on, found \
                 {found}: the store lost a change; rebuild it from the topic postings"
            ),
            source: None,
        }),
        Err(failure) => Some(failed(settings, failure)),
    };
    // Nothing was written, or is to be. Where this fails the session ends, and the server does it.
    if session.batch("ROLLBACK").await.is_err() {
        session.give_up();
    }
    error.map_or(Ok(()), Err)
}

async fn write(session: &mut Session, commit: &Commit, probe: &Probe) -> Result<Written, Failure> {
    if !swap(session, commit, probe.is_swap_blind).await? {
        let found = read::shard(session, columns::shard(commit.from.shard)?).await?;
        let is_earlier = found == Some(commit.to());
        return Ok(if is_earlier { Written::Earlier } else { Written::Fenced });
    }
    probe.swapped(commit.from.shard);
    let expected = commit.balances.iter().filter(|row| row.version_before != 0).count();
    let changed = write_rows(session, commit).await?;
    Ok(match u64::try_from(expected) {
        Ok(all) if all == changed => Written::All,
        _ => Written::OtherBalances(expected, changed),
    })
}

/// Swaps the shard's row; false where it is another than the committer believes.
///
/// Where another session has swapped it and has not ended, this waits for its end and then looks
/// at the row as that left it. So the answer is final, also to a commit that is repeated because
/// the answer to it was lost.
async fn swap(session: &mut Session, commit: &Commit, is_blind: bool) -> Result<bool, Failure> {
    let (from, to) = (commit.from, commit.to());
    // One text, so that without the BEGIN nothing of it is done.
    let sql = format!(
        "BEGIN; UPDATE shards SET next_offset = {}, next_number = {}
         WHERE shard = {} AND ({is_blind} OR epoch = {} AND next_offset = {} AND next_number = {})",
        to.next_offset, to.next_number, from.shard, from.epoch, from.next_offset, from.next_number
    );
    let said = session.ask(|client| client.simple_query(&sql)).await?;
    let counts = said.iter().filter_map(|message| match message {
        SimpleQueryMessage::CommandComplete(count) => Some(*count),
        _ => None,
    });
    Ok(counts.last() == Some(1))
}

/// Writes what a commit holds beside the swap, all in one exchange; gives how many balances had
/// the version that it is based on.
async fn write_rows(session: &mut Session, commit: &Commit) -> Result<u64, Failure> {
    let shard = columns::shard(commit.from.shard)?;
    let accounts = columns::Accounts::of(&commit.accounts);
    let made = columns::Balances::of(&commit.balances, |row| row.version_before == 0);
    let changed = columns::Balances::of(&commit.balances, |row| row.version_before != 0);
    let outcomes = columns::Outcomes::of(&commit.outcomes);
    let runs = columns::Runs::of(&commit.runs)?;
    let spans = columns::Spans::of(&commit.spans);
    let statements = [
        session.prepared(ACCOUNTS).await?,
        session.prepared(BALANCES_MADE).await?,
        session.prepared(BALANCES_CHANGED).await?,
        session.prepared(OUTCOMES).await?,
        session.prepared(RUNS).await?,
        session.prepared(SPANS).await?,
    ];
    let [accounts_sql, made_sql, changed_sql, outcomes_sql, runs_sql, spans_sql] = &statements;
    session
        .ask(|client| async move {
            let answers = tokio::join!(
                biased;
                accounts.write(client, accounts_sql, shard),
                made.make(client, made_sql, shard),
                changed.change(client, changed_sql, shard),
                outcomes.write(client, outcomes_sql, shard),
                runs.write(client, runs_sql, shard),
                spans.write(client, spans_sql, shard),
            );
            // After the first that failed the server refuses the others: the first says why.
            let (accounts, made, changed, outcomes, runs, spans) = answers;
            accounts?;
            made?;
            let changed = changed?;
            outcomes?;
            runs?;
            spans?;
            Ok(changed)
        })
        .await
}
