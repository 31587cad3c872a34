//! Applying alone, on a disk: how many events a second become durable outcomes in SQLite, with two
//! legs each, the customers' uniform over a million accounts.
//!
//! `cargo run --release -p processors --example bare [DIRECTORY]`
//!
//! No log is involved: rounds are decoded from encoded events that lie in memory, applied, and
//! committed, all shards side by side, as the owners of the shards do it.

#![expect(clippy::print_stdout, reason = "an example prints")]
#![expect(clippy::disallowed_methods, reason = "an example reads its arguments")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use processors::apply::Shard;
use processors::event::Decoder;
use processors::round::{self, EVENTS_MAX};
use processors::store::conformance::{customer, file, ledger, settings};
use processors::store::sqlite::SqliteStore;
use processors::store::{Store, View};
use schemas::codec::Codec;
use schemas::record::Attributes;
use schemas::{ClearingRecord, Currency, Direction, Kind};

const SHARDS: u32 = 16;
const ACCOUNTS_PER_SHARD: u32 = 62_500;
const ROUNDS: u32 = 8;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let path = Path::new(&directory).join("bare.db");
    let store = SqliteStore::open(&path)?;
    store.open_ledger(&ledger(16)).await?;
    // The first passes open the accounts; the last finds all of them there.
    for pass in 0_u8..4 {
        let (events, elapsed) = run(&store, pass).await?;
        let per_second = u128::from(events) * 1_000 / elapsed.as_millis().max(1);
        println!("pass {pass}: {events} events in {} ms, {per_second}/s", elapsed.as_millis());
    }
    let mut view = store.view().await?;
    let rows = view.shards().await?;
    let outcomes: i64 = rows.iter().map(|row| row.next_number).sum();
    println!("{outcomes} outcomes, {} bytes", std::fs::metadata(&path)?.len());
    Ok(())
}

async fn run(store: &SqliteStore, pass: u8) -> Result<(u32, Duration), Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    let encoded: Vec<_> = (0..SHARDS).map(|shard| encode(shard, pass)).collect::<Result<_, _>>()?;
    let begun = Instant::now();
    for (shard, values) in (0..SHARDS).zip(encoded) {
        tasks.spawn(apply(store.clone(), shard, values));
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let events = SHARDS * ROUNDS * u32::try_from(EVENTS_MAX)?;
    Ok((events, begun.elapsed()))
}

async fn apply(store: SqliteStore, id: u32, values: Vec<Vec<u8>>) -> Result<(), Failure> {
    let row = store.acquire(id).await?;
    let mut shard = Shard::new(id, SHARDS, row.next_offset, row.next_number);
    let mut encoder = round::encoder();
    let mut decoder = Decoder::new(Codec::built_in());
    let settings = settings();
    for round in values.chunks(EVENTS_MAX) {
        let values = (shard.next_offset..).zip(round);
        let events = values.map(|(offset, value)| decoder.decode(offset, Some(value)));
        let events: Vec<_> = events.collect::<Result<_, _>>()?;
        round::prepare(&store, &mut shard, &settings, &events).await?;
        let (applied, error) =
            round::apply_all(&mut shard, row.epoch, &settings, &events, &mut encoder);
        if let Some(error) = error {
            return Err(error.into());
        }
        if let Some(applied) = applied {
            store.commit(applied.commit).await?;
        }
        if processors::ACCOUNTS_MAX < shard.accounts.len() {
            shard.accounts = Default::default();
        }
    }
    Ok(())
}

/// Events of one file on one shard; the accounts follow a linear congruential generator.
fn encode(shard: u32, pass: u8) -> Result<Vec<Vec<u8>>, Failure> {
    let mut state = u64::from(shard) << 8 | u64::from(pass);
    let mut encoder = Codec::built_in().encoder();
    let mut values = Vec::new();
    for sequence in 0..i64::from(ROUNDS) * i64::try_from(EVENTS_MAX)? {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = u32::try_from((state >> 33) % u64::from(ACCOUNTS_PER_SHARD))?;
        let record = ClearingRecord {
            file_id: file(pass),
            index: sequence,
            sequence,
            byte_offset: sequence * 94,
            byte_length: 94,
            line: Some(sequence + 1),
            feed: "bare".to_owned(),
            format: "nacha".to_owned(),
            code: "22".to_owned(),
            kind: Kind::PAYMENT,
            direction: Direction::CREDIT,
            account: Some(customer(n, shard, SHARDS)),
            account_label: Some("****0012".to_owned()),
            network: "ach".to_owned(),
            amount_minor: sequence + 1,
            currency: Some(Currency::USD),
            exponent: 2,
            amounts: Vec::new(),
            control_amount: None,
            occurred_at: None,
            value_date: None,
            reference: Some("091000010000001".to_owned()),
            counterparty: Some("ACME PAYROLL".to_owned()),
            attributes: Attributes::default(),
        };
        let mut value = Vec::new();
        encoder.encode(&record, &mut value)?;
        values.push(value);
    }
    Ok(values)
}
