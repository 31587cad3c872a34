//! The machine's limits: what the same bytes cost where nothing is done with them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use ingest::content::BLOCK_BYTES_MAX;
use processors::round::EVENTS_MAX;
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use crate::cost::{Cost, Meter};
use crate::input::{self, Events, SHARDS};

/// Events in an append: as many as a chunk of a file has.
const APPEND_EVENTS: usize = 10_000;

/// SHA-256 of the file's bytes, read in blocks as verification does.
pub(crate) fn sha256(directory: &Path) -> anyhow::Result<Cost> {
    let meter = Meter::started()?;
    let mut file = File::open(input::inbox(directory).join(input::FILE))?;
    let mut block = vec![0; usize::try_from(BLOCK_BYTES_MAX)?];
    let mut digest = Sha256::new();
    loop {
        let length = file.read(&mut block)?;
        if length == 0 {
            break;
        }
        digest.update(&block[..length]);
    }
    std::hint::black_box(digest.finalize());
    meter.cost()
}

/// The events appended to a file, and synced as often as chunks are published.
pub(crate) async fn append(directory: &Path) -> anyhow::Result<Cost> {
    let mut events = Events::open(directory, APPEND_EVENTS / SHARDS as usize)?;
    let mut file = File::create(directory.join("appended"))?;
    let mut meter = Meter::default();
    while let Some(shards) = events.next().await? {
        meter.start()?;
        let mut bytes = Vec::new();
        for event in shards.iter().flatten() {
            bytes.extend_from_slice(&event.id);
            bytes.extend_from_slice(&event.key);
            bytes.extend_from_slice(event.value.as_deref().unwrap_or_default());
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        meter.stop()?;
    }
    meter.cost()
}

/// The events inserted into a table of SQLite, a row each in ascending order of its key, under the
/// settings of the account store, so many in a transaction as the shards apply at once.
pub(crate) async fn insert(directory: &Path) -> anyhow::Result<Cost> {
    let mut events = Events::open(directory, EVENTS_MAX)?;
    let mut connection = Connection::open(directory.join("inserted.db"))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 16_384)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection
        .execute_batch("CREATE TABLE rows (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")?;
    let mut meter = Meter::default();
    let mut number = 0_i64;
    while let Some(shards) = events.next().await? {
        meter.start()?;
        let transaction = connection.transaction()?;
        {
            let mut row = transaction.prepare("INSERT INTO rows VALUES (?1, ?2)")?;
            for event in shards.iter().flatten() {
                row.execute(params![number, event.value.as_deref()])?;
                number += 1;
            }
        }
        transaction.commit()?;
        meter.stop()?;
    }
    // Closing moves what is left from the write-ahead log into the database.
    meter.start()?;
    drop(connection);
    meter.cost()
}
