//! The rules that a file is read under: those of a feed, or what the flags say over the defaults.

use anyhow::{Context, bail};
use ingest::container::Limits;
use ingest::feed::RejectLimit;
use ingest::format::{self, Encoding, Settings};

use super::ParseFlags;
use crate::command::books::Books;
use crate::config::Config;
use crate::config::keys::{FEED_KEYS, find};

/// The rules for a file, but its format where nobody named it.
pub(super) struct Rules {
    /// The feed's name, part of its events; `parse` where there is none.
    pub(super) feed: String,
    /// How far a container may unpack.
    pub(super) limits: Limits,
    /// When bad records are too many.
    pub(super) reject_limit: RejectLimit,
    record_bytes_max: usize,
    /// What a feed fixes.
    settings: Option<Settings>,
}

impl Rules {
    /// Those of the feed that the flags name in this ledger, else the defaults.
    ///
    /// # Errors
    ///
    /// Where there is no such feed, or its configuration can't be read.
    pub(super) fn new(flags: &ParseFlags, books: Option<&Books>) -> anyhow::Result<Self> {
        match (&flags.feed, books) {
            (Some(name), Some(books)) => Self::of_feed(name, &books.config),
            _ => Self::of_defaults(),
        }
    }

    fn of_feed(name: &str, config: &Config) -> anyhow::Result<Self> {
        let Some(feed) = config.feeds.iter().find(|feed| feed.name == name) else {
            let feeds: Vec<&str> = config.feeds.iter().map(|feed| feed.name.as_str()).collect();
            bail!("--feed: expected one of {}, found `{name}`", feeds.join(", "));
        };
        let settings = feed.settings()?;
        Ok(Self {
            feed: feed.name.clone(),
            limits: feed.limits(),
            reject_limit: feed.reject_limit(),
            record_bytes_max: settings.record_bytes_max,
            settings: Some(settings),
        })
    }

    fn of_defaults() -> anyhow::Result<Self> {
        Ok(Self {
            feed: "parse".to_owned(),
            limits: Limits {
                bytes_max: default("unpacked_bytes_max")?,
                ratio_max: default("unpacked_ratio_max")?,
            },
            reject_limit: RejectLimit {
                percent: default("reject_limit_percent")?,
                records_min: default("reject_limit_records_min")?,
            },
            record_bytes_max: usize::try_from(default("record_bytes_max")?)?,
            settings: None,
        })
    }

    /// The settings to read with: the feed's, or as told, else as the first bytes show; none where
    /// they show nothing.
    ///
    /// # Errors
    ///
    /// Where the flags name no format.
    pub(super) fn settings(
        &self,
        flags: &ParseFlags,
        first: &[u8],
    ) -> anyhow::Result<Option<Settings>> {
        if let Some(settings) = &self.settings {
            return Ok(Some(settings.clone()));
        }
        let layout = flags.layout.as_deref().map(crate::layout::read).transpose();
        let layout = layout.context("--layout")?;
        let detected = match layout {
            Some(_) => None,
            None => format::guess(first),
        };
        let named = layout.as_deref().map(|layout| layout.name().to_owned());
        let format = match (&flags.format, detected) {
            _ if let Some(name) = named => name,
            (Some(name), _) if format::names().contains(&name.as_str()) => name.clone(),
            (Some(name), _) => {
                bail!("--format: expected one of {}, found `{name}`", format::names().join(", "))
            }
            (None, Some(detected)) => detected.format.to_owned(),
            (None, None) if is_text(first) => LINES.to_owned(),
            (None, None) => return Ok(None),
        };
        let seen = detected.filter(|detected| detected.format == format);
        let said = layout.clone().or_else(|| format::built_in(&format));
        let said = said.map(|layout| layout.encoding());
        let seen = seen.map(|seen| seen.encoding);
        let encoding = flags.encoding.or(match (said, seen) {
            (Some(said), Some(seen)) if said.is_ebcdic() != seen.is_ebcdic() => Some(seen),
            (said, seen) => said.or(seen),
        });
        let settings = Settings {
            encoding: encoding.unwrap_or(Encoding::Ascii),
            format,
            layout,
            framing: flags.framing,
            side: flags.side,
            posted: flags.posted_amount,
            record_bytes_max: self.record_bytes_max,
        };
        match settings.misfit() {
            Some(why) => bail!("{why}"),
            None => Ok(Some(settings)),
        }
    }
}

/// What a feed has where nobody says, from the table of keys.
fn default(name: &str) -> anyhow::Result<u64> {
    let key = find(FEED_KEYS, name).with_context(|| format!("{name} is not in the table"))?;
    Ok(key.default.with_context(|| format!("{name} has no default"))?.parse()?)
}

/// The format of lines of text.
const LINES: &str = "nacha";

/// Whether content that no format knows is text at least: then the reader of the format of lines
/// says where it departs from it, which helps more than to say that it is unknown.
fn is_text(first: &[u8]) -> bool {
    const LOOKED_AT: usize = 94;
    let is_printable = |byte: &u8| (b' '..=b'~').contains(byte) || b"\r\n\t".contains(byte);
    !first.is_empty() && first.iter().take(LOOKED_AT).all(is_printable)
}
