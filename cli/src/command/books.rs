//! The books of a ledger, open for reading beside whoever works on them: its log and its store.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use ingest::roll::Roll;
use schemas::arrival::{Arrival, ArrivalState};
use schemas::file::{File, FileState};
use schemas::ledger::Ledger;
use schemas::{AccountKey, FileId, Topic};
use tokio::sync::OnceCell;
use topic::Received;

use super::Failure;
use crate::args::ConfigFlags;
use crate::config::{Config, Said};
use crate::data::DataDirectory;
use crate::engine::{self, AnyLog, AnyStore};
use crate::ledger;
use crate::output::Output;

/// Which ledger, and how to print.
///
/// Global, so that they hold before and behind `show` alike: there is one place where they are.
#[derive(Args, Clone, Debug)]
pub(crate) struct BooksFlags {
    /// The configuration file, where log or store is a server [default: BATCHLESS_CONFIG, or the
    /// one that the data directory keeps]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

/// A ledger open for reading.
pub(crate) struct Books {
    log: OnceCell<AnyLog>,
    store: OnceCell<AnyStore>,
    ledger: OnceCell<Ledger>,
    /// The configuration in force.
    pub(crate) config: Config,
    data: Option<DataDirectory>,
}

impl Books {
    /// Opens the books that the flags name: in a data directory, under the configuration that it
    /// keeps, or on servers.
    ///
    /// # Errors
    ///
    /// Where there is no ledger, or it can't be read.
    pub(crate) fn open(flags: &BooksFlags) -> anyhow::Result<Self> {
        let named = ConfigFlags { config: flags.config.clone(), data: flags.data.clone() };
        let mut config = named.said(None).and_then(Config::new)?;
        let mut data = None;
        if config.needs_data() {
            let path = config.data.clone();
            let directory = DataDirectory::open(&path)?;
            config = directory.config()?;
            config.data.clone_from(&path);
            if config.topics.is_embedded() && !directory.log().exists() {
                bail!("{} holds no ledger yet; make one with `batchless run`", path.display());
            }
            data = Some(directory);
        }
        let (log, store, ledger) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Ok(Self { log, store, ledger, config, data })
    }

    /// Closes its log and its store; gives the configuration and the directory, for whoever opens
    /// them to work on them.
    pub(crate) fn close(self) -> (Config, Option<DataDirectory>) {
        (self.config, self.data)
    }

    /// Its log. Opened when it is first asked for: whoever needs only the other half of the books
    /// is not held up where this one is damaged or away.
    ///
    /// # Errors
    ///
    /// Where it can't be opened.
    pub(crate) async fn log(&self) -> anyhow::Result<&AnyLog> {
        let open = || engine::open_log_beside(&self.config, self.data.as_ref());
        self.log.get_or_try_init(open).await
    }

    /// Its account store, likewise.
    ///
    /// # Errors
    ///
    /// Where it can't be opened.
    pub(crate) async fn store(&self) -> anyhow::Result<&AnyStore> {
        let open = || engine::open_store_beside(&self.config, self.data.as_ref());
        self.store.get_or_try_init(open).await
    }

    /// What is fixed of the ledger. A data directory keeps it; on a server its log is asked.
    ///
    /// # Errors
    ///
    /// Where it can't be read, there is none, or the configuration means another.
    pub(crate) async fn ledger(&self) -> anyhow::Result<&Ledger> {
        let read = async || match self.config.topics.is_embedded() {
            true => ledger::kept(&self.config, &self.key()?),
            false => {
                let found = ledger::read_descriptor(self.log().await?).await?;
                let found = found.context(
                    "topics.location: there is no ledger yet; `batchless watch` and `batchless \
                     process` make it when they start",
                )?;
                ledger::compare(&self.config, &found)?;
                Ok(found)
            }
        };
        self.ledger.get_or_try_init(read).await
    }

    /// How many shards it has.
    ///
    /// # Errors
    ///
    /// As [`Self::ledger`].
    pub(crate) async fn shards(&self) -> anyhow::Result<u32> {
        Ok(u32::try_from(self.ledger().await?.shards)?)
    }

    /// The key as it is configured or kept.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub(crate) fn key(&self) -> anyhow::Result<AccountKey> {
        ledger::key(&self.config, self.data.as_ref())
    }

    /// The ledger's own key, to make tokens of numbers with.
    ///
    /// # Errors
    ///
    /// Where it can't be read, or is another ledger's.
    pub(crate) async fn ledger_key(&self) -> anyhow::Result<AccountKey> {
        let key = self.key()?;
        ledger::compare_key(&key, self.ledger().await?)?;
        Ok(key)
    }

    /// Every object and file by its newest row.
    ///
    /// # Errors
    ///
    /// Where the log can't be read.
    pub(crate) async fn roll(&self) -> anyhow::Result<Roll> {
        let log = self.log().await?;
        let mut roll = Roll::new(log);
        roll.follow(log).await?;
        Ok(roll)
    }

    /// What `wanted` names: an id or its beginning, or the end of an object's name; every file
    /// where it names none.
    ///
    /// # Errors
    ///
    /// Where nothing is called so.
    pub(crate) async fn named(&self, wanted: Option<&str>) -> anyhow::Result<Named> {
        let roll = self.roll().await?;
        let mut files = roll.files;
        let Some(wanted) = wanted else { return Ok(Named { files, aside: Vec::new() }) };
        // A record that was resubmitted is a file under the name of the one that it is from: it is
        // named by its id only.
        files.retain(|file_id, file| {
            let is_by_id = file_id.to_string().starts_with(wanted);
            is_named(wanted, Some(file_id), &file.object) && (file.resubmits.is_none() || is_by_id)
        });
        let is_aside = |arrival: &Arrival| {
            let file = arrival.file_id.and_then(|id| files.get(&id));
            arrival.state.is_end()
                && arrival.state != ArrivalState::VERIFIED
                // What was held and is so no more has its rejects where a file has them.
                && (arrival.state != ArrivalState::HELD
                    || file.is_none_or(|file| file.state == FileState::HELD))
        };
        let named = |arrival: &Arrival| is_named(wanted, arrival.file_id.as_ref(), &arrival.object);
        let mut aside: Vec<Arrival> = roll.arrivals.into_values().collect();
        aside.retain(|arrival| named(arrival) && is_aside(arrival));
        if files.is_empty() && aside.is_empty() {
            return Err(not_called(wanted));
        }
        Ok(Named { files, aside })
    }

    /// The one file that `wanted` names.
    ///
    /// # Errors
    ///
    /// Where there is none, or more than one: then with the id of each.
    pub(crate) async fn file(&self, wanted: &str) -> anyhow::Result<File> {
        let Named { files, aside } = self.named(Some(wanted)).await?;
        let mut files: Vec<File> = files.into_values().collect();
        files.sort_by_key(|file| (file.arrived_at, file.verdict.occurrence));
        match (files.as_slice(), aside.first()) {
            ([_], _) => Ok(files.remove(0)),
            ([], Some(arrival)) => bail!("{}", why_aside(arrival)),
            ([], None) => Err(not_called(wanted)),
            (several, _) => {
                let named = |file: &File| format!("{} ({})", file.file_id, file.state);
                let all: Vec<String> = several.iter().map(named).collect();
                bail!(
                    "{} files are called {wanted}: {}; name one by its id",
                    all.len(),
                    all.join(", ")
                )
            }
        }
    }

    /// The files that these name, each once, in the order of their ids.
    ///
    /// # Errors
    ///
    /// As [`Self::file`].
    pub(crate) async fn files(&self, wanted: &[String]) -> anyhow::Result<Vec<File>> {
        let mut files = BTreeMap::new();
        for wanted in wanted {
            let file = self.file(wanted).await?;
            files.insert(file.file_id, file);
        }
        Ok(files.into_values().collect())
    }

    /// Calls `take` with each message of a partition, in order.
    ///
    /// # Errors
    ///
    /// Where it can't be read, or `take` fails.
    pub(crate) async fn read(
        &self,
        topic: Topic,
        partition: u32,
        mut take: impl FnMut(&Received) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        topic::read_all(self.log().await?, topic, partition, 0, |message| take(&message)).await?;
        Ok(())
    }
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) struct Named {
    /// Files, which have events and rejects on topics.
    pub(crate) files: BTreeMap<FileId, File>,
    /// Objects of which nothing is published: refused, held, or a duplicate. The first records of
    /// them that can't be read are in their rows only.
    pub(crate) aside: Vec<Arrival>,
}

/// How many digits of an id name a file, at least: fewer may be the name of an object.
const ID_DIGITS_MIN: usize = 8;

/// That nothing is called so.
pub(crate) fn not_called(wanted: &str) -> anyhow::Error {
    let is_id = !wanted.is_empty() && wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
    let short = match is_id && wanted.len() < ID_DIGITS_MIN {
        true => format!(", and an id is named by its first {ID_DIGITS_MIN} digits or more"),
        false => String::new(),
    };
    anyhow::anyhow!("no file is called {wanted}{short}; `batchless files` lists them")
}

/// Why nothing of an object is published.
pub(crate) fn why_aside(arrival: &Arrival) -> String {
    let reason = arrival.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{}: {}{reason}; nothing of it is published", arrival.object, arrival.state)
}

/// The first digits of a file's id, which name it in a table and in a command alike.
pub(crate) fn id_start(file_id: &FileId) -> String {
    file_id.to_string().chars().take(12).collect()
}

/// Whether `wanted` names this file or object.
pub(crate) fn is_named(wanted: &str, file_id: Option<&FileId>, object: &str) -> bool {
    let name = object.rsplit('/').next().unwrap_or(object);
    let by_id = || {
        ID_DIGITS_MIN <= wanted.len()
            && file_id.is_some_and(|id| id.to_string().starts_with(wanted))
    };
    object == wanted || name == wanted || by_id()
}

impl DataDirectory {
    /// The configuration that the directory keeps, the environment over it.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let file = self.config_file();
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("the configuration {name} can't be read"))?;
        let mut said = Said::from_file(&name, &text)?;
        said.take_environment(crate::environment())?;
        Config::new(said)
    }
}

/// Runs the work of a command that changes something: owners may work in it.
///
/// # Errors
///
/// As the work does.
pub(crate) fn block_on_work<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = super::run::runtime()?;
    let ended = runtime.block_on(work);
    // What still blocks would be waited for without end; all that was promised is committed.
    runtime.shutdown_background();
    ended
}

/// Runs the work of a command that reads.
///
/// # Errors
///
/// As the work does.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("no runtime can be started")?.block_on(work)
}
