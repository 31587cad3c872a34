//! What an operator's command does once it is known what it is: it is published, and followed until
//! it has come to its end.
//!
//! Where no `run` is at work, the command takes the lock of the data directory and lets the owners
//! of files and shards work until that end. Where one is, it publishes beside it, and follows; and
//! where that `run` ends before, the command takes the lock and goes on itself. Killed at any
//! moment, nothing is lost: what was published is on the log, and whoever works next goes on.

pub(crate) mod answers;
pub(crate) mod asked;

use std::time::Duration;

use anyhow::{Context, bail};
use processors::store::sqlite::SqliteStore;
use tokio_util::sync::CancellationToken;
use topic::embedded::{Beside, EmbeddedLog};
use topic::{Batch, Error, Log as _, MessageSet, Writer as _};

use crate::command::books::Books;
use crate::config::Config;
use crate::data::{DataDirectory, Lock};
use crate::ledger;
use crate::now;
use crate::owners::{LOOK_EVERY, Owners, PATIENCE, Watch, drive, feeds};
use crate::progress::Progress;
use crate::signals::Signals;

/// The writer's name under which commands are published.
const WRITER: &str = "operator";

/// How often one who follows beside a `run` looks whether that is still there.
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often a publish from beside is tried: each waits half a minute for its turn.
const TRIES_MAX: u32 = 3;

/// What a command waits for.
pub(crate) trait Awaited {
    /// Looks whether it has come. `is_alone` where nobody would go on with what is open when this
    /// process ends.
    ///
    /// # Errors
    ///
    /// Where the log or the store can't be read.
    async fn look(
        &mut self,
        log: &EmbeddedLog,
        store: &SqliteStore,
        is_alone: bool,
    ) -> anyhow::Result<bool>;
}

/// Publishes what is there to be published, one after the other, and follows until `awaited` has
/// come.
///
/// # Errors
///
/// Where it can't be published, an owner stops, or a signal comes before the end.
pub(crate) async fn carry_out(
    books: Books,
    publishes: impl Iterator<Item = anyhow::Result<Vec<MessageSet>>>,
    awaited: &mut impl Awaited,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    // Its connections are closed here: whoever works alone opens its own.
    let (config, data) = books.close();
    if let Some(lock) = data.try_lock()? {
        return work_alone(&config, &data, lock, publishes, awaited, &mut signals).await;
    }
    let beside = Beside::open(data.log())?;
    for sets in publishes {
        publish_beside(&beside, sets?).await?;
    }
    match follow_beside(&data, awaited, &mut signals).await? {
        Some(lock) => {
            let published = std::iter::empty();
            work_alone(&config, &data, lock, published, awaited, &mut signals).await
        }
        None => Ok(()),
    }
}

async fn publish_beside(beside: &Beside, sets: Vec<MessageSet>) -> anyhow::Result<()> {
    let mut tries = 1;
    loop {
        match beside.publish(sets.clone()).await {
            // Whoever takes it knows it by its id: a second one is harmless.
            Err(Error::Retry { .. } | Error::Indefinite { .. }) if tries < TRIES_MAX => tries += 1,
            outcome => return outcome.context("the command is not published"),
        }
    }
}

/// Follows beside a `run`; gives the lock where that has ended before.
async fn follow_beside(
    data: &DataDirectory,
    awaited: &mut impl Awaited,
    signals: &mut Signals,
) -> anyhow::Result<Option<Lock>> {
    let log = EmbeddedLog::open_read_only(data.log())?;
    let store = data.open_accounts()?;
    let mut changes = log.changes()?;
    loop {
        if awaited.look(&log, &store, false).await? {
            return Ok(None);
        }
        if let Some(lock) = data.try_lock()? {
            return Ok(Some(lock));
        }
        tokio::select! {
            changed = changes.next() => changed?,
            () = tokio::time::sleep(LOCK_LOOK_EVERY) => (),
            () = signals.next() => bail!(
                "told to stop; what was asked is published, and is done by the `run` that is at \
                 work"
            ),
        }
    }
}

/// Lets the owners of files and shards work until it has come.
async fn work_alone(
    config: &Config,
    data: &DataDirectory,
    lock: Lock,
    publishes: impl Iterator<Item = anyhow::Result<Vec<MessageSet>>>,
    awaited: &mut impl Awaited,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    crate::log::start("warn", config.log_json, &Progress::none())?;
    let feeds = feeds(config)?;
    let ledger = ledger::open_locked(config, data, lock, now()).await?;
    let mut writer = ledger.log.writer(WRITER).await?;
    for sets in publishes {
        writer.publish(Batch { sets: sets?, consumed: None }).await?;
    }
    let owners = Owners::new(config, &ledger, feeds, Some(PATIENCE));
    let cancel = CancellationToken::new();
    let until = async {
        while !awaited.look(&ledger.log, &ledger.store, true).await? {
            if let Some(why) = owners.first_stopped() {
                bail!("{why}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    let work = owners.work(&ledger, Watch::Nothing, &cancel);
    let is_done = drive(work, until, &cancel, signals, config.grace_seconds).await?;
    ledger.log.close().await;
    if !is_done {
        let why = owners.first_stopped();
        bail!(why.unwrap_or_else(|| {
            "told to stop before it had come to its end; `batchless run` goes on with it".to_owned()
        }));
    }
    Ok(())
}
