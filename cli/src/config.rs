//! The configuration: what was said for each key, checked, and what it means.

pub(crate) mod engines;
pub(crate) mod keys;
pub(crate) mod secret;
pub(crate) mod values;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use ingest::container::Limits;
use ingest::feed::RejectLimit;
use ingest::format::{Layout, Settings, built_in};

use self::engines::{Place, StoreConfig, TopicsConfig};
use self::keys::{FEED_KEYS, KEYS, Key, Kind};
use self::secret::Secret;
pub(crate) use self::values::{Origin, Said, Values};

/// The configuration in force.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The data directory; of use where log or store is embedded.
    pub(crate) data: PathBuf,
    /// Where the topics are.
    pub(crate) topics: TopicsConfig,
    /// Where accounts are.
    pub(crate) store: StoreConfig,
    /// What is fixed when the ledger is made.
    pub(crate) ledger: LedgerConfig,
    /// How log lines are written.
    pub(crate) log_json: bool,
    /// Which log lines.
    pub(crate) log_filter: String,
    /// How long work in hand may take to end after a signal.
    pub(crate) grace_seconds: u64,
    /// How many records are published together.
    pub(crate) chunk_records: u32,
    /// The feeds.
    pub(crate) feeds: Vec<FeedConfig>,
    said: Said,
}

/// What is fixed when the ledger is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LedgerConfig {
    /// Its name; whether somebody said it, or it is the default.
    pub(crate) name: (String, bool),
    /// Its shards, likewise.
    pub(crate) shards: (u32, bool),
    /// Its partitions of `files`, likewise.
    pub(crate) file_partitions: (u32, bool),
    /// Where its key is, if not in the data directory.
    pub(crate) key_file: Option<PathBuf>,
}

/// What becomes of an object whose file is reconciled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It stays.
    Keep,
    /// It is moved there.
    Archive(Place),
    /// It is removed.
    Delete,
}

/// A feed, as it was configured; each word is one that its key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedConfig {
    /// Its name, unique.
    pub(crate) name: String,
    /// Where objects arrive.
    pub(crate) place: Place,
    /// What becomes of them.
    pub(crate) after: After,
    /// The format: one that is built in, or the name of the layout.
    pub(crate) format: String,
    /// A layout of its own.
    pub(crate) layout: Option<Arc<Layout>>,
    /// The page of its text.
    pub(crate) encoding: String,
    /// How messages are laid into the file.
    pub(crate) framing: String,
    /// Issuer or acquirer.
    pub(crate) side: String,
    /// Which amount is posted.
    pub(crate) posted_amount: String,
    /// Whether an unknown account is opened.
    pub(crate) opens_accounts: bool,
    /// Whether files wait for each other.
    pub(crate) serial: bool,
    /// Whether arrival is told by a marker.
    pub(crate) by_marker: bool,
    /// How long between two looks.
    pub(crate) look_every_ms: u64,
    /// Above this share of bad records the file is refused.
    pub(crate) reject_limit_percent: u64,
    /// In files of so many records or more.
    pub(crate) reject_limit_records_min: u64,
    /// The longest record.
    pub(crate) record_bytes_max: u64,
    /// How far a container may unpack.
    pub(crate) unpacked_bytes_max: u64,
    /// And to how many times its size.
    pub(crate) unpacked_ratio_max: u64,
}

impl FeedConfig {
    /// What of it changes its events.
    ///
    /// # Errors
    ///
    /// Where a word is one that ingest doesn't know, which its key would have refused.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings {
            format: self.format.clone(),
            layout: self.layout.clone(),
            encoding: self.encoding.parse()?,
            framing: self.framing.parse()?,
            side: self.side.parse()?,
            posted: self.posted_amount.parse()?,
            record_bytes_max: usize::try_from(self.record_bytes_max)?,
        })
    }

    /// How far a container may unpack.
    pub(crate) fn limits(&self) -> Limits {
        Limits { bytes_max: self.unpacked_bytes_max, ratio_max: self.unpacked_ratio_max }
    }

    /// When bad records are too many.
    pub(crate) fn reject_limit(&self) -> RejectLimit {
        RejectLimit {
            percent: self.reject_limit_percent,
            records_min: self.reject_limit_records_min,
        }
    }
}

impl Config {
    /// The configuration that follows from what was said.
    ///
    /// # Errors
    ///
    /// Where a feed lacks what it must say, two have one name, or a location can't be used.
    pub(crate) fn new(said: Said) -> anyhow::Result<Self> {
        let whole = |name| required(&said.whole, KEYS, name);
        let fixed = |name| -> anyhow::Result<(u32, bool)> {
            let value = said.whole.get(key(KEYS, name)?).context(name)?;
            Ok((value.text.parse()?, value.origin != Origin::Default))
        };
        let name = said.whole.get(key(KEYS, "ledger.name")?).context("ledger.name")?;
        let key_file = said.whole.get(key(KEYS, "ledger.key_file")?);
        let ledger = LedgerConfig {
            name: (name.text, name.origin != Origin::Default),
            shards: fixed("ledger.shards")?,
            file_partitions: fixed("ledger.file_partitions")?,
            key_file: key_file.map(|value| PathBuf::from(value.text)),
        };
        let mut feeds: Vec<FeedConfig> = Vec::with_capacity(said.feeds.len());
        for (index, values) in said.feeds.iter().enumerate() {
            let feed = feed(values).with_context(|| match optional(values, FEED_KEYS, "name") {
                Ok(Some(name)) => format!("feed {name}"),
                _ => format!("feed {}", index + 1),
            })?;
            if feeds.iter().any(|other| other.name == feed.name) {
                bail!("two feeds are called {}; give each a name of its own", feed.name);
            }
            feeds.push(feed);
        }
        Ok(Self {
            data: PathBuf::from(whole("data")?),
            topics: TopicsConfig::new(&said)?,
            store: StoreConfig::new(&said)?,
            ledger,
            log_json: whole("log.format")? == "json",
            log_filter: whole("log.filter")?,
            grace_seconds: whole("stop.grace_seconds")?.parse()?,
            chunk_records: whole("topics.chunk_records")?.parse()?,
            feeds,
            said,
        })
    }

    /// Whether anything is in the data directory.
    pub(crate) fn needs_data(&self) -> bool {
        self.topics.is_embedded() || self.store.is_embedded()
    }

    /// A secret, by the name of its key; none where nobody said it.
    ///
    /// # Errors
    ///
    /// Where it is in a file that can't be read.
    pub(crate) fn secret(&self, name: &str) -> anyhow::Result<Option<Secret>> {
        secret::of(&self.said, name)
    }

    /// It with what is fixed of the ledger.
    ///
    /// # Errors
    ///
    /// Where a number of the ledger is none that its key takes.
    pub(crate) fn with_ledger(&self, ledger: &schemas::ledger::Ledger) -> anyhow::Result<Self> {
        let mut said = self.said.clone();
        for (name, text) in [
            ("ledger.name", ledger.name.clone()),
            ("ledger.shards", ledger.shards.to_string()),
            ("ledger.file_partitions", ledger.file_partitions.to_string()),
        ] {
            said.whole.set(key(KEYS, name)?, text, Origin::Ledger)?;
        }
        Self::new(said)
    }

    /// It as a data directory keeps it: the file, and for each feed with a layout of its own where
    /// that is kept from there, and its text. So whoever reads it again reads by that layout,
    /// wherever its file has gone.
    ///
    /// # Errors
    ///
    /// None that is known: the table of keys has what is asked for.
    pub(crate) fn to_keep(&self) -> anyhow::Result<(String, Vec<(String, String)>)> {
        let mut kept = self.clone();
        let mut layouts = Vec::new();
        for (feed, values) in self.feeds.iter().zip(&mut kept.said.feeds) {
            if let Some(layout) = &feed.layout {
                let path = format!("layouts/{}.toml", feed.name);
                values.set_beside(key(FEED_KEYS, "layout")?, path.clone());
                layouts.push((path, layout.text().to_owned()));
            }
        }
        Ok((kept.to_toml(false), layouts))
    }

    /// It as a file: every key with what holds, and who said so where `with_origins`.
    pub(crate) fn to_toml(&self, with_origins: bool) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let (in_section, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if in_section != section {
                section = in_section;
                let _ = writeln!(text, "\n[{section}]");
            }
            write_line(&mut text, key, name, &self.said.whole, with_origins);
        }
        for feed in &self.said.feeds {
            text.push_str("\n[[feed]]\n");
            for key in FEED_KEYS {
                write_line(&mut text, key, key.name, feed, with_origins);
            }
        }
        text
    }
}

fn write_line(text: &mut String, key: &Key, name: &str, values: &Values, with_origin: bool) {
    let Some(value) = values.get(key) else { return };
    if matches!(key.kind, Kind::Secret) {
        // Only that there is one, and only for people.
        if with_origin {
            let _ = writeln!(text, "# {name} = ****  # {}", value.origin);
        }
        return;
    }
    let quoted = toml::Value::String(value.text.clone()).to_string();
    let shown = if key.kind.is_quoted() { &quoted } else { &value.text };
    let _ = write!(text, "{name} = {shown}");
    if with_origin {
        let _ = write!(text, "  # {}", value.origin);
    }
    text.push('\n');
}

/// Every key, what it may be, what it is otherwise and what it does: a file to begin with.
pub(crate) fn schema() -> String {
    let mut text = String::from(
        "# Every key with its default; one without a default is commented out.\n\
         # The environment overrides each: BATCHLESS_LEDGER_SHARDS=64, and for a feed of the file\n\
         # BATCHLESS_FEED_<NAME>_<KEY>.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (in_section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if in_section != section {
            section = in_section;
            let _ = writeln!(text, "\n[{section}]");
        }
        write_meaning(&mut text, key, name);
    }
    text.push_str("\n# A table for each feed.\n[[feed]]\n");
    for key in FEED_KEYS {
        write_meaning(&mut text, key, key.name);
    }
    text
}

fn write_meaning(text: &mut String, key: &Key, name: &str) {
    let _ = writeln!(text, "# {}: {}", key.meaning, key.kind.expected());
    let _ = match key.default {
        Some(default) if key.kind.is_quoted() => writeln!(text, "{name} = \"{default}\""),
        Some(default) => writeln!(text, "{name} = {default}"),
        None => writeln!(text, "# {name} ="),
    };
}

fn key(keys: &'static [Key], name: &str) -> anyhow::Result<&'static Key> {
    keys::find(keys, name).with_context(|| format!("{name} is not in the table of keys"))
}

fn required(values: &Values, keys: &'static [Key], name: &'static str) -> anyhow::Result<String> {
    let value = values.get(key(keys, name)?);
    let value = value.with_context(|| format!("{name} is missing; give it a value"))?;
    Ok(value.text)
}

fn optional(values: &Values, keys: &'static [Key], name: &str) -> anyhow::Result<Option<String>> {
    Ok(values.get(key(keys, name)?).map(|value| value.text))
}

/// How long between two looks at a folder, where nobody says.
const LOOK_AT_FOLDER_EVERY_MS: u64 = 500;

/// And at a bucket of S3, where each look is paid for.
const LOOK_AT_S3_EVERY_MS: u64 = 5_000;

fn feed(values: &Values) -> anyhow::Result<FeedConfig> {
    let text = |name| required(values, FEED_KEYS, name);
    let number = |name| -> anyhow::Result<u64> { Ok(text(name)?.parse()?) };
    let name = text("name")?;
    let place = Place::of("location", &text("location")?)?;
    let look_every_ms = match (optional(values, FEED_KEYS, "look_every_ms")?, &place) {
        (Some(text), _) => text.parse()?,
        (None, Place::Folder(_)) => LOOK_AT_FOLDER_EVERY_MS,
        (None, Place::S3 { .. }) => LOOK_AT_S3_EVERY_MS,
    };
    let layout = layout(values)?;
    let format = match &layout {
        Some(layout) => layout.name().to_owned(),
        None => optional(values, FEED_KEYS, "format")?
            .context("format is missing; give it a value, or name a layout")?,
    };
    let feed = FeedConfig {
        after: after(values)?,
        place,
        encoding: encoding(values, layout.as_deref().or(built_in(&format).as_deref()))?,
        format,
        layout,
        framing: text("framing")?,
        side: text("side")?,
        posted_amount: text("posted_amount")?,
        opens_accounts: text("unknown_accounts")? == "open",
        serial: text("serial")? == "true",
        by_marker: text("arrived")? == "marker",
        look_every_ms,
        reject_limit_percent: number("reject_limit_percent")?,
        reject_limit_records_min: number("reject_limit_records_min")?,
        record_bytes_max: number("record_bytes_max")?,
        unpacked_bytes_max: number("unpacked_bytes_max")?,
        unpacked_ratio_max: number("unpacked_ratio_max")?,
        name,
    };
    if let Some(why) = feed.settings()?.misfit() {
        let said = values.get(key(FEED_KEYS, "encoding")?);
        bail!("{}: {why}", said.map_or(feed.name, |said| said.origin.to_string()));
    }
    Ok(feed)
}

/// The layout that describes a feed's files, where it has one of its own.
fn layout(values: &Values) -> anyhow::Result<Option<Arc<Layout>>> {
    let Some(said) = values.get(key(FEED_KEYS, "layout")?) else { return Ok(None) };
    let origin = &said.origin;
    if let Some(format) = values.get(key(FEED_KEYS, "format")?) {
        let format = format.text;
        bail!("{origin}: layout: it stands in place of a format; leave out the format `{format}`");
    }
    crate::layout::read(Path::new(&said.text))
        .with_context(|| format!("{origin}: layout"))
        .map(Some)
}

/// The page of a feed's text: where nobody says, the one of its layout.
fn encoding(values: &Values, layout: Option<&Layout>) -> anyhow::Result<String> {
    let said = optional(values, FEED_KEYS, "encoding")?;
    // Not a default of the key: what is kept of a configuration would say it of every layout.
    let of_layout =
        || layout.map_or(ingest::format::Encoding::Ascii, Layout::encoding).as_str().to_owned();
    Ok(said.unwrap_or_else(of_layout))
}

/// What becomes of objects.
fn after(values: &Values) -> anyhow::Result<After> {
    let archive_to = optional(values, FEED_KEYS, "archive_to")?;
    let after = required(values, FEED_KEYS, "after")?;
    let to = match (after.as_str(), archive_to) {
        ("archive", Some(to)) => Place::of("archive_to", &to)?,
        ("archive", None) => bail!("archive_to is missing; say where `after` moves objects to"),
        (_, Some(_)) => bail!("archive_to: it is of no use without after = \"archive\""),
        ("delete", None) => return Ok(After::Delete),
        _ => return Ok(After::Keep),
    };
    Ok(After::Archive(to))
}

#[cfg(test)]
mod tests;
