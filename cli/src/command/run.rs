//! `batchless run`: everything in one process, until it is told to stop; with `--once` until all
//! that has arrived is at an end or held.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use ingest::bucket::Bucket;
use ingest::feed::{AtRest, Feed};
use ingest::roll::Roll;
use processors::apply::{Checks, UnknownAccount};
use processors::posting::Rules;
use schemas::arrival::ArrivalState;
use schemas::file::FileState;
use schemas::{FileId, Timestamp};
use tokio_util::sync::CancellationToken;

use super::{Ending, Failure};
use crate::args::{ConfigFlags, FeedFlags};
use crate::config::{Config, FeedConfig};
use crate::ledger::{self, OpenLedger};
use crate::progress::Progress;
use crate::signals::Signals;

/// How often `--once` looks whether all is at an end. A look reads what is new and lists the
/// inbox; people don't notice a twentieth of a second.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long `--once` tries again while the disk is full or away. Without it, `run` tries for ever.
const PATIENCE: Duration = Duration::from_secs(5);

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
        .map_err(Failure::Usage)?;
    if config.feeds.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "no feed is configured; give --inbox DIR --format NAME, or --config FILE"
        )));
    }
    let progress = Progress::on_terminal()?;
    crate::log::start(&config.log_filter, config.log_json, &progress).map_err(Failure::Usage)?;
    let ending = block(&config, flags.once, &progress);
    progress.clear();
    Ok(ending?)
}

/// Works on the ledger that the configuration names, on threads of its own.
///
/// # Errors
///
/// As [`work`].
pub(crate) fn block(config: &Config, once: bool, progress: &Progress) -> anyhow::Result<Ending> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build();
    let runtime = runtime.context("no runtime can be started")?;
    let ending = runtime.block_on(work(config, once, progress));
    // What still blocks would be waited for without end; all that was promised is committed.
    runtime.shutdown_background();
    ending
}

/// Works on the ledger that the configuration names.
///
/// # Errors
///
/// Where it can't be opened, an owner stops under `once`, or the work does not end in time.
async fn work(config: &Config, once: bool, progress: &Progress) -> anyhow::Result<Ending> {
    let mut signals = Signals::listen()?;
    let feeds = feeds(config)?;
    let ledger = ledger::open(config, now()).await?;
    let mut roll = Roll::new(&ledger.log);
    roll.follow(&ledger.log).await?;
    let before = Standing::of(&roll);
    let names: Vec<&str> = feeds.iter().map(|feed| feed.name.as_str()).collect();
    tracing::info!(ledger = ledger.descriptor.name, feeds = names.join(", "), "started");

    let owners = Owners::new(config, &ledger, feeds, once.then_some(PATIENCE));
    let cancel = CancellationToken::new();
    let mut is_settled = false;
    let ended = {
        let mut work = std::pin::pin!(owners.work(&ledger, &cancel));
        let mut settled = std::pin::pin!(settled(&ledger, &mut roll, &owners, once));
        let mut drawn = std::pin::pin!(progress.follow(&ledger.log));
        let mut told_to_stop = false;
        loop {
            let grace = tokio::time::sleep(Duration::from_secs(config.grace_seconds));
            tokio::select! {
                ended = &mut work => break ended,
                found = &mut settled, if !cancel.is_cancelled() => {
                    found?;
                    is_settled = true;
                    cancel.cancel();
                }
                drawn = &mut drawn, if !cancel.is_cancelled() => drawn?,
                () = signals.next() => {
                    if told_to_stop {
                        bail!("told twice to stop, so ended at once; start again to go on");
                    }
                    tracing::info!("told to stop, ending the work in hand");
                    told_to_stop = true;
                    cancel.cancel();
                }
                () = grace, if cancel.is_cancelled() => bail!(
                    "the work in hand did not end within {} s; nothing is lost, start again to go \
                     on",
                    config.grace_seconds
                ),
            }
        }
    };
    ended?;
    roll.follow(&ledger.log).await?;
    ledger.log.close().await;
    if let Some(why) = owners.first_stopped() {
        bail!("{why}");
    }
    tracing::info!("stopped");
    if once && !is_settled {
        bail!("told to stop before all had come to an end; start again to go on");
    }
    Ok(before.compare(&roll))
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
        if owners.first_stopped().is_some() || roll.is_settled(&owners.ingest.feeds).await? {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What all owners are told, and which of them have stopped.
struct Owners {
    ingest: Arc<ingest::feed::Config>,
    processors: processors::Config,
    stopped: Arc<Mutex<Option<String>>>,
}

impl Owners {
    fn new(
        config: &Config,
        ledger: &OpenLedger,
        feeds: Vec<Feed>,
        patience: Option<Duration>,
    ) -> Self {
        let stopped = Arc::new(Mutex::new(None));
        let shards = u32::try_from(ledger.descriptor.shards).unwrap_or_default();
        let source = ledger::source(&ledger.descriptor.name);
        let ingest = ingest::feed::Config {
            ledger: ledger.descriptor.name.clone(),
            key: ledger.key.clone(),
            shards,
            feeds,
            source: source.clone(),
            patience,
            clock: Arc::new(now),
            processors_group: processors::GROUP.to_owned(),
            on_step: None,
        };
        let unknown = |feed: &FeedConfig| {
            let what =
                if feed.opens_accounts { UnknownAccount::Open } else { UnknownAccount::Reject };
            (feed.name.clone(), what)
        };
        let told = Arc::clone(&stopped);
        let processors = processors::Config {
            shards,
            source,
            settings: processors::apply::Settings {
                rules: Rules::standard(),
                unknown_accounts: config.feeds.iter().map(unknown).collect(),
                unknown_account_default: UnknownAccount::Reject,
                checks: Checks::ALL,
            },
            accounts_max: processors::ACCOUNTS_MAX,
            patience,
            clock: Arc::new(now),
            on_step: None,
            on_stop: Some(Arc::new(move |shard, error| {
                note(&told, format!("shard {shard} stopped: {:#}", chain(error)));
            })),
        };
        Self { ingest: Arc::new(ingest), processors, stopped }
    }

    /// All owners, until `cancel`.
    async fn work(&self, ledger: &OpenLedger, cancel: &CancellationToken) -> anyhow::Result<()> {
        let stopped = |_, error: ingest::Error| {
            let error = chain(&error);
            tracing::error!(error, "an owner stopped");
            note(&self.stopped, error);
        };
        // Each ends when it is told to, or because it can't go on at all: then the others end their
        // work in hand and let go.
        let watch = async {
            let (log, config) = (ledger.log.clone(), Arc::clone(&self.ingest));
            let ended = ingest::watch::run(log, config, cancel, stopped).await;
            cancel.cancel();
            ended
        };
        let publish = async {
            let (log, config) = (ledger.log.clone(), Arc::clone(&self.ingest));
            let ended = ingest::publish::run(log, config, cancel, stopped).await;
            cancel.cancel();
            ended
        };
        let process = async {
            let (log, store) = (ledger.log.clone(), ledger.store.clone());
            let ended = processors::run(log, store, self.processors.clone(), cancel.clone()).await;
            cancel.cancel();
            ended
        };
        let (watched, published, processed) = tokio::join!(watch, publish, process);
        watched?;
        published?;
        processed?;
        Ok(())
    }

    fn first_stopped(&self) -> Option<String> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn note(stopped: &Mutex<Option<String>>, why: String) {
    stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
}

/// An error and all that it comes from, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some show their source themselves.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// The clock: the one place that reads it.
#[expect(clippy::disallowed_methods, reason = "the clock is read here and passed down")]
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

/// The feeds as ingest knows them.
fn feeds(config: &Config) -> anyhow::Result<Vec<Feed>> {
    config.feeds.iter().map(|feed| feed_of(feed, &config.data)).collect()
}

fn feed_of(config: &FeedConfig, data: &Path) -> anyhow::Result<Feed> {
    let folder = config.folder.display();
    if !config.folder.is_dir() {
        bail!("feed {}: {folder} is no folder; create it, or give another", config.name);
    }
    std::fs::read_dir(&config.folder)
        .with_context(|| format!("feed {}: {folder} can't be read", config.name))?;
    let real =
        |path: &Path| std::path::absolute(path).and_then(|path| path.canonicalize().or(Ok(path)));
    if real(data)?.starts_with(real(&config.folder)?) {
        bail!(
            "feed {}: the data directory {} lies in the inbox {folder}; give another --data",
            config.name,
            data.display()
        );
    }
    Ok(Feed {
        name: config.name.clone(),
        bucket: Bucket::folder(&config.folder)?,
        settings: config.settings()?,
        at_rest: if config.by_marker { AtRest::Marker } else { AtRest::TwoLooks },
        look_every: Duration::from_millis(config.look_every_ms),
        reject_limit: config.reject_limit(),
        serial: config.serial,
        limits: config.limits(),
    })
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
            let rejected: i64 = file.segments.iter().map(|segment| segment.rejected).sum();
            let is_off = file.checkpoint.rejected + rejected > 0
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
