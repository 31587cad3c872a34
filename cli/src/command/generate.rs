//! `batchless generate`: writes a valid synthetic file of a format, of any size.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use ingest::format::{Encoding, Framing, names};
use ingest::generate::{GenerateError, Generated, Plan, generate};
use schemas::Date;

use super::{Ending, Failure};

/// What `generate` is told.
#[derive(Args, Debug)]
pub(crate) struct GenerateFlags {
    #[arg(long, value_name = "NAME", help = format!("The format: {}.", names().join(", ")))]
    format: String,
    /// Where to write it [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The page of its text: ascii, latin1, utf8, cp037, cp500, cp1140 or cp1047.
    #[arg(long, value_name = "PAGE", default_value = "ascii")]
    encoding: Encoding,
    /// How messages are laid into it: auto, vbs, blocked or rdw; files of lines ignore it.
    #[arg(long, value_name = "FRAMING", default_value = "auto")]
    framing: Framing,
    /// How many records.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    records: u64,
    /// How many accounts they are spread over.
    #[arg(long, value_name = "N", default_value_t = 100)]
    accounts: u64,
    /// Another seed gives other records, the same one the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many of a million records can't be read.
    #[arg(long, value_name = "N", default_value_t = 0)]
    bad_per_million: u32,
    /// Goes into the file's own identifier, where it has one, and into references: files of one
    /// date need numbers of their own.
    #[arg(long, value_name = "N", default_value_t = 0)]
    file_number: u32,
    /// The date of the file, as YYYY-MM-DD.
    #[arg(long, value_name = "DATE", default_value = "2026-01-15", value_parser = date)]
    date: Date,
}

fn date(text: &str) -> Result<Date, String> {
    let wrong = || "expected a date as YYYY-MM-DD".to_owned();
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return Err(wrong()) };
    let year = year.parse().map_err(|_| wrong())?;
    let month = month.parse().map_err(|_| wrong())?;
    let day = day.parse().map_err(|_| wrong())?;
    Date::new(year, month, day).ok_or_else(|| "expected a day of the calendar".to_owned())
}

pub(crate) fn run(flags: &GenerateFlags) -> Result<Ending, Failure> {
    let plan = Plan {
        format: flags.format.clone(),
        encoding: flags.encoding,
        framing: flags.framing,
        records: flags.records,
        accounts: flags.accounts,
        seed: flags.seed,
        bad_per_million: flags.bad_per_million,
        file_number: flags.file_number,
        date: flags.date,
    };
    let generated = match &flags.file {
        Some(file) => to_file(&plan, file)?,
        None => write(&plan, io::stdout().lock(), "standard output")?,
    };
    let Generated { bytes, records, bad, identifier } = generated;
    let records = crate::output::counted(records, "record");
    let identifier =
        identifier.map_or("no identifier".to_owned(), |own| format!("identifier {own}"));
    let said = writeln!(
        io::stderr(),
        "generated: {records}, {bad} of them bad, {bytes} bytes, {identifier}"
    );
    said.context("standard error can't be written")?;
    Ok(Ending::Well)
}

/// Writes beside the file and renames, so that a watched folder never sees half of it.
fn to_file(plan: &Plan, path: &Path) -> Result<Generated, Failure> {
    let name = path.display().to_string();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    let file = File::create(&beside).with_context(|| format!("{name} can't be written"))?;
    match write(plan, file, &name) {
        Ok(generated) => {
            std::fs::rename(&beside, path).with_context(|| format!("{name} can't be written"))?;
            Ok(generated)
        }
        Err(failure) => {
            // Half a file is no use; what can't be removed can't be helped.
            let _ = std::fs::remove_file(&beside);
            Err(failure)
        }
    }
}

fn write(plan: &Plan, out: impl Write, name: &str) -> Result<Generated, Failure> {
    let mut out = BufWriter::with_capacity(256 << 10, out);
    let generated = generate(plan, &mut out).map_err(|error| match error {
        GenerateError::Write(error) => {
            Failure::Other(anyhow::Error::new(error).context(format!("{name} can't be written")))
        }
        other => Failure::Usage(other.into()),
    })?;
    out.flush().with_context(|| format!("{name} can't be written"))?;
    Ok(generated)
}
