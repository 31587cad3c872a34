//! What `parse` says of a file: its verdict, as text or as one JSON object.

use std::io::{self, BufWriter, Write};

use anyhow::Context;
use schemas::Sums;
use schemas::file::ControlTotal;
use serde::Serialize;

use super::super::content::Content;
use super::ParseFlags;
use crate::output::{amount, counted, grouped};

/// What came of a file.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) file: String,
    pub(super) verdict: &'static str,
    pub(super) reason: Option<String>,
    pub(super) format: Option<String>,
    pub(super) encoding: Option<&'static str>,
    pub(super) container: &'static str,
    pub(super) content_bytes: u64,
    pub(super) identifier: Option<String>,
    pub(super) records: u64,
    pub(super) rejects: u64,
    pub(super) totals: Sums,
    pub(super) control_totals: Vec<ControlTotal>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    /// Of a file of which nothing is read yet.
    pub(super) fn new(flags: &ParseFlags, content: &Content) -> Self {
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
    pub(super) fn unknown(flags: &ParseFlags, content: &Content) -> Self {
        let reason = Some(content.unknown().to_string());
        Self { verdict: "refused", reason, ..Self::new(flags, content) }
    }
}

/// Says on standard error what came of the file.
pub(super) fn say(flags: &ParseFlags, report: &Report) -> anyhow::Result<()> {
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
    writeln!(
        err,
        "{}: {}, {rejects} of them rejected",
        report.verdict,
        counted(records, "record")
    )?;
    match &report.reason {
        Some(reason) => writeln!(err, "reason: {reason}"),
        None => Ok(()),
    }
}
