//! `batchless layout check FILE.toml [SAMPLE]` and `batchless layout show NAME`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ingest::container::Limits;
use ingest::format::{
    self, Draft, Encoding, Explain, Explained, ExplainedUnit, Framing, Layout, Mistake, Posted,
    Settings, Side, Step, Summary,
};
use schemas::ClearingRecord;

use super::content::Content;
use super::{Ending, Failure, print};
use crate::output::{Column, amount, counted, write_table};

/// What to do with a layout.
#[derive(Debug, Subcommand)]
pub(crate) enum LayoutCommand {
    /// Says what is wrong with a layout, by line, column and remedy; shows a sample read by it,
    /// side by side with its columns.
    Check(CheckFlags),
    /// Prints a built-in layout, to begin with; their names without one.
    Show {
        /// Its name.
        name: Option<String>,
    },
}

/// What `layout check` is told.
#[derive(Args, Debug)]
pub(crate) struct CheckFlags {
    /// The layout.
    layout: PathBuf,
    /// A file that it describes; gzip and zstd are unpacked; at most 64 MiB.
    sample: Option<PathBuf>,
    /// The page of the sample's text [default: the layout's]
    #[arg(long, value_name = "PAGE")]
    encoding: Option<Encoding>,
    /// Whose customers the accounts are: issuer or acquirer.
    #[arg(long, value_name = "SIDE", default_value = "issuer")]
    side: Side,
    /// Which amount is posted: billing or transaction.
    #[arg(long, value_name = "AMOUNT", default_value = "billing")]
    posted_amount: Posted,
    /// How many events of the sample are shown with their fields; all are read.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    records: u64,
}

/// A sample is held in memory.
const SAMPLE_BYTES_MAX: u64 = 64 << 20;

/// The longest record of a sample: what a feed takes where nobody says.
const RECORD_BYTES_MAX: usize = 65_536;

pub(crate) fn run(what: &LayoutCommand) -> Result<Ending, Failure> {
    match what {
        LayoutCommand::Check(flags) => check(flags),
        LayoutCommand::Show { name: None } => {
            let built_in = format::names().iter().filter_map(|name| format::built_in(name));
            let lines = built_in.map(|layout| format!("{:<20}{}\n", layout.name(), layout.title()));
            print(&lines.collect::<String>())?;
            Ok(Ending::Well)
        }
        LayoutCommand::Show { name: Some(name) } => {
            let Some(layout) = format::built_in(name) else {
                let names = format::names().iter().filter(|name| format::built_in(name).is_some());
                let names: Vec<&str> = names.copied().collect();
                let expected = names.join(", ");
                let why = format!("expected a built-in layout: {expected}, found `{name}`");
                return Err(Failure::Usage(anyhow::anyhow!(why)));
            };
            print(layout.text())?;
            Ok(Ending::Well)
        }
    }
}

fn check(flags: &CheckFlags) -> Result<Ending, Failure> {
    let name = flags.layout.display().to_string();
    let text = std::fs::read_to_string(&flags.layout)
        .with_context(|| format!("the layout {name} can't be read"))
        .map_err(Failure::usage)?;
    let layout = match Layout::parse(&text) {
        Ok(layout) => Arc::new(layout),
        Err(mistakes) => {
            let told = explained(&name, &text, &mistakes);
            return Err(Failure::Usage(anyhow::anyhow!(told)));
        }
    };
    print(&format!("{name}: {}: {}\n{}\n", layout.name(), layout.title(), layout.summary()))?;
    match &flags.sample {
        None => Ok(Ending::Well),
        Some(sample) => read(flags, &layout, sample),
    }
}

/// Every mistake with its line, and a mark below where it is.
fn explained(name: &str, text: &str, mistakes: &[Mistake]) -> String {
    let mut told = crate::layout::counted(name, mistakes);
    for mistake in mistakes {
        let Mistake { line, column, expected, found, remedy } = mistake;
        let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let mark = " ".repeat(column.saturating_sub(1));
        let _ = write!(
            told,
            "\n\n{name}, line {line}, column {column}\n  | {source}\n  | {mark}^\n  \
             expected {expected}\n  found {found}"
        );
        if let Some(remedy) = remedy {
            let _ = write!(told, "\n  {remedy}");
        }
    }
    told
}

/// Reads a sample by the layout, and shows what it is.
fn read(flags: &CheckFlags, layout: &Arc<Layout>, sample: &Path) -> Result<Ending, Failure> {
    let limits = Limits { bytes_max: SAMPLE_BYTES_MAX, ratio_max: 1_000 };
    let mut input = Content::open(sample, limits)?;
    let mut content = Vec::new();
    while let Some(chunk) = input.next()? {
        content.extend_from_slice(&chunk.bytes);
        if content.len() as u64 > SAMPLE_BYTES_MAX {
            let why = "the sample has more than 64 MiB; cut it, or read it with parse --layout";
            return Err(Failure::Usage(anyhow::anyhow!(why)));
        }
    }
    let settings = Settings {
        format: layout.name().to_owned(),
        layout: Some(Arc::clone(layout)),
        encoding: flags.encoding.unwrap_or(layout.encoding()),
        framing: Framing::Auto,
        side: flags.side,
        posted: flags.posted_amount,
        record_bytes_max: RECORD_BYTES_MAX,
    };
    if let Some(why) = settings.misfit() {
        return Err(Failure::Usage(anyhow::anyhow!(why)));
    }
    let mut explain = Explain::new(layout, &settings);
    let mut draft = Draft::new("check", layout.name());
    let (mut events, mut rejects) = (0_u64, 0_u64);
    loop {
        let Explained { units, step } = explain.step(&content, &mut draft);
        let is_shown = events < flags.records || step.is_err();
        let mut text = String::new();
        if is_shown {
            units.iter().try_for_each(|unit| show_unit(&mut text, unit))?;
        }
        match step {
            Ok(Step::Record) => {
                events += 1;
                if is_shown {
                    text.push_str(&event(&draft));
                }
            }
            Ok(Step::Rejected(reject)) => {
                events += 1;
                rejects += 1;
                let reason = ingest::verify::reject_reason(&draft, &reject);
                let _ = writeln!(text, "  => rejected: {reason}\n");
            }
            Ok(Step::More) => return Err(anyhow::anyhow!("the sample is not read on").into()),
            Ok(Step::End) => {
                if events > flags.records {
                    let more = counted(events - flags.records, "event");
                    let _ = writeln!(text, "and {more} more, read and not shown\n");
                }
                text.push_str(&totals(explain.summary()));
                let _ = writeln!(text, "read: {}, {rejects} rejected", counted(events, "event"));
                print(&text)?;
                return Ok(if rejects == 0 { Ending::Well } else { Ending::Findings });
            }
            Err(refusal) => {
                let _ = writeln!(text, "\nrefused: {refusal}");
                print(&text)?;
                return Ok(Ending::Findings);
            }
        }
        print(&text)?;
    }
}

/// A unit: its place and record type, then its fields.
fn show_unit(text: &mut String, unit: &ExplainedUnit) -> anyhow::Result<()> {
    let place = match unit.line {
        Some(line) => format!("line {line}, byte {}", unit.byte_offset),
        None => format!("byte {}", unit.byte_offset),
    };
    let record = unit.record.unwrap_or("of no record type");
    let _ = writeln!(text, "{place}: {record}");
    if unit.fields.is_empty() {
        return Ok(());
    }
    const COLUMNS: &[Column] = &[
        Column::text("  field"),
        Column::text("at"),
        Column::text("found"),
        Column::text("value"),
    ];
    let rows = unit.fields.iter().map(|field| {
        let value = match &field.value {
            Ok(value) if value.is_empty() => "none".to_owned(),
            Ok(value) => value.clone(),
            Err(fault) => format!("! {fault}"),
        };
        vec![format!("  {}", field.name), field.place.clone(), format!("[{}]", field.found), value]
    });
    let mut table = Vec::new();
    write_table(&mut table, COLUMNS, rows, false)?;
    text.push_str(&String::from_utf8_lossy(&table));
    Ok(())
}

/// An event in a few lines; of its account only what may be shown.
fn event(draft: &Draft) -> String {
    let ClearingRecord {
        index,
        code,
        kind,
        direction,
        amount_minor,
        currency,
        exponent,
        amounts,
        occurred_at,
        value_date,
        reference,
        counterparty,
        attributes,
        ..
    } = &draft.record;
    let money = |minor: i64, currency: &dyn std::fmt::Display, exponent| {
        format!("{} {currency}", amount(i128::from(minor), exponent))
    };
    let mut text = format!("  => event {index}: {code} {kind}, {direction}");
    if let Some(currency) = currency {
        let _ = write!(text, " {}", money(*amount_minor, currency, *exponent));
    }
    let account = match (draft.account.is_empty(), draft.account.label()) {
        (true, _) => "none".to_owned(),
        (false, label) => label.unwrap_or_else(|| "****".to_owned()),
    };
    let _ = write!(text, ", account {account}\n    ");
    let mut more: Vec<String> = Vec::new();
    more.extend(occurred_at.map(|moment| format!("occurred {moment}")));
    more.extend(value_date.map(|date| format!("value date {date}")));
    more.extend(reference.as_ref().map(|text| format!("reference {text}")));
    more.extend(counterparty.as_ref().map(|text| format!("counterparty {text}")));
    for other in amounts {
        let told = money(other.amount_minor, &other.currency, other.exponent);
        more.push(format!("{} {told}", other.role));
    }
    more.extend(attributes.iter().map(|(name, value)| format!("{name} {value}")));
    let _ =
        writeln!(text, "{}\n", if more.is_empty() { "no more".into() } else { more.join("; ") });
    text
}

/// What the file states, beside what was counted.
fn totals(summary: Option<&Summary>) -> String {
    let Some(summary) = summary else { return String::new() };
    let mut text = String::new();
    if let Some(identifier) = &summary.identifier {
        let _ = writeln!(text, "identifier: {identifier}");
    }
    for total in &summary.control_totals {
        let sign = if total.proven { "=" } else { "unproven, the file states" };
        let _ = writeln!(text, "{}: {} {sign} {}", total.name, total.seen, total.claimed);
    }
    for warning in &summary.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}
