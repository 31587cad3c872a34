//! The owners of feeds, files and shards, wired to a ledger: what `run` lets work until it is told
//! to stop, and a command until it has its answer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use ingest::bucket::Bucket;
use ingest::feed::{After, AtRest, Feed};
use processors::apply::{Checks, UnknownAccount};
use processors::posting::Rules;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, FeedConfig};
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

/// Whether the feeds are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// What arrives is taken.
    Feeds,
    /// Only what is there already goes on.
    Nothing,
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

    /// All owners, or those of files and shards only, until `cancel`.
    ///
    /// # Errors
    ///
    /// Where one of them can't go on at all.
    pub(crate) async fn work(
        &self,
        ledger: &OpenLedger,
        watched: Watch,
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
            if watched == Watch::Nothing {
                return Ok(());
            }
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
    let (mut work, mut until) = (std::pin::pin!(work), std::pin::pin!(until));
    let mut is_done = false;
    let mut told_to_stop = false;
    loop {
        let grace = tokio::time::sleep(Duration::from_secs(grace_seconds));
        tokio::select! {
            ended = &mut work => return ended.map(|()| is_done),
            done = &mut until, if !cancel.is_cancelled() => {
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

/// The feeds as ingest knows them.
///
/// # Errors
///
/// Where a folder isn't there, or can't be read.
pub(crate) fn feeds(config: &Config) -> anyhow::Result<Vec<Feed>> {
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
        after: After::Keep,
    })
}
