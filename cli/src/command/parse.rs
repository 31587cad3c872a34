//! `batchless parse FILE`: one file to events on standard output, its verdict and totals on
//! standard error. It needs nothing else: no ledger, no data directory.
//!
//! The file is read once and streamed, so memory does not grow with it, and events are out before
//! the verdict is: the exit code says whether they may be used. Without a ledger there is
//! no file id, no account token and no sequence: with `--data` there are, and the file is read
//! twice, because the id is made of all of its bytes.

mod report;
mod rules;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ingest::container::Limits;
use ingest::feed::RejectLimit;
use ingest::format::{self, Control, Encoding, Framing, Posted, Refusal, Settings, Side, Summary};
use ingest::walk::{Found, Walk};
use schemas::arrival::Reason;
use schemas::{AccountKey, Digest, FileId};

use self::report::{Report, say};
use self::rules::Rules;
use super::books::{Books, BooksFlags, block_on};
use super::content::Content;
use super::{Ending, Failure};
use crate::event::{EventView, Standing};
use crate::output::{Output, amount};

/// How many rejects are named unless all are asked for: enough to see the pattern.
const REJECTS_NAMED: u64 = 20;

/// The code of a refusal by a feed's limit; what it found is how many there are.
pub(crate) const TOO_MANY_BAD_RECORDS: &str = "too_many_bad_records";

/// What `parse` is told.
#[derive(Args, Debug)]
pub(crate) struct ParseFlags {
    /// The file; gzip and zstd are unpacked; `-` is standard input.
    file: PathBuf,
    /// Its format: ipm, nacha or the name of a built-in layout [default: told from its first bytes]
    #[arg(long, value_name = "NAME")]
    format: Option<String>,
    /// A layout that describes it, in place of a format.
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    layout: Option<PathBuf>,
    /// The page of its text: ascii, latin1, utf8, cp037, cp500, cp1140 or cp1047 [default: told
    /// likewise]
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
    #[arg(long, value_name = "DIR", group = "ledger")]
    data: Option<PathBuf>,
    /// Or from the ledger of this configuration, where log or store is a server.
    #[arg(long, value_name = "FILE", group = "ledger")]
    config: Option<PathBuf>,
    /// Read by the settings and limits of this feed of the ledger.
    #[arg(
        long,
        value_name = "NAME",
        requires = "ledger",
        conflicts_with_all = ["format", "layout", "encoding", "framing", "side", "posted_amount"]
    )]
    feed: Option<String>,
}

impl ParseFlags {
    /// The ledger that the file is seen in, where one is named.
    fn books(&self) -> anyhow::Result<Option<Books>> {
        if self.data.is_none() && self.config.is_none() {
            return Ok(None);
        }
        let (config, data) = (self.config.clone(), self.data.clone());
        Books::open(&BooksFlags { config, data, output: Output::Table }).map(Some)
    }
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

pub(crate) fn run(flags: &ParseFlags) -> Result<Ending, Failure> {
    let books = match flags.books() {
        Err(error) if flags.feed.is_some() => return Err(Failure::Usage(error)),
        books => books?,
    };
    if books.is_some() && flags.file == Path::new("-") {
        let why = "--data: the file is read twice, and standard input is there once; give a file";
        return Err(Failure::Usage(anyhow::anyhow!(why)));
    }
    let rules = Rules::new(flags, books.as_ref()).map_err(Failure::Usage)?;
    let mut content = Content::open(&flags.file, rules.limits)?;
    let settings = rules.settings(flags, content.first()).map_err(Failure::Usage)?;
    let Some(settings) = settings else {
        say(flags, &Report::unknown(flags, &content))?;
        return Ok(Ending::Findings);
    };
    let mut reading = Reading::new(flags, &rules, &settings, &content)?;
    let mut out = Printer::new(flags.output);
    let result = match &books {
        Some(books) => reading.place(books, &flags.file, rules.limits)?,
        None => Ok(()),
    };
    let result = match result {
        Ok(()) => reading.read(&mut content, &mut out),
        Err(refusal) => Ok(Err(refusal)),
    };
    out.finish()?;
    let report = reading.report(result?, rules.reject_limit, &content);
    say(flags, &report)?;
    let is_well = report.verdict == "verified" && report.rejects == 0;
    Ok(if is_well { Ending::Well } else { Ending::Findings })
}

/// The ledger that a file is seen in.
struct Place {
    file_id: FileId,
    key: AccountKey,
    sequences: Vec<i64>,
}

impl Place {
    /// Reads the whole content once, for its digest.
    fn read(books: &Books, file: &Path, limits: Limits) -> Result<Self, super::content::Error> {
        use super::content::Error::Io;
        let of_ledger = async {
            let name = books.ledger().await?.name.clone();
            Ok((name, books.shards().await?, books.ledger_key().await?))
        };
        let (name, shards, key) = block_on(of_ledger).map_err(Io)?;
        let mut content = Content::open(file, limits).map_err(Io)?;
        let mut digest = <sha2::Sha256 as sha2::Digest>::new();
        while let Some(chunk) = content.next()? {
            sha2::Digest::update(&mut digest, &chunk.bytes);
        }
        let digest = Digest(sha2::Digest::finalize(digest).into());
        Ok(Self {
            file_id: FileId::new(&name, 0, &digest),
            key,
            sequences: vec![0; shards as usize],
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
    /// What the records add to the file's own totals.
    control: Control,
    rejects_named: u64,
}

impl Reading {
    fn new(
        flags: &ParseFlags,
        rules: &Rules,
        settings: &Settings,
        content: &Content,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            walk: Walk::new(&rules.feed, settings)?,
            place: None,
            control: Control::default(),
            report: Report {
                format: Some(settings.format.clone()),
                encoding: Some(settings.encoding.as_str()),
                ..Report::new(flags, content)
            },
            rejects_named: if flags.all_rejects { u64::MAX } else { REJECTS_NAMED },
        })
    }

    /// Sees the file in the ledger of a data directory; a damaged container refuses it.
    fn place(
        &mut self,
        books: &Books,
        file: &Path,
        limits: Limits,
    ) -> anyhow::Result<Result<(), Refusal>> {
        match Place::read(books, file, limits) {
            Ok(place) => {
                self.place = Some(place);
                Ok(Ok(()))
            }
            Err(super::content::Error::Damaged(reason)) => Ok(Err(Refusal(reason))),
            Err(super::content::Error::Io(error)) => Err(error),
        }
    }

    /// Reads to the end, or to where the file can't be read.
    fn read(
        &mut self,
        content: &mut Content,
        out: &mut Printer,
    ) -> anyhow::Result<Result<(), Refusal>> {
        loop {
            let chunk = match content.next() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    let reason = Reason::new("not_ended")
                        .expected_found("the end of the file's trailer", "the end of the file");
                    return Ok(Err(Refusal::new(reason)));
                }
                Err(super::content::Error::Damaged(reason)) => return Ok(Err(Refusal(reason))),
                Err(super::content::Error::Io(error)) => return Err(error),
            };
            self.walk.feed(&chunk.bytes, chunk.is_last);
            loop {
                let control = match self.walk.step() {
                    Ok(Found::More) => break,
                    Ok(Found::Record) => {
                        if let Err(refusal) = self.count() {
                            return Ok(Err(refusal));
                        }
                        self.print(out)?;
                        self.walk.draft.control
                    }
                    Ok(Found::Rejected(reject)) => {
                        self.reject(&reject)?;
                        reject.control.unwrap_or_default()
                    }
                    Ok(Found::End) => return Ok(Ok(())),
                    Err(refusal) => return Ok(Err(refusal)),
                };
                if let Err(refusal) = self.add(control) {
                    return Ok(Err(refusal));
                }
            }
        }
    }

    /// Counts the record that was read, and adds its amount.
    fn count(&mut self) -> Result<(), Refusal> {
        self.report.records += 1;
        let record = &self.walk.draft.record;
        let Some(currency) = record.currency else { return Ok(()) };
        let (exponent, minor) = (record.exponent, record.amount_minor);
        let added = self.report.totals.add(&record.direction, currency, exponent, minor);
        added.map_err(|overflow| too_large(&overflow.to_string()))
    }

    fn print(&mut self, out: &mut Printer) -> anyhow::Result<()> {
        let draft = &self.walk.draft;
        let record = &draft.record;
        if out.output == ParseOutput::None {
            return Ok(());
        }
        let mut standing =
            self.place.as_mut().map_or_else(Standing::default, |p| p.standing(&draft.account));
        standing.label = draft.account.label();
        out.print(record, standing)
    }

    /// Adds what the record adds to the file's own totals.
    fn add(&mut self, control: Control) -> Result<(), Refusal> {
        let sums = &mut self.control;
        for (sum, amount) in [
            (&mut sums.debits, control.debits),
            (&mut sums.credits, control.credits),
            (&mut sums.unsigned, control.unsigned),
        ] {
            *sum = sum.checked_add(amount).ok_or_else(|| too_large("a larger one"))?;
        }
        Ok(())
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

    fn report(self, result: Result<(), Refusal>, limit: RejectLimit, content: &Content) -> Report {
        let mut report = self.report;
        report.content_bytes = content.bytes();
        if let Some(Summary { identifier, control_totals, warnings, .. }) = self.walk.summary() {
            report.identifier.clone_from(identifier);
            report.control_totals.clone_from(control_totals);
            report.warnings = warnings.iter().map(ToString::to_string).collect();
        }
        let result = result.and_then(|()| within(limit, report.rejects, report.records));
        if let Err(Refusal(reason)) = result {
            report.verdict = "refused";
            report.reason = Some(reason.to_string());
        } else if report.control_totals.iter().any(|total| !total.proven) {
            report.verdict = "unproven";
        }
        report
    }
}

/// As a verdict has it: nothing of such a file is published.
fn too_large(found: &str) -> Refusal {
    let reason = Reason::new("sum_too_large");
    Refusal::new(reason.expected_found("sums that fit in 64 bits", found))
}

/// Whether bad records are so few that a feed of this limit takes the file.
fn within(limit: RejectLimit, rejects: u64, records: u64) -> Result<(), Refusal> {
    if !limit.is_exceeded(rejects, records) {
        return Ok(());
    }
    let percent = limit.percent;
    let expected = format!("at most {percent} % of {records} records that can't be read");
    let reason = Reason::new(TOO_MANY_BAD_RECORDS)
        .expected_found(expected, rejects.to_string())
        .remedy("see the first of them; is it the right format and code page?");
    Err(Refusal::new(reason))
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
