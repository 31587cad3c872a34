//! All SQL of the embedded log.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Result, Row, params};
use schemas::Topic;

use super::record_batch::{Stored, checksum};
use crate::Layout;

/// Says that a database is a log of ours: "batl" in ASCII.
const APPLICATION_ID: i64 = 0x6261_746c;

/// The version of the tables and of the record batches in them.
pub(super) const FORMAT: i64 = 1;

/// How long a reader waits for another's lock. In WAL mode readers and the writer don't wait for
/// each other; what remains is opening, and recovery after a crash.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// - `opening` counts how often the log was opened for writing.
/// - `partitions` numbers all partitions; that number is their place.
/// - A row of `batches` holds the messages from offset `base` to before `next`.
/// - A row of `positions` holds the offset of the next message that a group consumes.
const TABLES: &str = "
    CREATE TABLE log (opening INTEGER NOT NULL) STRICT;
    INSERT INTO log (opening) VALUES (0);
    CREATE TABLE partitions (
        place INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE batches (
        id INTEGER PRIMARY KEY,
        place INTEGER NOT NULL, base INTEGER NOT NULL, next INTEGER NOT NULL,
        size INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX batches_by_offset ON batches (place, base);
    CREATE TABLE positions (
        group_name TEXT NOT NULL, place INTEGER NOT NULL, next INTEGER NOT NULL,
        PRIMARY KEY (group_name, place)
    ) STRICT, WITHOUT ROWID;
";

/// Opens the database for writing, and creates it where there is none.
pub(super) fn open_to_write(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(|looks| look_again(looks, OWNER_LOOKS_MAX)))?;
    // Large batches are chains of pages; 8 KiB halves the chains and costs small publishes little.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A commit returns when it is on the disk.
    connection.pragma_update(None, "synchronous", "full")?;
    // Checkpoints copy what was committed; at 32 MiB of it they cost a few percent.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // A page whose structure is wrong is noticed where it is read.
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Opens the database for appending beside the process that owns it. It has to be there.
pub(super) fn open_beside(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(|looks| look_again(looks, BESIDE_LOOKS_MAX)))?;
    connection.pragma_update(None, "synchronous", "full")?;
    // Checkpoints are the owner's business.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// How often one who would write looks whether the database is free. Two processes that both write
/// without a pause leave each other little time between two transactions; who looks often meets it.
const LOOK: Duration = Duration::from_millis(1);

/// How often the owner looks before it says that the database is locked: for some 5 s.
const OWNER_LOOKS_MAX: i32 = 5_000;

/// How often whoever appends beside looks: for some 30 s, far beyond the longest transaction of a
/// disk that works.
const BESIDE_LOOKS_MAX: i32 = 30_000;

fn look_again(looks: i32, looks_max: i32) -> bool {
    std::thread::sleep(LOOK);
    looks < looks_max
}

/// Opens the database for reading.
pub(super) fn open_to_read(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Batches are read once and in order: pages that are kept help nobody.
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

/// Page cache of a reader, in KiB.
const READER_CACHE_KIB: i64 = 256;

/// What a database says of itself: its application, its format, and whether it is empty.
pub(super) struct Identity {
    pub(super) is_empty: bool,
    pub(super) is_ours: bool,
    pub(super) format: i64,
}

/// Reads what the database says of itself.
pub(super) fn identity(connection: &Connection) -> Result<Identity> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let format: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    Ok(Identity { is_empty: tables == 0, is_ours: application == APPLICATION_ID, format })
}

/// Creates the tables, and the partitions of the layout. Call it in a transaction.
pub(super) fn create(connection: &Connection, layout: Layout) -> Result<()> {
    connection.execute_batch(TABLES)?;
    let mut insert = connection
        .prepare("INSERT INTO partitions (place, topic, partition) VALUES (?1, ?2, ?3)")?;
    for (place, (topic, partition)) in (0_i64..).zip(layout.places()) {
        insert.execute(params![place, topic.name(), partition])?;
    }
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", FORMAT)
}

/// How many partitions the log has of a topic.
pub(super) fn partitions(connection: &Connection, topic: Topic) -> Result<u32> {
    let sql = "SELECT count(*) FROM partitions WHERE topic = ?1";
    connection.query_row(sql, [topic.name()], |row| row.get(0))
}

/// Counts an opening, and gives its number.
pub(super) fn count_opening(connection: &Connection) -> Result<u32> {
    connection
        .query_row("UPDATE log SET opening = opening + 1 RETURNING opening", [], |row| row.get(0))
}

/// The number of the newest opening.
pub(super) fn opening(connection: &Connection) -> Result<u32> {
    connection.prepare_cached("SELECT opening FROM log")?.query_row([], |row| row.get(0))
}

/// The offset after the last message of a partition.
pub(super) fn end(connection: &Connection, place: usize) -> Result<i64> {
    let sql = "SELECT next FROM batches WHERE place = ?1 ORDER BY base DESC LIMIT 1";
    let end =
        connection.prepare_cached(sql)?.query_row([place as i64], |row| row.get(0)).optional()?;
    Ok(end.unwrap_or(0))
}

/// The ends of this many places, all of one moment, and the version of the database then.
pub(super) fn ends(connection: &Connection, places: usize) -> Result<(i64, Vec<i64>)> {
    let snapshot = connection.unchecked_transaction()?;
    let version = data_version(&snapshot)?;
    Ok((version, ends_within(&snapshot, places)?))
}

/// The ends of this many places. Call it in a transaction, so that they are of one moment.
pub(super) fn ends_within(connection: &Connection, places: usize) -> Result<Vec<i64>> {
    (0..places).map(|place| end(connection, place)).collect()
}

/// How many bytes the batches of a partition take.
pub(super) fn size_bytes(connection: &Connection, place: usize) -> Result<u64> {
    let sql = "SELECT coalesce(sum(length(body)), 0) FROM batches WHERE place = ?1";
    connection.query_row(sql, [place as i64], |row| row.get(0).map(i64::unsigned_abs))
}

/// The position of a group in a partition.
pub(super) fn position(connection: &Connection, group: &str, place: usize) -> Result<Option<i64>> {
    let sql = "SELECT next FROM positions WHERE group_name = ?1 AND place = ?2";
    let mut select = connection.prepare_cached(sql)?;
    select.query_row(params![group, place as i64], |row| row.get(0)).optional()
}

/// Sets the position of a group in a partition.
pub(super) fn set_position(
    connection: &Connection,
    group: &str,
    place: usize,
    next: i64,
) -> Result<()> {
    let sql = "INSERT INTO positions (group_name, place, next) VALUES (?1, ?2, ?3)
               ON CONFLICT DO UPDATE SET next = excluded.next";
    connection.prepare_cached(sql)?.execute(params![group, place as i64, next])?;
    Ok(())
}

/// Stores a batch: the messages from `base` to before `next`.
pub(super) fn insert(
    connection: &Connection,
    place: usize,
    (base, next): (i64, i64),
    size: usize,
    body: &[u8],
) -> Result<()> {
    let size = size as i64;
    let crc = checksum(place, base, next, size, body);
    let sql = "INSERT INTO batches (place, base, next, size, crc, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = connection.prepare_cached(sql)?;
    insert.execute(params![place as i64, base, next, size, crc, body])?;
    Ok(())
}

/// How many batches begin from offset `from` to before `to`.
pub(super) fn count(connection: &Connection, place: usize, from: i64, to: i64) -> Result<i64> {
    let sql = "SELECT count(*) FROM batches WHERE place = ?1 AND base >= ?2 AND base < ?3";
    connection.prepare_cached(sql)?.query_row(params![place as i64, from, to], |row| row.get(0))
}

/// Removes the batches that begin from offset `from` to before `to`.
pub(super) fn remove(connection: &Connection, place: usize, from: i64, to: i64) -> Result<()> {
    let sql = "DELETE FROM batches WHERE place = ?1 AND base >= ?2 AND base < ?3";
    connection.prepare_cached(sql)?.execute(params![place as i64, from, to])?;
    Ok(())
}

/// Gives `each` batch that may hold messages from offset `from` to before `to`, in order, until it
/// breaks.
pub(super) fn batches<E: From<rusqlite::Error>>(
    connection: &Connection,
    place: usize,
    (from, to): (i64, i64),
    mut each: impl FnMut(Stored<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    // The batch that `from` is in begins at or before it.
    let sql = "SELECT base, next, size, crc, body FROM batches
               WHERE place = ?1 AND base < ?3 AND base >= coalesce(
                   (SELECT max(base) FROM batches WHERE place = ?1 AND base <= ?2), 0)
               ORDER BY base";
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params![place as i64, from, to])?;
    while let Some(row) = rows.next()? {
        if each(stored(place, row)?)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn stored<'row>(place: usize, row: &'row Row<'_>) -> Result<Stored<'row>> {
    Ok(Stored {
        place,
        base: row.get(0)?,
        next: row.get(1)?,
        size: row.get(2)?,
        crc: row.get(3)?,
        body: row.get_ref(4)?.as_blob()?,
    })
}

/// A number that changes when another connection has committed.
pub(super) fn data_version(connection: &Connection) -> Result<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0))
}
