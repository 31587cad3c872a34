//! What an operator's command does once it is known what it is: it is published, and followed until
//! it has come to its end.
//!
//! On the embedded log, where no `run` is at work, the command takes the lock of the data directory
//! and lets the owners of files and shards work until that end. Where one is, it publishes beside
//! it, and follows; and where that `run` ends before, the command takes the lock and goes on.
//! On a server's log it publishes and follows: whoever is at work there does it. Killed at any
//! moment, nothing is lost: what was published is on the log, and whoever works next goes on.

pub(crate) mod answers;
pub(crate) mod asked;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;
use topic::embedded::{Beside, EmbeddedLog};
use topic::{Batch, Error, Log as _, MessageSet, Writer as _};

use crate::command::books::Books;
use crate::config::Config;
use crate::data::{DataDirectory, Lock};
use crate::engine::{self, AnyLog, AnyStore};
use crate::ledger;
use crate::now;
use crate::owners::{LOOK_EVERY, Owners, PATIENCE, Part, drive, feeds};
use crate::progress::Progress;
use crate::signals::Signals;

/// The writer's name under which commands are published. On a server, where several operators may
/// publish at one moment, each adds digits of its own: a name has one writer.
const WRITER: &str = "operator";

/// How often one who follows beside a `run` looks whether that is still there.
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often one who follows on a server looks for the answer. Each look asks for the ends of some
/// partitions.
const ANSWER_LOOK_EVERY: Duration = Duration::from_millis(200);

/// After how long without an answer it is said who would give it.
const ANSWER_EXPECTED_WITHIN: Duration = Duration::from_secs(5);

/// How often a publish from beside is tried: each waits half a minute for its turn.
const TRIES_MAX: u32 = 3;

/// What a command waits for.
pub(crate) trait Awaited {
    /// Who does it where several processes share the work.
    const BY: &'static str;
    /// Whether it is looked for in the store.
    const IS_IN_STORE: bool;

    /// Looks whether it has come. `is_alone` where nobody would go on with what is open when this
    /// process ends.
    ///
    /// # Errors
    ///
    /// Where the log or the store can't be read.
    async fn look(
        &mut self,
        log: &AnyLog,
        store: Option<&AnyStore>,
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
    if !books.config.topics.is_embedded() {
        let log = books.log().await?;
        for sets in publishes {
            publish_to_server(log, sets?).await?;
        }
        return follow_server(&books, awaited, &mut signals).await;
    }
    // Its connections are closed here: whoever works alone opens its own.
    let (config, data) = books.close();
    let data = data.context("the embedded log needs a data directory")?;
    if let Some(lock) = data.try_lock()? {
        return work_alone(&config, &data, lock, publishes, awaited, &mut signals).await;
    }
    let beside = Beside::open(data.log())?;
    for sets in publishes {
        publish_beside(&beside, sets?).await?;
    }
    match follow_beside(&config, &data, awaited, &mut signals).await? {
        Some(lock) => {
            let published = std::iter::empty();
            work_alone(&config, &data, lock, published, awaited, &mut signals).await
        }
        None => Ok(()),
    }
}

async fn publish_to_server(log: &AnyLog, sets: Vec<MessageSet>) -> anyhow::Result<()> {
    let mut digits = [0; 8];
    getrandom::fill(&mut digits).context("the operating system gives no randomness")?;
    let name = format!("{WRITER}-{:016x}", u64::from_be_bytes(digits));
    let mut tries = 1;
    loop {
        let publish = async {
            let mut writer = log.writer(&name).await?;
            writer.publish(Batch { sets: sets.clone(), consumed: None }).await
        };
        match publish.await {
            // Whoever takes it knows it by its id: a second one is harmless.
            Err(Error::Retry { .. } | Error::Indefinite { .. }) if tries < TRIES_MAX => tries += 1,
            outcome => return outcome.context("the command is not published"),
        }
    }
}

/// Follows on a server's log, where others do the work.
async fn follow_server<A: Awaited>(
    books: &Books,
    awaited: &mut A,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let log = books.log().await?;
    let store = match A::IS_IN_STORE {
        true => Some(books.store().await?),
        false => None,
    };
    let begin = tokio::time::Instant::now();
    let mut is_said = false;
    while !awaited.look(log, store, false).await? {
        if !is_said && ANSWER_EXPECTED_WITHIN < begin.elapsed() {
            is_said = true;
            let text = "published, and not answered yet: it is done by";
            let by = A::BY;
            writeln!(
                std::io::stderr(),
                "{text} {by}, start what is not at work; Ctrl-C ends the wait only"
            )?;
        }
        tokio::select! {
            () = tokio::time::sleep(ANSWER_LOOK_EVERY) => (),
            () = signals.next() => bail!(
                "told to stop; what was asked is published, and done as soon as {} can do it",
                A::BY
            ),
        }
    }
    Ok(())
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
async fn follow_beside<A: Awaited>(
    config: &Config,
    data: &DataDirectory,
    awaited: &mut A,
    signals: &mut Signals,
) -> anyhow::Result<Option<Lock>> {
    let embedded = EmbeddedLog::open_read_only(data.log())?;
    let mut changes = embedded.changes()?;
    let log = AnyLog::Embedded(embedded);
    let store = engine::open_store_beside(config, Some(data)).await?;
    loop {
        if awaited.look(&log, Some(&store), false).await? {
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
        while !awaited.look(&ledger.log, ledger.store.as_ref(), true).await? {
            if let Some(why) = owners.first_stopped() {
                bail!("{why}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    let work = owners.work(&ledger, Part::Answers, &cancel);
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
