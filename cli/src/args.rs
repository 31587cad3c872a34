//! Arguments: what a user may type.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::command::accounts::AccountsFlags;
use crate::command::demo::DemoFlags;
use crate::command::files::FilesFlags;
use crate::command::generate::GenerateFlags;
use crate::command::layout::LayoutCommand;
use crate::command::order::{AcceptFlags, OrderFlags};
use crate::command::parse::ParseFlags;
use crate::command::records::RecordsFlags;
use crate::command::rejects::RejectsFlags;
use crate::command::replay::ReplayFlags;
use crate::command::reverse::ReverseFlags;
use crate::command::run::{PartFlags, RunFlags};
use crate::command::topics::TopicsFlags;
use crate::command::verify::VerifyFlags;
use crate::config::keys::{self, FEED_KEYS, KEYS, Key};
use crate::config::{Origin, Said, Values};

/// Turns bank clearing files into events, and applies each to account balances exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "batchless",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 all well; 1 could not do it; 2 wrong usage or configuration;\n\
                  3 done, and something was refused, rejected or out of balance, newly held or\n\
                  newly a duplicate: a later `run --once` that finds nothing new ends with 0."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends sample files through the whole pipeline in a temporary directory, and shows the
    /// result.
    Demo(DemoFlags),
    /// Watches the feeds, publishes their files and applies their records, until told to stop.
    Run(RunFlags),
    /// Watches the feeds and publishes their files: one half of `run`, as often as you like.
    Watch(PartFlags),
    /// Applies the records that were published: the other half, likewise.
    Process(PartFlags),
    /// Reads one file: its events to standard output, its verdict and totals to standard error.
    ///
    /// Events are printed while the file is read, and a file may prove to be refused only at its
    /// end: what was printed of it before is not to be used. Whoever reads the events minds the
    /// exit code: 0 verified; 3 refused, unproven, or verified with records that were rejected,
    /// which the verdict tells apart.
    Parse(ParseFlags),
    /// Writes a valid synthetic file of a format, of any size.
    Generate(GenerateFlags),
    /// Lists every object that was seen and every file: states, counts, totals.
    Files(FilesFlags),
    /// Lists the records of a file, or shows one of them end to end.
    Records(RecordsFlags),
    /// Lists accounts: balances and states; freezes, unfreezes and imports them.
    Accounts(AccountsFlags),
    /// Lists the records that could not be read or applied, and why; those of a file that was
    /// refused or held with `show`. Reads them again with `resubmit`.
    Rejects(RejectsFlags),
    /// Reconciles every file three ways, and checks every invariant.
    Verify(VerifyFlags),
    /// Stops a file that is being published, at its next chunk.
    Hold(OrderFlags),
    /// Lets a held file go on.
    Release(OrderFlags),
    /// Gives a file up that is on its way, and undoes what was applied of it.
    Cancel(OrderFlags),
    /// Undoes what was applied: a record, a range, files. Prints what it would do, and a token that
    /// does it.
    Reverse(ReverseFlags),
    /// Publishes records again that were published before: what was applied is recognised, what is
    /// missing is applied. Prints what it would do, and a token that does it.
    Replay(ReplayFlags),
    /// Takes a content again on purpose that was taken before: a duplicate, or a file that was
    /// undone.
    Accept(AcceptFlags),
    /// Makes, checks or lists the topics on Kafka.
    Topics(TopicsFlags),
    /// Checks or shows the configuration, or every key that there is.
    Config {
        /// Which of them.
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// Checks a layout, which describes the files of a format, or shows one that is built in.
    Layout {
        /// Which of them.
        #[command(subcommand)]
        what: LayoutCommand,
    },
    /// Prints the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Says whether the configuration can be used.
    Check(ConfigFlags),
    /// Prints the configuration in force, and who said each value.
    Show(ConfigFlags),
    /// Prints every key with its default, what it may be and what it does.
    Schema,
}

/// Where the configuration is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigFlags {
    /// The configuration file [default: BATCHLESS_CONFIG, or the one that the data directory keeps]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// The variable that names the configuration file.
const CONFIG: &str = "BATCHLESS_CONFIG";

impl ConfigFlags {
    /// What was said: by the file, by the environment over it, and by `flags` over both.
    ///
    /// # Errors
    ///
    /// Where the file can't be read, or something that was said can't be.
    pub(crate) fn said(&self, feed: Option<Values>) -> anyhow::Result<Said> {
        let mut said = match (&feed, self.file(crate::environment())?) {
            (Some(_), _) | (None, None) => Said::default(),
            (None, Some(file)) => read(&file)?,
        };
        said.feeds.extend(feed);
        said.take_environment(crate::environment())?;
        if let Some(data) = &self.data {
            let text = data.to_str().ok_or_else(|| {
                anyhow::anyhow!("--data: expected a path in UTF-8, found another one")
            })?;
            said.whole.set(key(KEYS, "data")?, text.to_owned(), Origin::Flag("--data"))?;
        }
        Ok(said)
    }

    /// The file to read: the one that was named, by the flag or, where no directory was, by the
    /// environment; else what the data directory keeps, if it is there.
    fn file(
        &self,
        environment: impl Iterator<Item = (String, String)>,
    ) -> anyhow::Result<Option<PathBuf>> {
        if let Some(file) = &self.config {
            return Ok(Some(file.clone()));
        }
        let data = match &self.data {
            Some(data) => data.clone(),
            None => {
                let environment: Vec<(String, String)> = environment.collect();
                if let Some((_, file)) = environment.iter().find(|(name, _)| name == CONFIG) {
                    return Ok(Some(PathBuf::from(file)));
                }
                let environment = environment.into_iter();
                let mut said = Said::default();
                said.take_environment(environment.filter(|(name, _)| name == "BATCHLESS_DATA"))?;
                PathBuf::from(
                    said.whole.get(key(KEYS, "data")?).map_or_else(String::new, |v| v.text),
                )
            }
        };
        let kept = data.join("batchless.toml");
        Ok(crate::data::is_there(&kept)?.then_some(kept))
    }
}

fn read(file: &std::path::Path) -> anyhow::Result<Said> {
    use anyhow::Context as _;
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the configuration {name} can't be read"))?;
    Said::from_file(&name, &text)
}

pub(crate) fn key(keys: &'static [Key], name: &str) -> anyhow::Result<&'static Key> {
    keys::find(keys, name).ok_or_else(|| anyhow::anyhow!("{name} is not in the table of keys"))
}

/// A feed by flags, in the place of a configuration file.
#[derive(Args, Clone, Debug)]
pub(crate) struct FeedFlags {
    /// The folder where files arrive; stands in for a configuration file.
    #[arg(long, value_name = "DIR", requires = "described", conflicts_with = "config")]
    pub(crate) inbox: Option<String>,
    /// The format of its files, such as ipm, nacha or the name of a built-in layout.
    #[arg(long, value_name = "NAME", requires = "inbox", group = "described")]
    pub(crate) format: Option<String>,
    /// A layout that describes its files.
    #[arg(long, value_name = "FILE", requires = "inbox", group = "described")]
    pub(crate) layout: Option<String>,
    /// The page of its text: ascii, latin1, utf8, cp037, cp500, cp1140 or cp1047.
    #[arg(long, value_name = "PAGE", requires = "inbox")]
    pub(crate) encoding: Option<String>,
    /// How messages are laid into its files: auto, vbs, blocked or rdw.
    #[arg(long, value_name = "FRAMING", requires = "inbox")]
    pub(crate) framing: Option<String>,
    /// Whose customers the accounts are: issuer or acquirer.
    #[arg(long, value_name = "SIDE", requires = "inbox")]
    pub(crate) side: Option<String>,
    /// What a record for an account that is not there does: open or reject.
    #[arg(long, value_name = "WHAT", requires = "inbox")]
    pub(crate) unknown_accounts: Option<String>,
}

impl FeedFlags {
    /// The feed that the flags describe, if they do; its name is the format's, or the layout's.
    ///
    /// # Errors
    ///
    /// Where a flag has a word that its key doesn't take.
    pub(crate) fn values(&self) -> anyhow::Result<Option<Values>> {
        if self.inbox.is_none() {
            return Ok(None);
        }
        let mut values = Values::default();
        let name = match &self.layout {
            Some(file) => {
                let layout = crate::layout::read(Path::new(file)).context("--layout")?;
                Some(layout.name().to_owned())
            }
            None => self.format.clone(),
        };
        for (name, flag, text) in [
            ("location", "--inbox", &self.inbox),
            ("format", "--format", &self.format),
            ("layout", "--layout", &self.layout),
            ("encoding", "--encoding", &self.encoding),
            ("framing", "--framing", &self.framing),
            ("side", "--side", &self.side),
            ("unknown_accounts", "--unknown-accounts", &self.unknown_accounts),
            ("name", "--format", &name),
        ] {
            if let Some(text) = text {
                values.set(key(FEED_KEYS, name)?, text.clone(), Origin::Flag(flag))?;
            }
        }
        Ok(Some(values))
    }
}
