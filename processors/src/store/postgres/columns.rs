//! The rows of a commit as the columns that a statement takes: an array a column.

use serde::Serialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use crate::run::{Run, Span};
use crate::store::postgres::failure::Failure;
use crate::store::{AccountRow, BalanceRow, OutcomeRow};

type Answer = Result<u64, tokio_postgres::Error>;

/// A shard as a column.
pub(super) fn shard(shard: u32) -> Result<i32, Failure> {
    i32::try_from(shard).map_err(|_| Failure::Form(format!("a shard below 2^31, found {shard}")))
}

/// Sends the columns, unless they are empty.
async fn send(
    client: &Client,
    sql: &Statement,
    rows: usize,
    columns: &[&(dyn ToSql + Sync)],
) -> Answer {
    if rows == 0 {
        return Ok(0);
    }
    client.execute(sql, columns).await
}

#[derive(Default)]
pub(super) struct Accounts<'a> {
    names: Vec<String>,
    states: Vec<&'a str>,
    labels: Vec<Option<&'a str>>,
}

impl<'a> Accounts<'a> {
    pub(super) fn of(rows: &'a [AccountRow]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            columns.names.push(row.name.to_string());
            columns.states.push(row.state.as_str());
            columns.labels.push(row.label.as_deref());
        }
        columns
    }

    pub(super) async fn write(&self, client: &Client, sql: &Statement, shard: i32) -> Answer {
        let columns: [&(dyn ToSql + Sync); 4] = [&shard, &self.names, &self.states, &self.labels];
        send(client, sql, self.names.len(), &columns).await
    }
}

#[derive(Default)]
pub(super) struct Balances<'a> {
    names: Vec<String>,
    currencies: Vec<&'a str>,
    exponents: Vec<i32>,
    debits: Vec<i64>,
    credits: Vec<i64>,
    versions: Vec<i64>,
    last_numbers: Vec<i64>,
    versions_before: Vec<i64>,
}

impl<'a> Balances<'a> {
    pub(super) fn of(rows: &'a [BalanceRow], is_wanted: impl Fn(&BalanceRow) -> bool) -> Self {
        let mut columns = Self::default();
        for row in rows.iter().filter(|row| is_wanted(row)) {
            columns.names.push(row.name.to_string());
            columns.currencies.push(row.balance.currency.as_str());
            columns.exponents.push(row.balance.exponent);
            columns.debits.push(row.balance.debits_minor);
            columns.credits.push(row.balance.credits_minor);
            columns.versions.push(row.balance.version);
            columns.last_numbers.push(row.balance.last_number);
            columns.versions_before.push(row.version_before);
        }
        columns
    }

    pub(super) async fn make(&self, client: &Client, sql: &Statement, shard: i32) -> Answer {
        let columns: [&(dyn ToSql + Sync); 8] = [
            &shard,
            &self.names,
            &self.currencies,
            &self.exponents,
            &self.debits,
            &self.credits,
            &self.versions,
            &self.last_numbers,
        ];
        send(client, sql, self.names.len(), &columns).await
    }

    pub(super) async fn change(&self, client: &Client, sql: &Statement, shard: i32) -> Answer {
        let shards = vec![shard; self.names.len()];
        let columns: [&(dyn ToSql + Sync); 9] = [
            &shards,
            &self.names,
            &self.currencies,
            &self.exponents,
            &self.debits,
            &self.credits,
            &self.versions,
            &self.last_numbers,
            &self.versions_before,
        ];
        send(client, sql, self.names.len(), &columns).await
    }
}

#[derive(Default)]
pub(super) struct Outcomes<'a> {
    numbers: Vec<i64>,
    files: Vec<Option<&'a [u8]>>,
    sequences: Vec<Option<i64>>,
    indices: Vec<Option<i64>>,
    fingerprints: Vec<Option<i64>>,
    bodies: Vec<&'a [u8]>,
}

impl<'a> Outcomes<'a> {
    pub(super) fn of(rows: &'a [OutcomeRow]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            columns.numbers.push(row.number);
            columns.files.push(row.file.as_ref().map(|file| file.0.as_slice()));
            columns.sequences.push(row.sequence);
            columns.indices.push(row.index);
            columns.fingerprints.push(row.fingerprint);
            columns.bodies.push(row.body.as_ref());
        }
        columns
    }

    pub(super) async fn write(&self, client: &Client, sql: &Statement, shard: i32) -> Answer {
        let columns: [&(dyn ToSql + Sync); 7] = [
            &shard,
            &self.numbers,
            &self.files,
            &self.sequences,
            &self.indices,
            &self.fingerprints,
            &self.bodies,
        ];
        send(client, sql, self.numbers.len(), &columns).await
    }
}

#[derive(Default)]
pub(super) struct Runs<'a> {
    files: Vec<&'a [u8]>,
    states: Vec<&'a str>,
    are_blocked: Vec<bool>,
    next_sequences: Vec<i64>,
    applied: Vec<i64>,
    rejected: Vec<i64>,
    reversed: Vec<i64>,
    duplicates: Vec<i64>,
    applied_sums: Vec<String>,
    rejected_sums: Vec<String>,
    reversed_sums: Vec<String>,
    first_numbers: Vec<Option<i64>>,
    last_numbers: Vec<Option<i64>>,
    reversals: Vec<String>,
    are_reversing: Vec<bool>,
}

impl<'a> Runs<'a> {
    pub(super) fn of(rows: &'a [Run]) -> Result<Self, Failure> {
        let mut columns = Self::default();
        for row in rows {
            columns.files.push(&row.file.0);
            columns.states.push(row.state.as_str());
            columns.are_blocked.push(row.is_blocked);
            columns.next_sequences.push(row.next_sequence);
            columns.applied.push(row.applied);
            columns.rejected.push(row.rejected);
            columns.reversed.push(row.reversed);
            columns.duplicates.push(row.duplicates);
            columns.applied_sums.push(json(&row.applied_sums)?);
            columns.rejected_sums.push(json(&row.rejected_sums)?);
            columns.reversed_sums.push(json(&row.reversed_sums)?);
            columns.first_numbers.push(row.first_number);
            columns.last_numbers.push(row.last_number);
            columns.reversals.push(json(&row.reversals)?);
            columns.are_reversing.push(row.is_reversing());
        }
        Ok(columns)
    }

    pub(super) async fn write(&self, client: &Client, sql: &Statement, shard: i32) -> Answer {
        let columns: [&(dyn ToSql + Sync); 16] = [
            &shard,
            &self.files,
            &self.states,
            &self.are_blocked,
            &self.next_sequences,
            &self.applied,
            &self.rejected,
            &self.reversed,
            &self.duplicates,
            &self.applied_sums,
            &self.rejected_sums,
            &self.reversed_sums,
            &self.first_numbers,
            &self.last_numbers,
            &self.reversals,
            &self.are_reversing,
        ];
        send(client, sql, self.files.len(), &columns).await
    }
}

#[derive(Default)]
pub(super) struct Spans<'a> {
    files: Vec<&'a [u8]>,
    first_sequences: Vec<i64>,
    first_indices: Vec<i64>,
    first_numbers: Vec<i64>,
    last_numbers: Vec<i64>,
}

impl<'a> Spans<'a> {
    pub(super) fn of(rows: &'a [Span]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            columns.files.push(&row.file.0);
            columns.first_sequences.push(row.first_sequence);
            columns.first_indices.push(row.first_index);
            columns.first_numbers.push(row.first_number);
            columns.last_numbers.push(row.last_number);
        }
        columns
    }

    pub(super) async fn write(&self, client: &Client, sql: &Statement, shard: i32) -> Answer {
        let columns: [&(dyn ToSql + Sync); 6] = [
            &shard,
            &self.files,
            &self.first_sequences,
            &self.first_indices,
            &self.first_numbers,
            &self.last_numbers,
        ];
        send(client, sql, self.files.len(), &columns).await
    }
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Form(format!("a form in JSON: {error}")))
}
