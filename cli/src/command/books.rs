//! The books of a ledger, open for reading beside whoever works on them: its log and its store.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use ingest::roll::Roll;
use processors::store::sqlite::SqliteStore;
use schemas::arrival::{Arrival, ArrivalState};
use schemas::file::{File, FileState};
use schemas::{AccountKey, FileId, Topic};
use topic::Received;
use topic::embedded::EmbeddedLog;

use super::Failure;
use crate::config::{Config, Said};
use crate::data::DataDirectory;
use crate::output::Output;

/// Which ledger, and how to print.
///
/// Global, so that they hold before and behind `show` alike: there is one place where they are.
#[derive(Args, Clone, Debug)]
pub(crate) struct BooksFlags {
    /// The data directory [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Output,
}

/// A ledger open for reading.
pub(crate) struct Books {
    log: OnceCell<EmbeddedLog>,
    store: OnceCell<SqliteStore>,
    /// The configuration in force.
    pub(crate) config: Config,
    data: DataDirectory,
}

impl Books {
    /// Opens the books in the data directory that the flags name.
    ///
    /// # Errors
    ///
    /// Where there is no ledger, or it can't be read.
    pub(crate) fn open(flags: &BooksFlags) -> anyhow::Result<Self> {
        let named = flags.data.clone();
        let path = match named {
            Some(path) => path,
            None => crate::args::ConfigFlags::default().said(None).and_then(Config::new)?.data,
        };
        let data = DataDirectory::open(&path)?;
        let mut config = data.config()?;
        config.data.clone_from(&path);
        if !data.log().exists() {
            bail!("{} holds no ledger yet; make one with `batchless run`", path.display());
        }
        Ok(Self { log: OnceCell::new(), store: OnceCell::new(), config, data })
    }

    /// Closes its log and its store; gives the configuration and the directory, for whoever opens
    /// them to work on them.
    pub(crate) fn close(self) -> (Config, DataDirectory) {
        (self.config, self.data)
    }

    /// Its log. Opened when it is first asked for: whoever needs only the other half of the books
    /// is not held up where this one is damaged.
    ///
    /// # Errors
    ///
    /// Where it can't be opened.
    pub(crate) fn log(&self) -> anyhow::Result<&EmbeddedLog> {
        if let Some(log) = self.log.get() {
            return Ok(log);
        }
        let log = EmbeddedLog::open_read_only(self.data.log())?;
        Ok(self.log.get_or_init(|| log))
    }

    /// Its account store, likewise.
    ///
    /// # Errors
    ///
    /// Where it can't be opened.
    pub(crate) fn store(&self) -> anyhow::Result<&SqliteStore> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = self.data.open_accounts()?;
        Ok(self.store.get_or_init(|| store))
    }

    /// The ledger's key.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub(crate) fn key(&self) -> anyhow::Result<AccountKey> {
        self.data.key(self.config.ledger.key_file.as_deref())
    }

    /// Every object and file by its newest row.
    ///
    /// # Errors
    ///
    /// Where the log can't be read.
    pub(crate) async fn roll(&self) -> anyhow::Result<Roll> {
        let log = self.log()?;
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
        topic::read_all(self.log()?, topic, partition, 0, |message| take(&message)).await?;
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
