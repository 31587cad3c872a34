//! What each stage costs, beside what the machine can do: `./bench/run [RECORDS]`.
//!
//! For each format a synthetic file is written, and goes through every stage alone and then the
//! whole way. The machine's limits take the same bytes in the same run: hashing them, appending
//! them to a file, inserting them into SQLite. Each stage and each limit is a process of its own,
//! so that its CPU time and its peak memory are its own.

#![expect(clippy::print_stderr, reason = "a binary says what it does and what failed")]
#![expect(clippy::disallowed_methods, reason = "a binary reads its arguments")]

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use ingest::generate;

mod cost;
mod input;
mod limit;
mod program;
mod stage;
mod report;

use cost::Cost;
use report::Report;
use stage::Stage;

/// So many that a large file is under way for longer than a small one beside it, and not more than
/// any format can count.
const RECORDS: u64 = 400_000;
const ACCOUNTS: u64 = 50_000;

/// How often everything is measured: the fastest time of each stage counts, so that what else the
/// machine does counts least.
const ROUNDS: u32 = 3;

/// The first argument of a process that is one stage.
const STAGE: &str = "stage";

/// The first argument where a file is only to be written, for who measures by other means: then
/// format, records, accounts, the file's number and its path.
const GENERATE: &str = "generate";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, stage, format, directory] = arguments.as_slice()
        && first == STAGE
    {
        let stage = Stage::named(stage).with_context(|| format!("no such stage: {stage}"))?;
        let cost = stage::run(stage, format, Path::new(directory))?;
        return Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&cost)?)?);
    }
    if let [first, format, records, accounts, number, path] = arguments.as_slice()
        && first == GENERATE
    {
        let plan = input::plan(format, records.parse()?, accounts.parse()?, number.parse()?)?;
        return write_plan(&plan, Path::new(path)).map(|_| ());
    }
    all(&Options::parse(arguments.into_iter())?)
}

/// What was asked for.
#[derive(Debug)]
struct Options {
    records: u64,
    rounds: u32,
    json: bool,
    /// Where files, logs and stores are made: the disk that is measured.
    directory: PathBuf,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        const USAGE: &str = "usage: bench [RECORDS] [--rounds N] [--json] [--directory DIR]";
        let (records, rounds, directory) = (RECORDS, ROUNDS, std::env::temp_dir());
        let mut options = Self { records, rounds, json: false, directory };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => options.json = true,
                "--rounds" => {
                    options.rounds = arguments.next().context(USAGE)?.parse().context(USAGE)?;
                }
                "--directory" => {
                    options.directory = arguments.next().context(USAGE)?.into();
                }
                number => options.records = number.parse().context(USAGE)?,
            }
        }
        Ok(options)
    }
}

/// What is measured of a file: each has a report of its own.
struct Case {
    format: &'static str,
    accounts: u64,
    stages: &'static [Stage],
}

/// Every stage of two formats, in the order in which a file meets them; reading of some that are
/// layouts; and applying where all records are for one account, and where hardly two are for the
/// same.
const CASES: [Case; 7] = [
    Case { format: "nacha", accounts: ACCOUNTS, stages: &Stage::ALL },
    Case { format: "ipm", accounts: ACCOUNTS, stages: &Stage::ALL },
    Case { format: "cnab240", accounts: ACCOUNTS, stages: &Stage::READING },
    Case { format: "cnab400", accounts: ACCOUNTS, stages: &Stage::READING },
    Case { format: "base2", accounts: ACCOUNTS, stages: &Stage::READING },
    Case { format: "nacha", accounts: 1, stages: &Stage::APPLYING },
    Case { format: "nacha", accounts: 1_000_000, stages: &Stage::APPLYING },
];

fn all(options: &Options) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for Case { format, accounts, stages } in CASES {
        let mut report = Report::new(format, options.records, accounts);
        for round in 1..=options.rounds {
            let directory = tempfile::tempdir_in(&options.directory)
                .with_context(|| format!("no directory in {}", options.directory.display()))?;
            report.bytes = write_file(format, options.records, accounts, directory.path())?;
            for stage in stages {
                progress(&format!("{format}, round {round}: {}", stage.name()));
                report.add(*stage, measure(*stage, format, directory.path())?);
            }
        }
        progress("");
        if options.json {
            for line in report.lines() {
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            }
        } else {
            writeln!(out, "{report}")?;
        }
    }
    Ok(())
}

/// What is under way, for whoever looks on.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("{what:<40}\r");
    }
}

/// Writes the file of a format, and gives its size in bytes.
fn write_file(format: &str, records: u64, accounts: u64, directory: &Path) -> anyhow::Result<u64> {
    let plan = input::plan(format, records, accounts, 1)?;
    let inbox = input::inbox(directory);
    std::fs::create_dir(&inbox)?;
    write_plan(&plan, &inbox.join(input::FILE))
}

fn write_plan(plan: &generate::Plan, path: &Path) -> anyhow::Result<u64> {
    let mut out = BufWriter::new(File::create(path)?);
    let generated = generate::generate(plan, &mut out)?;
    // The disk is done with it before anything is measured.
    out.into_inner()?.sync_all()?;
    Ok(generated.bytes)
}

/// Runs one stage in a process of its own.
fn measure(stage: Stage, format: &str, directory: &Path) -> anyhow::Result<Cost> {
    let name = stage.name();
    let output = Command::new(std::env::current_exe()?)
        .args([STAGE, name, format])
        .arg(directory)
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("{name} can't be started"))?;
    ensure!(output.status.success(), "{format}: {name} failed");
    let Some(line) = output.stdout.split(|byte| *byte == b'\n').next() else {
        bail!("{format}: {name} said nothing");
    };
    Ok(serde_json::from_slice(line)?)
}
