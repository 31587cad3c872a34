//! `batchless run`: everything in one process, until it is told to stop; with `--once` until all
//! that has arrived is at an end or held. `batchless watch` and `batchless process` are its two
//! halves, as many of each as there are machines.

use std::collections::HashMap;

use anyhow::{Context, bail};
use clap::Args;
use ingest::roll::Roll;
use processors::store::{Store as _, View as _};
use schemas::arrival::ArrivalState;
use schemas::file::FileState;
use schemas::{FileId, Topic};
use tokio_util::sync::CancellationToken;
use topic::Log as _;

use super::{Ending, Failure};
use crate::args::{ConfigFlags, FeedFlags};
use crate::config::Config;
use crate::ledger::{self, OpenLedger};
use crate::now;
use crate::owners::{LOOK_EVERY, Owners, PATIENCE, Part, check_buckets, drive, feeds};
use crate::progress::Progress;
use crate::signals::Signals;

/// Threads for work that blocks: reading, packing, splitting. Each keeps memory of its own, and
/// more of them than this only wait for the cores.
const BLOCKING_THREADS: usize = 4;

/// What `run` is told.
#[derive(Args, Debug)]
pub(crate) struct RunFlags {
    #[command(flatten)]
    feed: FeedFlags,
    #[command(flatten)]
    config: ConfigFlags,
    /// End when all that has arrived is at an end or held.
    #[arg(long)]
    once: bool,
}

pub(crate) fn run(flags: &RunFlags) -> Result<Ending, Failure> {
    let config = flags
        .feed
        .values()
        .and_then(|feed| flags.config.said(feed))
        .and_then(Config::new)
        .map_err(Failure::usage)?;
    if config.feeds.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "no feed is configured; give --inbox DIR --format NAME, or --config FILE"
        )));
    }
    let progress = Progress::on_terminal()?;
    crate::log::start(&config.log_filter, config.log_json, &progress).map_err(Failure::Usage)?;
    let ending = block(&config, Part::Whole, flags.once, &progress);
    progress.clear();
    Ok(ending?)
}

/// What `watch` and `process` are told.
#[derive(Args, Debug)]
pub(crate) struct PartFlags {
    #[command(flatten)]
    config: ConfigFlags,
}

/// One half of the work.
///
/// # Errors
///
/// Where the topics are none that several processes share, and as [`run`].
pub(crate) fn run_part(part: Part, flags: &PartFlags) -> Result<Ending, Failure> {
    let config = flags.config.said(None).and_then(Config::new).map_err(Failure::usage)?;
    if config.topics.is_embedded() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "topics.location: `watch` and `process` share the topics, and the embedded ones have \
             one process; use `batchless run`, or give kafka://HOST:PORT"
        )));
    }
    if part.watches() && config.feeds.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!("no feed is configured; add a table [[feed]]")));
    }
    let progress = Progress::none();
    crate::log::start(&config.log_filter, config.log_json, &progress).map_err(Failure::Usage)?;
    Ok(block(&config, part, false, &progress)?)
}

/// Works on the ledger that the configuration names, on threads of its own.
///
/// # Errors
///
/// As [`work`].
pub(crate) fn block(
    config: &Config,
    part: Part,
    once: bool,
    progress: &Progress,
) -> anyhow::Result<Ending> {
    let runtime = runtime()?;
    let ending = runtime.block_on(work(config, part, once, progress));
    // What still blocks would be waited for without end; all that was promised is committed.
    runtime.shutdown_background();
    ending
}

/// What owners work on: threads for each core, and few for what blocks.
///
/// # Errors
///
/// Where the system gives no threads.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("no runtime can be started")
}

/// Works on the ledger that the configuration names.
///
/// # Errors
///
/// Where it can't be opened, an owner stops under `once`, or the work does not end in time.
async fn work(
    config: &Config,
    part: Part,
    once: bool,
    progress: &Progress,
) -> anyhow::Result<Ending> {
    let mut signals = Signals::listen()?;
    let feeds = if part.publishes() { feeds(config)? } else { Vec::new() };
    let open = async {
        check_buckets(&feeds).await?;
        ledger::open(config, part, now()).await
    };
    let ledger = tokio::select! {
        ledger = open => ledger?,
        () = signals.next() => bail!("told to stop before anything was begun"),
    };
    let mut roll = Roll::new(&ledger.log);
    roll.follow(&ledger.log).await?;
    let before = Standing::of(&roll);
    let name = ledger.descriptor.name.as_str();
    match part {
        Part::Process => tracing::info!(ledger = name, "started to apply"),
        _ => {
            let names: Vec<&str> = feeds.iter().map(|feed| feed.name.as_str()).collect();
            tracing::info!(ledger = name, feeds = names.join(", "), "started");
        }
    }

    let owners = Owners::new(config, &ledger, feeds, once.then_some(PATIENCE));
    let cancel = CancellationToken::new();
    let settled = async {
        tokio::select! {
            settled = settled(&ledger, &mut roll, &owners, once) => settled,
            drawn = progress.follow(&ledger.log) => drawn,
        }
    };
    let work = owners.work(&ledger, part, &cancel);
    let is_settled = drive(work, settled, &cancel, &mut signals, config.grace_seconds).await?;
    let followed = roll.follow(&ledger.log).await;
    ledger.log.close().await;
    if let Some(why) = owners.first_stopped() {
        bail!("{why}");
    }
    tracing::info!("stopped");
    if once && !is_settled {
        bail!("told to stop before all had come to an end; start again to go on");
    }
    match followed {
        Ok(()) => Ok(before.compare(&roll)),
        Err(error) if once => Err(error.into()),
        // All that it had in hand is done: a log that is away just now takes nothing from that.
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "can't tell what came to an end that somebody should look at");
            Ok(Ending::Well)
        }
    }
}

/// Ends when all that has arrived is at an end, or an owner has stopped; never without `once`.
async fn settled(
    ledger: &OpenLedger,
    roll: &mut Roll,
    owners: &Owners,
    once: bool,
) -> anyhow::Result<()> {
    if !once {
        return std::future::pending().await;
    }
    loop {
        roll.follow(&ledger.log).await?;
        if owners.first_stopped().is_some() {
            return Ok(());
        }
        if roll.is_settled(owners.feeds()).await? && is_applied(ledger).await? {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether every shard has taken all of its events: a store that was lost is made again also where
/// every file came to its end before.
async fn is_applied(ledger: &OpenLedger) -> anyhow::Result<bool> {
    let mut view = ledger.store()?.view().await?;
    for row in view.shards().await? {
        // An end may lie beyond the last event: only what can be read is still to be taken.
        let end = ledger.log.end(Topic::Records, row.shard).await?;
        let offsets = row.next_offset..end.max(row.next_offset);
        if !ledger.log.read(Topic::Records, row.shard, offsets, 1).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where every object and file stood when a run began.
struct Standing {
    arrivals: HashMap<(String, String), (String, ArrivalState)>,
    files: HashMap<FileId, (FileState, i64)>,
}

impl Standing {
    fn of(roll: &Roll) -> Self {
        let arrivals = roll.arrivals.iter();
        let files = roll.files.iter();
        Self {
            arrivals: arrivals
                .map(|(key, row)| (key.clone(), (row.version.clone(), row.state.clone())))
                .collect(),
            files: files.map(|(id, row)| (*id, (row.state.clone(), row.duplicates))).collect(),
        }
    }

    /// Whether anything came to an end since that somebody should look at.
    fn compare(&self, roll: &Roll) -> Ending {
        let arrived = roll.arrivals.iter().any(|(key, row)| {
            let is_off = [ArrivalState::REFUSED, ArrivalState::DUPLICATE, ArrivalState::HELD];
            let now = (row.version.clone(), row.state.clone());
            is_off.contains(&row.state) && self.arrivals.get(key) != Some(&now)
        });
        let published = roll.files.iter().any(|(id, file)| {
            let is_off = file.rejected() > 0
                || !file.verdict.is_proven()
                || (file.state.is_end() && file.state != FileState::RECONCILED);
            let now = (file.state.clone(), file.duplicates);
            let is_new = self.files.get(id) != Some(&now);
            let again = self.files.get(id).is_some_and(|before| before.1 < file.duplicates);
            is_new && (is_off || again)
        });
        if arrived || published { Ending::Findings } else { Ending::Well }
    }
}
