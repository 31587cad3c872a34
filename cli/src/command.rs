//! The commands, a file each.

pub(crate) mod books;
mod content;
mod plan;

pub(crate) mod demo;
pub(crate) mod run;
pub(crate) mod parse;
pub(crate) mod generate;
pub(crate) mod files;
pub(crate) mod records;
pub(crate) mod accounts;
pub(crate) mod rejects;
pub(crate) mod verify;

pub(crate) mod topics;

pub(crate) mod order;
pub(crate) mod reverse;
pub(crate) mod replay;

mod config;
pub(crate) mod layout;

use clap::CommandFactory as _;
use schemas::command::Action;

use crate::args::{Cli, Command};
use crate::owners::Part;

/// How a command ended that could do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is well.
    Well,
    /// It is done, and something was refused, rejected, held, a duplicate or out of balance.
    Findings,
}

/// Why a command could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed or configured can't be used.
    Usage(anyhow::Error),
    /// Anything else.
    Other(anyhow::Error),
}

impl Failure {
    /// What was typed or configured can't be used; what may not be read is no such thing.
    pub(crate) fn usage(error: anyhow::Error) -> Self {
        let is_denied = |cause: &(dyn std::error::Error + 'static)| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
        };
        match error.chain().any(is_denied) {
            true => Self::Other(error),
            false => Self::Usage(error),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Does what was asked.
///
/// # Errors
///
/// Where it can't be done.
pub(crate) fn run(cli: Cli) -> Result<Ending, Failure> {
    match cli.command {
        Command::Demo(flags) => demo::run(&flags),
        Command::Run(flags) => run::run(&flags),
        Command::Watch(flags) => run::run_part(Part::Watch, &flags),
        Command::Process(flags) => run::run_part(Part::Process, &flags),
        Command::Parse(flags) => parse::run(&flags),
        Command::Generate(flags) => generate::run(&flags),
        Command::Files(flags) => files::run(&flags),
        Command::Records(flags) => records::run(&flags),
        Command::Accounts(flags) => accounts::run(&flags),
        Command::Rejects(flags) => rejects::run(&flags),
        Command::Verify(flags) => verify::run(&flags),
        Command::Topics(flags) => topics::run(&flags),
        Command::Hold(flags) => order::run(Action::HOLD, &flags),
        Command::Release(flags) => order::run(Action::RELEASE, &flags),
        Command::Cancel(flags) => order::run(Action::CANCEL, &flags),
        Command::Reverse(flags) => reverse::run(&flags),
        Command::Replay(flags) => replay::run(&flags),
        Command::Accept(flags) => order::accept(&flags),
        Command::Config { what } => config::run(&what),
        Command::Layout { what } => layout::run(&what),
        Command::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "batchless", &mut out);
            print(&String::from_utf8_lossy(&out))?;
            Ok(Ending::Well)
        }
    }
}

/// Prints text on standard output.
///
/// # Errors
///
/// Where it can't be written.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
