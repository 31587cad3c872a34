//! `batchless parse FILE`: one file to events on standard output, its verdict and totals on
//! standard error. It needs nothing else: no ledger, no data directory.
//!
//! The file is read once and streamed, so memory does not grow with it. Without a ledger there is
//! no file id, no account token and no sequence: with `--data` there are, and the file is read
//! twice, because the id is made of all of its bytes.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use ingest::format::{self, Encoding, Framing, Posted, Settings, Side, Summary};
use ingest::walk::{Found, Walk};
use schemas::arrival::Reason;
use schemas::file::ControlTotal;
use schemas::{AccountKey, Digest, FileId, Sums};
use serde::Serialize;

use super::content::Content;
use super::{Ending, Failure};
use crate::event::{EventView, Standing};
use crate::output::{amount, grouped};

/// How many rejects are named unless all are asked for: enough to see the pattern.
const REJECTS_NAMED: u64 = 20;

/// What `parse` is told.
#[derive(Args, Debug)]
pub(crate) struct ParseFlags {
    /// The file; gzip is unpacked; `-` is standard input.
    file: PathBuf,
    /// Its format: ipm or nacha [default: told from its first bytes]
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// The page of its text: ascii, latin1, cp037, cp500 or cp1047 [default: told likewise]
    #[arg(long, value_name = "PAGE")]
    encoding: Option<Encoding>,
    /// How messages are laid into it: auto, vbs, blocked or rdw.
    #[arg(long, value_name = "FRAMING", default_value = "auto")]
    framing: Framing,
    /// Whose customers the accounts are: issuer or acquirer.
    #[arg(long, value_name = "SIDE", default_value = "issuer")]
    side: Side,
    /// Which amount is posted: billing or transaction.
    #[arg(long, value_name = "AMOUNT", default_value = "billing")]
    posted_amount: Posted,
    /// What to print on standard output.
    #[arg(long, value_enum, default_value = "json")]
    output: ParseOutput,
    /// Print the verdict as one JSON object on standard error, instead of text.
    #[arg(long)]
    verdict_json: bool,
    /// Name every record that can't be read, not only the first twenty.
    #[arg(long)]
    all_rejects: bool,
    /// Take ids, accounts and sequences from the ledger in this data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What `parse` prints on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ParseOutput {
    /// An event a line.
    Json,
    /// Columns, for people.
    Table,
    /// Nothing: only the verdict.
    None,
}

/// What came of a file.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    verdict: &'static str,
    reason: Option<String>,
    format: Option<String>,
    encoding: Option<&'static str>,
    container: &'static str,
    content_bytes: u64,
    identifier: Option<String>,
    records: u64,
    rejects: u64,
    totals: Sums,
    control_totals: Vec<ControlTotal>,
    warnings: Vec<String>,
}

impl Report {
    fn new(flags: &ParseFlags, content: &Content) -> Self {
        Self {
            file: flags.file.display().to_string(),
            verdict: "verified",
            reason: None,
            format: None,
            encoding: None,
            container: content.container(),
            content_bytes: 0,
            identifier: None,
            records: 0,
            rejects: 0,
            totals: Sums::new(),
            control_totals: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Of a file whose format nobody named, and whose first bytes don't tell it.
    fn unknown(flags: &ParseFlags, content: &Content, reason: &Reason) -> Self {
        let reason = Some(reason.to_string());
        Self { verdict: "refused", reason, ..Self::new(flags, content) }
    }
}

pub(crate) fn run(flags: &ParseFlags) -> Result<Ending, Failure> {
    let mut content = Content::open(&flags.file)?;
    let settings = settings(flags, content.first()).map_err(Failure::Usage)?;
    let Some(settings) = settings else {
        let reason = Reason::new("unknown_format")
            .expected_found(
                format!("a file of {}", format::names().join(" or ")),
                "first bytes of neither",
            )
            .remedy("name its format with --format to see where it departs from it");
        say(flags, &Report::unknown(flags, &content, &reason))?;
        return Ok(Ending::Findings);
    };
    let place = match &flags.data {
        Some(data) => Some(Place::read(data, &flags.file)?),
        None => None,
    };
    let mut out = Printer::new(flags.output);
    let mut reading = Reading::new(flags, &settings, &content, place)?;
    let result = reading.read(&mut content, &mut out);
    out.finish()?;
    let report = reading.report(result?, &content);
    say(flags, &report)?;
    let is_well = report.verdict == "verified" && report.rejects == 0;
    Ok(if is_well { Ending::Well } else { Ending::Findings })
}

/// The settings to read with: as told, else as the first bytes show; none where they show nothing.
fn settings(flags: &ParseFlags, first: &[u8]) -> anyhow::Result<Option<Settings>> {
    let detected = format::detect(first);
    let format = match (&flags.format, detected) {
        (Some(name), _) if format::names().contains(&name.as_str()) => name.clone(),
        (Some(name), _) => {
            anyhow::bail!(
                "--format: expected one of {}, found `{name}`",
                format::names().join(", ")
            )
        }
        (None, Some(detected)) => detected.format.to_owned(),
        (None, None) if is_text(first) => LINES.to_owned(),
        (None, None) => return Ok(None),
    };
    let seen = detected.filter(|detected| detected.format == format);
    Ok(Some(Settings {
        encoding: flags.encoding.or(seen.map(|seen| seen.encoding)).unwrap_or(Encoding::Ascii),
        format,
        framing: flags.framing,
        side: flags.side,
        posted: flags.posted_amount,
        record_bytes_max: RECORD_BYTES_MAX,
    }))
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

/// As a feed's default.
const RECORD_BYTES_MAX: usize = 65_536;

/// The ledger that a file is seen in.
struct Place {
    file_id: FileId,
    key: AccountKey,
    sequences: Vec<i64>,
}

impl Place {
    /// Reads the whole content once, for its digest.
    fn read(data: &Path, file: &Path) -> Result<Self, Failure> {
        let ledger = crate::data::DataDirectory::open(data)?.ledger()?;
        let mut content = Content::open(file)?;
        let mut digest = <sha2::Sha256 as sha2::Digest>::new();
        while let Some(chunk) = content.next()? {
            sha2::Digest::update(&mut digest, &chunk.bytes);
        }
        let digest = Digest(sha2::Digest::finalize(digest).into());
        Ok(Self {
            file_id: FileId::new(&ledger.name, 0, &digest),
            key: ledger.key,
            sequences: vec![0; ledger.shards as usize],
        })
    }

    fn standing(&mut self, account: &schemas::AccountText) -> Standing {
        let account = self.key.account(account);
        let shards = u32::try_from(self.sequences.len()).unwrap_or(1);
        let shard = match &account {
            Some(account) => account.shard(shards),
            None => schemas::account::spread(self.file_id.spread(), shards),
        };
        let next = self.sequences.get_mut(shard as usize).map(|next| {
            *next += 1;
            *next - 1
        });
        Standing { file_id: Some(self.file_id), sequence: next, account, label: None }
    }
}

/// A file being read, and what was counted so far.
struct Reading {
    walk: Walk,
    place: Option<Place>,
    report: Report,
    rejects_named: u64,
}

impl Reading {
    fn new(
        flags: &ParseFlags,
        settings: &Settings,
        content: &Content,
        place: Option<Place>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            walk: Walk::new("parse", settings)?,
            place,
            report: Report {
                format: Some(settings.format.clone()),
                encoding: Some(settings.encoding.as_str()),
                ..Report::new(flags, content)
            },
            rejects_named: if flags.all_rejects { u64::MAX } else { REJECTS_NAMED },
        })
    }

    /// Reads to the end, or to where the file can't be read.
    fn read(
        &mut self,
        content: &mut Content,
        out: &mut Printer,
    ) -> anyhow::Result<Result<(), Reason>> {
        loop {
            let chunk = match content.next() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    return Ok(Err(Reason::new("not_ended")
                        .expected_found("the end of the file's trailer", "the end of the file")));
                }
                Err(super::content::Error::Damaged(reason)) => return Ok(Err(*reason)),
                Err(super::content::Error::Io(error)) => return Err(error),
            };
            self.walk.feed(&chunk.bytes, chunk.is_last);
            loop {
                match self.walk.step() {
                    Ok(Found::More) => break,
                    Ok(Found::Record) => self.take(out)?,
                    Ok(Found::Rejected(reject)) => self.reject(&reject)?,
                    Ok(Found::End) => return Ok(Ok(())),
                    Err(format::Refusal(reason)) => return Ok(Err(*reason)),
                }
            }
        }
    }

    fn take(&mut self, out: &mut Printer) -> anyhow::Result<()> {
        self.report.records += 1;
        let draft = &self.walk.draft;
        let record = &draft.record;
        if let Some(currency) = record.currency {
            let added = (currency, record.exponent, record.amount_minor);
            self.report.totals.add(&record.direction, added.0, added.1, added.2)?;
        }
        if out.output == ParseOutput::None {
            return Ok(());
        }
        let mut standing =
            self.place.as_mut().map_or_else(Standing::default, |p| p.standing(&draft.account));
        standing.label = draft.account.label();
        out.print(record, standing)
    }

    /// Names the record that can't be read, at once: there may be many.
    fn reject(&mut self, reject: &format::Reject) -> anyhow::Result<()> {
        self.report.records += 1;
        self.report.rejects += 1;
        if self.report.rejects <= self.rejects_named {
            let reason = ingest::verify::reject_reason(&self.walk.draft, reject);
            writeln!(io::stderr(), "rejected: {reason}")?;
        } else if self.report.rejects == self.rejects_named.saturating_add(1) {
            writeln!(io::stderr(), "rejected: more; --all-rejects names them")?;
        }
        Ok(())
    }

    fn report(self, result: Result<(), Reason>, content: &Content) -> Report {
        let mut report = self.report;
        report.content_bytes = content.bytes();
        if let Some(Summary { identifier, control_totals, warnings, .. }) = self.walk.summary() {
            report.identifier.clone_from(identifier);
            report.control_totals.clone_from(control_totals);
            report.warnings = warnings.iter().map(ToString::to_string).collect();
        }
        if let Err(reason) = result {
            report.verdict = "refused";
            report.reason = Some(reason.to_string());
        } else if report.control_totals.iter().any(|total| !total.proven) {
            report.verdict = "unproven";
        }
        report
    }
}

/// Prints events as they come.
struct Printer {
    output: ParseOutput,
    out: BufWriter<io::StdoutLock<'static>>,
    has_head: bool,
}

impl Printer {
    fn new(output: ParseOutput) -> Self {
        // Larger than the default, because an event has some 700 bytes.
        let out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
        Self { output, out, has_head: false }
    }

    fn print(
        &mut self,
        record: &schemas::ClearingRecord,
        standing: Standing,
    ) -> anyhow::Result<()> {
        if self.output == ParseOutput::Json {
            serde_json::to_writer(&mut self.out, &EventView::new(record, standing))?;
            self.out.write_all(b"\n")?;
            return Ok(());
        }
        if !self.has_head {
            self.has_head = true;
            let (index, code, kind, account, amount, currency) =
                ("index", "code", "kind", "account", "amount", "");
            writeln!(
                self.out,
                "{index:>9}  {code:<9} {kind:<13} {account:<9} {amount:>18} {currency:<3}  reference"
            )?;
        }
        let (index, code, kind) = (record.index, &record.code, &record.kind);
        let label = standing.label.as_deref().unwrap_or("-");
        let sign = if record.direction == schemas::Direction::DEBIT { -1 } else { 1 };
        let amount = amount(i128::from(record.amount_minor) * sign, record.exponent);
        let currency = record.currency.map_or_else(String::new, |currency| currency.to_string());
        let reference = record.reference.as_deref().unwrap_or("-");
        Ok(writeln!(
            self.out,
            "{index:>9}  {code:<9} {kind:<13} {label:<9} {amount:>18} {currency:<3}  {reference}"
        )?)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        Ok(self.out.flush()?)
    }
}

/// Says on standard error what came of the file.
fn say(flags: &ParseFlags, report: &Report) -> anyhow::Result<()> {
    let mut err = BufWriter::new(io::stderr().lock());
    let written = if flags.verdict_json {
        serde_json::to_writer(&mut err, report)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(err))
    } else {
        write_text(&mut err, report)
    };
    written.and_then(|()| err.flush()).context("standard error can't be written")
}

fn write_text(err: &mut impl Write, report: &Report) -> io::Result<()> {
    let packed = match report.container {
        "none" => String::new(),
        container => format!(", packed with {container}"),
    };
    if let (Some(format), Some(encoding)) = (&report.format, report.encoding) {
        let bytes = grouped(&report.content_bytes.to_string());
        writeln!(err, "{}: {format} in {encoding}{packed}, {bytes} bytes", report.file)?;
    }
    for sum in report.totals.iter() {
        writeln!(
            err,
            "  {}: {} debits {}, {} credits {}",
            sum.currency,
            sum.debits,
            amount(i128::from(sum.debits_minor), sum.exponent),
            sum.credits,
            amount(i128::from(sum.credits_minor), sum.exponent),
        )?;
    }
    for total in &report.control_totals {
        let sign = if total.proven { "=" } else { "unproven, the file states" };
        writeln!(err, "  {}: {} {sign} {}", total.name, total.seen, total.claimed)?;
    }
    for warning in &report.warnings {
        writeln!(err, "  warning: {warning}")?;
    }
    let (records, rejects) = (report.records, report.rejects);
    writeln!(err, "{}: {records} records, {rejects} of them rejected", report.verdict)?;
    match &report.reason {
        Some(reason) => writeln!(err, "reason: {reason}"),
        None => Ok(()),
    }
}
