//! The owners of feeds, files and shards, wired to a ledger: what `run` lets work until it is told
//! to stop, and a command until it has its answer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use ingest::bucket::{self, Bucket};
use ingest::feed::{AtRest, Feed, check_archives};
use processors::apply::{Checks, UnknownAccount};
use processors::posting::Rules;
use tokio_util::sync::CancellationToken;

use crate::config::engines::Place;
use crate::config::{After, Config, FeedConfig};
use crate::engine::chain;
use crate::ledger::{self, OpenLedger};
use crate::now;
use crate::signals::Signals;

/// How often one looks whether all is at an end. A look reads what is new; people don't notice a
/// twentieth of a second.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long whoever must come to an end tries again while the disk is full or away. Without it,
/// `run` tries for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// What all owners are told, and which of them have stopped.
pub(crate) struct Owners {
    ingest: Arc<ingest::feed::Config>,
    processors: processors::Config,
    stopped: Arc<Mutex<Option<String>>>,
}

/// Which owners work in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them.
    Whole,
    /// Those of feeds and files: what arrives is verified and published.
    Watch,
    /// Those of shards: what is published is applied.
    Process,
    /// Those of files and shards: only what is there already goes on, until commands are answered.
    Answers,
}

impl Part {
    /// Whether feeds have owners.
    pub(crate) fn watches(self) -> bool {
        matches!(self, Self::Whole | Self::Watch)
    }

    /// Whether files have owners.
    pub(crate) fn publishes(self) -> bool {
        self != Self::Process
    }

    /// Whether shards have owners.
    pub(crate) fn processes(self) -> bool {
        self != Self::Watch
    }
}

impl Owners {
    /// Owners that begin again for as long as `patience` says while the disk is full or away, or
    /// for ever.
    pub(crate) fn new(
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
            chunk_records: config.chunk_records,
            clock: Arc::new(now),
            processors_group: processors::GROUP.to_owned(),
            on_step: None,
            is_unchecked: false,
        };
        let unknown = |feed: &FeedConfig| {
            let what =
                if feed.opens_accounts { UnknownAccount::Open } else { UnknownAccount::Reject };
            (feed.name.clone(), what)
        };
        let told = Arc::clone(&stopped);
        let (has_log, has_store) = (config.topics.is_embedded(), config.store.is_embedded());
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
                // Of a server, where it is said to be.
                let setting = match error {
                    processors::Error::Store(_) if !has_store => "store.location: ",
                    processors::Error::Log(_) if !has_log => "topics.location: ",
                    _ => "",
                };
                note(&told, format!("{setting}shard {shard} stopped: {}", chain(error)));
            })),
        };
        Self { ingest: Arc::new(ingest), processors, stopped }
    }

    /// The owners of this part, until `cancel`.
    ///
    /// # Errors
    ///
    /// Where one of them can't go on at all.
    pub(crate) async fn work(
        &self,
        ledger: &OpenLedger,
        part: Part,
        cancel: &CancellationToken,
    ) -> anyhow::Result<()> {
        let stopped = |_, error: ingest::Error| {
            let error = chain(&error);
            tracing::error!(error, "an owner stopped");
            note(&self.stopped, error);
        };
        // Each ends when it is told to, or because it can't go on at all: then the others end their
        // work in hand and let go.
        let watch = async {
            if !part.watches() {
                return Ok(());
            }
            let (log, config) = (ledger.log.clone(), Arc::clone(&self.ingest));
            let ended = ingest::watch::run(log, config, cancel, stopped).await;
            cancel.cancel();
            ended
        };
        let publish = async {
            if !part.publishes() {
                return Ok(());
            }
            let (log, config) = (ledger.log.clone(), Arc::clone(&self.ingest));
            let ended = ingest::publish::run(log, config, cancel, stopped).await;
            cancel.cancel();
            ended
        };
        let process = async {
            let (log, Some(store)) = (ledger.log.clone(), ledger.store.clone()) else {
                return Ok(Vec::new());
            };
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

    /// The feeds.
    pub(crate) fn feeds(&self) -> &[Feed] {
        &self.ingest.feeds
    }

    /// Why the first owner stopped that did.
    pub(crate) fn first_stopped(&self) -> Option<String> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Lets owners work until `until` is done, they end, or a signal stops them; gives whether `until`
/// was done.
///
/// # Errors
///
/// Those of both, and where the work in hand does not end in time after that.
pub(crate) async fn drive(
    work: impl Future<Output = anyhow::Result<()>>,
    until: impl Future<Output = anyhow::Result<()>>,
    cancel: &CancellationToken,
    signals: &mut Signals,
    grace_seconds: u64,
) -> anyhow::Result<bool> {
    let mut work = std::pin::pin!(work);
    // Dropped once the owners are told to end: they may need what it holds of the log to do so.
    let mut until = Some(Box::pin(until));
    let mut is_done = false;
    let mut told_to_stop = false;
    loop {
        let grace = tokio::time::sleep(Duration::from_secs(grace_seconds));
        tokio::select! {
            ended = &mut work => return ended.map(|()| is_done),
            () = cancel.cancelled(), if until.is_some() => until = None,
            Some(done) = async { Some(until.as_mut()?.await) }, if until.is_some() => {
                until = None;
                done?;
                is_done = true;
                cancel.cancel();
            }
            () = signals.next() => {
                if told_to_stop {
                    bail!("told twice to stop, so ended at once; start again to go on");
                }
                tracing::info!("told to stop, ending the work in hand");
                told_to_stop = true;
                cancel.cancel();
            }
            () = grace, if cancel.is_cancelled() => bail!(
                "the work in hand did not end within {grace_seconds} s; nothing is lost, start \
                 again to go on"
            ),
        }
    }
}

fn note(stopped: &Mutex<Option<String>>, why: String) {
    stopped.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
}

/// The feeds as ingest knows them.
///
/// # Errors
///
/// Where a folder isn't there or can't be read, S3 is set up wrongly, or an archive lies where a
/// feed looks. No server is asked: [`check_buckets`] does that.
pub(crate) fn feeds(config: &Config) -> anyhow::Result<Vec<Feed>> {
    let data = config.needs_data().then_some(config.data.as_path());
    let feeds = config.feeds.iter().map(|feed| feed_of(feed, data));
    let feeds = feeds.collect::<anyhow::Result<Vec<Feed>>>()?;
    check_archives(&feeds)
        .map_err(|(feed, error)| anyhow::anyhow!("feed {feed}: archive_to: {error}"))?;
    Ok(feeds)
}

/// How long a bucket that is away is waited for at the start.
const BUCKET_PATIENCE: Duration = Duration::from_secs(5);

/// How long between two looks at a bucket that is away.
const BUCKET_LOOK_EVERY: Duration = Duration::from_millis(500);

/// A first look into each bucket.
///
/// # Errors
///
/// Where one of them isn't there, doesn't let us in, or is away for some seconds.
pub(crate) async fn check_buckets(feeds: &[Feed]) -> anyhow::Result<()> {
    let begin = tokio::time::Instant::now();
    for feed in feeds {
        let archive = match &feed.after {
            ingest::feed::After::Archive(bucket) => Some(("archive_to", bucket)),
            _ => None,
        };
        for (key, bucket) in [("location", &feed.bucket)].into_iter().chain(archive) {
            while let Err(error) = bucket.check().await {
                let may_pass = matches!(error, bucket::Error::Unavailable { .. });
                if !may_pass || BUCKET_PATIENCE < begin.elapsed() {
                    return Err(error).with_context(|| format!("feed {}: {key}", feed.name));
                }
                tokio::time::sleep(BUCKET_LOOK_EVERY).await;
            }
        }
    }
    Ok(())
}

/// The bucket of a feed.
///
/// # Errors
///
/// Where it isn't there, or can't be read.
pub(crate) fn bucket(place: &Place) -> anyhow::Result<Bucket> {
    match place {
        Place::Folder(folder) => Ok(Bucket::folder(folder)?),
        Place::S3 { bucket, prefix } => Ok(Bucket::s3(bucket, prefix, crate::environment())?),
    }
}

/// Refuses a folder that is none, can't be read, or has the data directory in it.
fn check_folder(feed: &str, path: &Path, data: Option<&Path>) -> anyhow::Result<()> {
    let folder = path.display();
    if !path.is_dir() {
        bail!("feed {feed}: {folder} is no folder; create it, or give another");
    }
    std::fs::read_dir(path).with_context(|| format!("feed {feed}: {folder} can't be read"))?;
    let real =
        |path: &Path| std::path::absolute(path).and_then(|path| path.canonicalize().or(Ok(path)));
    let Some(data) = data else { return Ok(()) };
    if real(data)?.starts_with(real(path)?) {
        bail!(
            "feed {feed}: the data directory {} lies in the inbox {folder}; give another --data",
            data.display()
        );
    }
    Ok(())
}

fn feed_of(config: &FeedConfig, data: Option<&Path>) -> anyhow::Result<Feed> {
    if let Place::Folder(folder) = &config.place {
        check_folder(&config.name, folder, data)?;
    }
    let bucket_of = |key: &str, place: &Place| {
        bucket(place).with_context(|| format!("feed {}: {key}", config.name))
    };
    if let Some(layout) = &config.layout {
        // Of a kept configuration it is the kept one, whatever the bank's file says by now.
        let (feed, layout, revision) = (&config.name, layout.name(), layout.revision());
        tracing::info!(feed, layout, revision, "a feed is read by a layout of its own");
    }
    Ok(Feed {
        name: config.name.clone(),
        bucket: bucket_of("location", &config.place)?,
        settings: config.settings()?,
        at_rest: if config.by_marker { AtRest::Marker } else { AtRest::TwoLooks },
        look_every: Duration::from_millis(config.look_every_ms),
        reject_limit: config.reject_limit(),
        serial: config.serial,
        limits: config.limits(),
        after: match &config.after {
            After::Keep => ingest::feed::After::Keep,
            After::Delete => ingest::feed::After::Delete,
            After::Archive(to) => ingest::feed::After::Archive(bucket_of("archive_to", to)?),
        },
    })
}
