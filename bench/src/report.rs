//! The figures, as a table or as lines of JSON.

use std::fmt;

use serde::Serialize;

use crate::cost::Cost;
use crate::stage::Stage;

/// What all stages cost for one file.
#[derive(Debug)]
pub(crate) struct Report {
    format: String,
    records: u64,
    accounts: u64,
    /// The size of the file.
    pub(crate) bytes: u64,
    costs: Vec<(Stage, Cost)>,
}

/// The figures of one stage. Sums are in whole units and ratios in percent: nothing is rounded to
/// look better.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    format: &'a str,
    stage: &'static str,
    is_limit: bool,
    /// Of the file, for every stage.
    records: u64,
    /// Over how many accounts they are spread.
    accounts: u64,
    /// Of the file, for every stage.
    bytes: u64,
    wall_us: u64,
    cpu_us: u64,
    records_per_second: u64,
    bytes_per_second: u64,
    cpu_ns_per_record: u64,
    peak_bytes: u64,
    /// The slowest of the limits that the stage has.
    bound_by: Option<&'static str>,
    /// The stage's time in percent of that limit's.
    wall_percent_of_limit: Option<u64>,
    /// The stage's CPU time in percent of that limit's.
    cpu_percent_of_limit: Option<u64>,
}

impl Report {
    /// Nothing yet, for a file of so many records over so many accounts.
    pub(crate) fn new(format: &str, records: u64, accounts: u64) -> Self {
        Self { format: format.to_owned(), records, accounts, bytes: 0, costs: Vec::new() }
    }

    /// Takes what a stage cost; of several times the fastest is kept, and the most memory.
    pub(crate) fn add(&mut self, stage: Stage, cost: Cost) {
        let Some((_, kept)) = self.costs.iter_mut().find(|(other, _)| *other == stage) else {
            self.costs.push((stage, cost));
            return;
        };
        let peak_bytes = kept.peak_bytes.max(cost.peak_bytes);
        let fastest = if cost.wall_us < kept.wall_us { cost } else { *kept };
        *kept = Cost { peak_bytes, ..fastest };
    }

    /// A line for each stage.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.costs.iter().map(|(stage, cost)| self.line(*stage, cost))
    }

    fn line(&self, stage: Stage, cost: &Cost) -> Line<'_> {
        let limits = self.costs.iter().filter(|(other, _)| stage.limits().contains(other));
        let bound_by = limits.max_by_key(|(_, limit)| limit.wall_us);
        let percent = |part: u64, of: u64| part * 100 / of.max(1);
        Line {
            format: &self.format,
            stage: stage.name(),
            is_limit: stage.is_limit(),
            records: self.records,
            accounts: self.accounts,
            bytes: self.bytes,
            wall_us: cost.wall_us,
            cpu_us: cost.cpu_us,
            records_per_second: self.records * 1_000_000 / cost.wall_us.max(1),
            bytes_per_second: self.bytes * 1_000_000 / cost.wall_us.max(1),
            cpu_ns_per_record: cost.cpu_us * 1_000 / self.records.max(1),
            peak_bytes: cost.peak_bytes,
            bound_by: bound_by.map(|(limit, _)| limit.name()),
            wall_percent_of_limit: bound_by.map(|(_, limit)| percent(cost.wall_us, limit.wall_us)),
            cpu_percent_of_limit: bound_by.map(|(_, limit)| percent(cost.cpu_us, limit.cpu_us)),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, records, accounts, bytes, .. } = self;
        let size = tenths(*bytes, 1_000_000);
        writeln!(f, "{format}: {records} records over {accounts} accounts, {size} MB")?;
        writeln!(
            f,
            "{:<18} {:>10} {:>8} {:>11} {:>8}   {:<16} {:>7} {:>7}",
            "stage", "records/s", "MB/s", "CPU µs/rec.", "peak MB", "bound by", "time", "CPU"
        )?;
        for line in self.lines() {
            if line.stage == Stage::Beside.name() {
                let took = hundredths(line.wall_us, 1_000_000);
                writeln!(f, "{} of 1 KB: reconciled {took} s after its drop", line.stage)?;
                continue;
            }
            let name = match line.is_limit {
                true => format!("({})", line.stage),
                false => line.stage.to_owned(),
            };
            write!(
                f,
                "{name:<18} {:>10} {:>8} {:>11} {:>8}",
                line.records_per_second,
                tenths(line.bytes_per_second, 1_000_000),
                hundredths(line.cpu_ns_per_record, 1_000),
                tenths(line.peak_bytes, 1_000_000),
            )?;
            if let (Some(limit), Some(wall), Some(cpu)) =
                (line.bound_by, line.wall_percent_of_limit, line.cpu_percent_of_limit)
            {
                let (wall, cpu) = (tenths(wall, 100), tenths(cpu, 100));
                write!(f, "   {limit:<16} {:>7} {:>7}", format!("{wall} x"), format!("{cpu} x"))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A number of units with one decimal, rounded to the nearest.
fn tenths(value: u64, unit: u64) -> String {
    let tenths = (value * 10 + unit / 2) / unit;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A number of units with two decimals, rounded to the nearest.
fn hundredths(value: u64, unit: u64) -> String {
    let hundredths = (value * 100 + unit / 2) / unit;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
