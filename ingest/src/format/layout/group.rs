//! From units to groups: a record that begins an event, and those that belong to it.

use super::context::View;
use super::field::Cell;
use super::model::{Cut, Event, Field, FieldRef, Layout, Place, Record, Role, Test, Tested};
use crate::format::Encoding;
use crate::format::columns::{masked, shown};
use crate::format::cut::{Cutter, Fields, Unit};
use crate::format::fault::Fault;

/// A unit made ready to be read: padded, translated, or taken apart into cells. Used again for
/// others, so that its buffers are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Piece {
    /// Its record type.
    pub(super) record: usize,
    /// The family of that.
    pub(super) family: usize,
    /// The characters, in ISO 8859-1.
    text: Vec<u8>,
    /// The content's own bytes, where fields are read from them.
    raw: Vec<u8>,
    cells: Fields,
    is_overlong: bool,
}

/// How units are made ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Making {
    encoding: Encoding,
    /// Characters of a unit; none where units vary.
    length: Option<usize>,
    has_cells: bool,
    /// True where fields are read from the content's own bytes.
    keeps_raw: bool,
    /// True where all of a unit is text.
    pub(super) is_text: bool,
}

impl Making {
    pub(super) fn of(layout: &Layout, encoding: Encoding) -> Self {
        let mut fields = layout.records.iter().flat_map(|record| record.fields.iter().flatten());
        let has_raw = fields.any(Field::is_raw);
        Self {
            encoding,
            length: (layout.length > 0).then_some(layout.length),
            has_cells: matches!(layout.cut, Cut::Rows(_)),
            keeps_raw: has_raw && encoding.is_ebcdic(),
            is_text: !has_raw,
        }
    }

    /// Makes a unit ready.
    #[inline]
    pub(super) fn make(self, unit: &Unit<'_>, cutter: &Cutter, piece: &mut Piece) {
        piece.is_overlong = false;
        if self.has_cells {
            cutter.fields(unit.bytes, &mut piece.cells);
            if let Some(page) = self.encoding.page() {
                piece.cells.translate(page);
            }
            return;
        }
        let (bytes, behind) = match self.length {
            Some(length) => unit.bytes.split_at_checked(length).unwrap_or((unit.bytes, &[])),
            None => (unit.bytes, &[][..]),
        };
        let blank = self.encoding.byte(b' ');
        piece.is_overlong = behind.iter().any(|byte| *byte != blank);
        let length = self.length.unwrap_or(bytes.len());
        piece.text.clear();
        match self.encoding.page() {
            None => piece.text.extend_from_slice(bytes),
            Some(page) => piece.text.extend(
                bytes.iter().map(|byte| page.get(usize::from(*byte)).copied().unwrap_or(b' ')),
            ),
        }
        piece.text.resize(length, b' ');
        if self.keeps_raw {
            piece.raw.clear();
            piece.raw.extend_from_slice(bytes);
            piece.raw.resize(length, blank);
        }
    }
}

impl Piece {
    /// A record of this type and text.
    #[cfg(test)]
    pub(super) fn of(layout: &Layout, record: usize, text: Vec<u8>) -> Self {
        let family = layout.records.get(record).map_or(0, |record| record.family);
        Self { record, family, text, ..Self::default() }
    }

    /// What stands at a place; none where the unit ends before that.
    #[inline]
    fn at(&self, place: Place, columns: &[usize]) -> Option<&[u8]> {
        match place {
            Place::Columns(first, last) => self.text.get(first.checked_sub(1)?..last),
            Place::Cell(cell) => self.cells.get(cell.checked_sub(1)?),
            Place::Named(name) => self.cells.get(*columns.get(name)?),
        }
    }

    /// A field of this record; none where it has it not, or ends before it.
    #[inline]
    pub(super) fn cell<'a>(
        &'a self,
        layout: &'a Layout,
        at: FieldRef,
        columns: &[usize],
    ) -> Option<Cell<'a>> {
        let field = layout.records.get(self.record)?.fields.get(at.field)?.as_ref()?;
        let bytes = match field.place {
            Place::Columns(first, last) if field.is_raw() && !self.raw.is_empty() => {
                self.raw.get(first.checked_sub(1)?..last)?
            }
            place => self.at(place, columns)?,
        };
        Some(Cell { field, bytes })
    }

    /// True where more than blanks stands behind the unit's length.
    pub(super) fn is_overlong(&self) -> bool {
        self.is_overlong
    }

    /// The cells as text, of the row that names the columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.cells.len()).filter_map(|cell| self.cells.get(cell))
    }

    /// How many cells there are up to the last one that isn't blank.
    pub(super) fn filled(&self) -> usize {
        let cells = self.names().enumerate().filter(|(_, cell)| !cell.trim_ascii().is_empty());
        cells.last().map_or(0, |(at, _)| at.saturating_add(1))
    }

    /// True where this unit is of this record type, as far as its own bytes tell.
    fn is(&self, record: &Record, columns: &[usize]) -> bool {
        record.tests.iter().all(|test| match test.of {
            Tested::Field(_) => true,
            Tested::Place(place) => {
                let is_one =
                    self.at(place, columns).is_some_and(|found| is_one(place, found, test));
                is_one != test.is_not
            }
        })
    }

    /// Finds the record type among those that may be there; none where it is of none of them.
    #[inline]
    pub(super) fn classify(&mut self, layout: &Layout, live: &[usize], columns: &[usize]) -> bool {
        for at in live {
            let Some(record) = layout.records.get(*at) else { continue };
            if self.is(record, columns) {
                (self.record, self.family) = (*at, record.family);
                return true;
            }
        }
        false
    }

    /// What stands where record types are told apart, of a unit that is of none.
    pub(super) fn odd(&self, layout: &Layout, columns: &[usize]) -> String {
        let mut places: Vec<(Place, String)> = Vec::new();
        for test in layout.records.iter().flat_map(|record| &record.tests) {
            let Tested::Place(place) = test.of else { continue };
            if places.len() < TOLD_MAX && !places.iter().any(|(known, _)| *known == place) {
                let found = self.at(place, columns).map_or_else(
                    || String::from("nothing"),
                    |found| if found.len() <= WORD_MAX { shown(found) } else { masked(found) },
                );
                let told = match place {
                    Place::Columns(first, last) if first == last => format!("{found} in {first}"),
                    Place::Columns(first, last) => format!("{found} in {first}-{last}"),
                    Place::Cell(cell) => format!("{found} in field {cell}"),
                    Place::Named(at) => {
                        let name = layout.columns.get(at).map_or("a column", String::as_str);
                        format!("{found} in {name}")
                    }
                };
                places.push((place, told));
            }
        }
        let told: Vec<String> = places.into_iter().map(|(_, told)| told).collect();
        if told.is_empty() { String::from("another record") } else { told.join(", ") }
    }

    /// What is wrong with it as a whole, whatever its fields hold.
    pub(super) fn check(
        &self,
        layout: &Layout,
        making: Making,
        columns: &[usize],
        names: usize,
    ) -> Result<(), Fault> {
        if self.is_overlong {
            let expected = format!("{} characters", layout.length);
            return Err(Fault::new("record_length", "record", expected, "more"));
        }
        if making.is_text {
            self.check_text(layout, making, columns)?;
        }
        if making.length.is_some() {
            // The language has seen to it that every field lies within.
            return Ok(());
        }
        let fields = layout.records.get(self.record).map(|record| record.fields.as_slice());
        let fields = fields.unwrap_or_default().iter().flatten();
        // One cell more or less, and those behind it stand below other names than their own.
        let has_names = fields.clone().any(|field| matches!(field.place, Place::Named(_)));
        let cells = self.cells.len();
        if has_names && (cells < names || self.filled() > names) {
            let expected = format!("{names} fields, as many as there are names of columns");
            return Err(Fault::new("record_length", "record", expected, format!("{cells} fields")));
        }
        for field in fields {
            if self.at(field.place, columns).is_none() {
                let found = match field.place {
                    Place::Columns(..) => format!("{} characters", self.text.len()),
                    Place::Cell(_) | Place::Named(_) => format!("{} fields", self.cells.len()),
                };
                let expected = "a record that has this field";
                return Err(Fault::new("record_length", field.name, expected, found));
            }
        }
        Ok(())
    }

    /// A character that is none is no record to be posted.
    fn check_text(&self, layout: &Layout, making: Making, columns: &[usize]) -> Result<(), Fault> {
        let encoding = making.encoding;
        // All of them at once first: what is in order, as nearly all is, costs one pass.
        let is_plain = |text: &[u8]| {
            text.iter().fold(true, |all, byte| all & (byte.wrapping_sub(0x20) <= 0x7e - 0x20))
        };
        let odd = |text: &[u8]| match is_plain(text) {
            true => None,
            false => text.iter().position(|byte| !encoding.is_text(*byte)),
        };
        if !making.has_cells {
            let Some(at) = odd(&self.text) else { return Ok(()) };
            let column = at.saturating_add(1);
            let is_here = |place: Place| match place {
                Place::Columns(first, last) => first <= column && column <= last,
                Place::Cell(_) | Place::Named(_) => false,
            };
            return Err(self.not_text(layout, encoding, column, is_here));
        }
        for (at, text) in self.names().enumerate() {
            if is_plain(text) {
                continue;
            }
            // Line ends and tabs may stand within quotes, and names in whatever page.
            let is_odd = |byte: &u8| (*byte < b' ' && !b"\r\n\t".contains(byte)) || *byte == 0x7f;
            let is_cut = || encoding == Encoding::Utf8 && std::str::from_utf8(text).is_err();
            if text.iter().any(is_odd) || is_cut() {
                let cell = at.saturating_add(1);
                let is_here = |place: Place| match place {
                    Place::Cell(place) => place == cell,
                    Place::Named(name) => columns.get(name) == Some(&at),
                    Place::Columns(..) => false,
                };
                return Err(self.not_text(layout, encoding, cell, is_here));
            }
        }
        Ok(())
    }

    fn not_text(
        &self,
        layout: &Layout,
        encoding: Encoding,
        column: usize,
        is_here: impl Fn(Place) -> bool,
    ) -> Fault {
        let fields = layout.records.get(self.record).map(|record| record.fields.as_slice());
        let mut fields = fields.unwrap_or_default().iter().flatten();
        let field = fields.find(|field| is_here(field.place)).map_or("record", |field| field.name);
        let expected = format!("characters of {encoding}");
        Fault::new("not_text", field, expected, format!("a byte that is none in column {column}"))
    }
}

/// So many places of a unit that is of no record type are told.
const TOLD_MAX: usize = 3;

/// So many characters are a code, and no number of an account.
const WORD_MAX: usize = 8;

fn is_one(place: Place, found: &[u8], test: &Test) -> bool {
    match place {
        Place::Columns(..) => test.values.iter().any(|value| value == found),
        Place::Cell(_) | Place::Named(_) => {
            let found = found.trim_ascii();
            test.values.iter().any(|value| value.trim_ascii() == found)
        }
    }
}

/// The record types that a unit may be of, as far as headers tell: those whose tests of fields
/// hold. They change only where a header does.
pub(super) fn live(view: &View<'_>, into: &mut Vec<usize>) {
    into.clear();
    for (at, record) in view.layout.records.iter().enumerate() {
        let of_fields = record.tests.iter().filter(|test| matches!(test.of, Tested::Field(_)));
        if of_fields.into_iter().all(|test| view.hold(std::slice::from_ref(test))) {
            into.push(at);
        }
    }
}

/// Which records may still join a group.
#[derive(Debug)]
pub(super) struct Joining<'a> {
    event: &'a Event,
    /// The first that may follow, where they have an order.
    from: usize,
    /// Those that are there, as bits.
    there: u64,
}

/// More records that may join are not counted: their bits would not fit.
pub(super) const JOINED_MAX: usize = 64;

impl<'a> Joining<'a> {
    pub(super) fn new(event: &'a Event) -> Self {
        Self { event, from: 0, there: 0 }
    }

    fn is_there(&self, at: usize) -> bool {
        bit(at).is_some_and(|bit| self.there & bit != 0)
    }

    /// Takes a record of this family into the group; false where it may not follow here.
    pub(super) fn take(&mut self, family: usize) -> bool {
        let from = if self.event.in_any_order { 0 } else { self.from };
        for (at, joined) in self.event.joined.iter().enumerate().skip(from) {
            if joined.family != family || (self.is_there(at) && !joined.repeats) {
                continue;
            }
            self.there |= bit(at).unwrap_or_default();
            self.from = if joined.repeats { at } else { at.saturating_add(1) };
            return true;
        }
        false
    }

    /// True where nothing more may follow, so that the next record needn't be looked at.
    pub(super) fn is_full(&self) -> bool {
        if !self.event.in_any_order {
            return self.from >= self.event.joined.len();
        }
        let mut joined = self.event.joined.iter().enumerate();
        joined.all(|(at, joined)| !joined.repeats && self.is_there(at))
    }

    /// The family of a record that the group isn't whole without, where one is missing.
    pub(super) fn missing(&self) -> Option<usize> {
        let mut joined = self.event.joined.iter().enumerate();
        let missing = joined.find(|(at, joined)| joined.is_required && !self.is_there(*at));
        missing.map(|(_, joined)| joined.family)
    }
}

fn bit(at: usize) -> Option<u64> {
    1_u64.checked_shl(u32::try_from(at).ok()?)
}

/// The name of a family: of the first record type in it.
pub(super) fn family_name(layout: &Layout, family: usize) -> &'static str {
    let record = layout.records.iter().find(|record| record.family == family);
    record.map_or("record", |record| record.name)
}

/// The role of a record type.
pub(super) fn role(layout: &Layout, record: usize) -> Role {
    layout.records.get(record).map_or(Role::Skipped, |record| record.role)
}
