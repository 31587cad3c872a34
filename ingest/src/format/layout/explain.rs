//! A sample taken apart, for whoever writes a layout: each unit with its fields, where they are,
//! what stands there and what it means.

use std::sync::Arc;

use super::context::View;
use super::field::{Cell, LONG};
use super::group::Piece;
use super::model::{FieldRef, Form, Layout, Place, Scale};
use super::reader::LayoutReader;
use crate::format::cut::{Memory, Next};
use crate::format::{Draft, Refusal, Settings, Step};

/// A unit of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedUnit {
    /// Its line, from 1, where content has lines.
    pub line: Option<i64>,
    /// Where it begins, from 0.
    pub byte_offset: i64,
    /// The name of its record type; none where it is of none.
    pub record: Option<&'static str>,
    /// Its fields, in the order of the layout.
    pub fields: Vec<ExplainedField>,
}

/// A field of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedField {
    /// Its name.
    pub name: &'static str,
    /// Where it is: `82-96`, `cell 3`, or the name of its column.
    pub place: String,
    /// What stands there; of a text that may be the number of an account the last four digits only.
    pub found: String,
    /// What it means, or why it can't be read.
    pub value: Result<String, String>,
}

/// A reader that explains what it reads.
#[derive(Debug)]
pub struct Explain {
    layout: Arc<Layout>,
    reader: LayoutReader,
}

/// What a step read: the units that it used, and what became of them.
#[derive(Debug)]
pub struct Explained {
    /// The units, in order.
    pub units: Vec<ExplainedUnit>,
    /// What [`crate::format::Reader::step`] gives.
    pub step: Result<Step, Refusal>,
}

impl Explain {
    /// At the beginning of a sample.
    pub fn new(layout: &Arc<Layout>, settings: &Settings) -> Self {
        Self { layout: Arc::clone(layout), reader: LayoutReader::new(layout, settings) }
    }

    /// Reads on in the whole content of a sample.
    pub fn step(&mut self, content: &[u8], draft: &mut Draft) -> Explained {
        let from = usize::try_from(self.reader.offset()).unwrap_or(usize::MAX);
        let (memory, line) = self.reader.stand();
        let rest = content.get(from..).unwrap_or_default();
        let step = self.reader.step(rest, true, draft);
        let used = match &step {
            Ok((used, _)) => *used,
            // Up to what can't be read, that included.
            Err(refusal) => {
                let at = refusal.0.byte_offset.unwrap_or_default();
                let at = usize::try_from(at).unwrap_or_default();
                at.saturating_sub(from).saturating_add(1)
            }
        };
        let begins = i64::try_from(from).unwrap_or(i64::MAX);
        let units = self.units(rest, used, memory, line, begins);
        Explained { units, step: step.map(|(_, step)| step) }
    }

    /// What the file says of itself, once the last step gave the end.
    pub fn summary(&self) -> Option<&crate::format::Summary> {
        self.reader.summary()
    }

    /// The units that begin within the first so many bytes.
    fn units(
        &self,
        rest: &[u8],
        used: usize,
        mut memory: Memory,
        mut line: i64,
        from: i64,
    ) -> Vec<ExplainedUnit> {
        let cutter = self.reader.cutter();
        let mut units = Vec::new();
        let mut at = 0_usize;
        while at < used {
            let here = rest.get(at..).unwrap_or_default();
            let unit = match cutter.next(memory, here, true) {
                Ok(Next::Unit(unit)) => unit,
                Ok(Next::Blank(blank)) => {
                    at = at.saturating_add(blank.length);
                    line = line.saturating_add(blank.lines);
                    memory = blank.after;
                    continue;
                }
                _ => break,
            };
            let begins = at.saturating_add(unit.skipped);
            if begins >= used {
                break;
            }
            line = line.saturating_add(unit.lines_skipped);
            let mut piece = Piece::default();
            let record = self.reader.take_apart(&unit, &mut piece);
            let offset = from.saturating_add(i64::try_from(begins).unwrap_or(i64::MAX));
            units.push(ExplainedUnit {
                line: cutter.has_lines(unit.after).then_some(line),
                byte_offset: offset,
                record: record.and_then(|at| Some(self.layout.records.get(at)?.name)),
                fields: record.map_or(Vec::new(), |_| self.fields(&piece)),
            });
            line = line.saturating_add(unit.lines);
            at = at.saturating_add(unit.skipped).saturating_add(unit.length);
            memory = unit.after;
        }
        units
    }

    fn fields(&self, piece: &Piece) -> Vec<ExplainedField> {
        let pieces = std::slice::from_ref(piece);
        let view = View { pieces, ..self.reader.view(0) };
        let count = self.layout.records.get(piece.record).map_or(0, |record| record.fields.len());
        let at = |field| FieldRef { family: piece.family, field };
        (0..count).filter_map(|field| Some(self.field(&view, view.cell(at(field))?))).collect()
    }

    fn field(&self, view: &View<'_>, cell: Cell<'_>) -> ExplainedField {
        let place = match cell.field.place {
            Place::Columns(first, last) if first == last => first.to_string(),
            Place::Columns(first, last) => format!("{first}-{last}"),
            Place::Cell(at) => format!("cell {at}"),
            Place::Named(at) => self.layout.columns.get(at).cloned().unwrap_or_default(),
        };
        let value = value(view, &cell).map_err(|fault| {
            format!("{}: expected {}", fault.reason.replace('_', " "), fault.expected)
        });
        ExplainedField { name: cell.field.name, place, found: found(view, &cell), value }
    }
}

/// What stands in a field, as it may be shown.
fn found(view: &View<'_>, cell: &Cell<'_>) -> String {
    let mut found = String::new();
    if cell.field.is_secret() {
        return hidden(if cell.field.is_raw() { &[] } else { cell.bytes });
    }
    match (cell.field.is_raw(), is_no_account(view, cell)) {
        (true, true) => found.extend(cell.bytes.iter().map(|byte| format!("{byte:02x}"))),
        (true, false) => found.push_str("****"),
        (false, true) => view.encoding.push_text(&mut found, cell.bytes),
        (false, false) => view.encoding.push_free_text(&mut found, cell.bytes),
    }
    found
}

/// A part of an account's number, as events show the account: the last four of nine digits or more.
fn hidden(bytes: &[u8]) -> String {
    let digits: Vec<u8> = bytes.iter().copied().filter(u8::is_ascii_digit).collect();
    let from = if digits.len() < LONG { digits.len() } else { digits.len().saturating_sub(4) };
    let last = digits.get(from..).unwrap_or_default();
    std::iter::once("****").chain(std::str::from_utf8(last)).collect()
}

/// True where a field doesn't hold the number of an account, or the layout says that it doesn't: a
/// number with a point in it, a date. What can't be read as one may be anything.
fn is_no_account(view: &View<'_>, cell: &Cell<'_>) -> bool {
    let is_amount = match &cell.field.form {
        Form::Number(number) => number.scale != Scale::Fixed(0) && cell.number().is_ok(),
        Form::Date(_) => cell.moment(view.near(cell)).is_ok(),
        Form::Text | Form::Digits => false,
    };
    is_amount || cell.field.show || (cell.field.is_raw() && cell.bytes.len() < RAW_LONG)
}

/// So many bytes of packed digits may be the number of an account.
const RAW_LONG: usize = LONG.div_ceil(2);

/// What a field means.
fn value(view: &View<'_>, cell: &Cell<'_>) -> Result<String, crate::format::fault::Fault> {
    let mut value = String::new();
    match &cell.field.form {
        Form::Date(_) => {
            if let Some(moment) = cell.moment(view.near(cell))? {
                value = moment.to_string();
            }
        }
        _ if cell.field.is_secret() => {
            cell.push(&mut value, view.encoding, None, true)?;
            value = if value.is_empty() { value } else { hidden(value.as_bytes()) };
        }
        _ => cell.push(&mut value, view.encoding, None, is_no_account(view, cell))?,
    }
    Ok(value)
}
