//! A reader of whatever a layout describes.

use std::sync::Arc;

use schemas::arrival::Reason;
use serde::{Deserialize, Serialize};

use super::context::{Keeping, Kept, View};
use super::detect::cut;
use super::event::{self, Posting};
use super::group::{self, Joining, Making, Piece};
use super::model::{self, Header, Layout, Role};
use super::structure::{self, too_large};
use super::totals::{self, Group, Tally};
use crate::format::cut::{Blank, CutError, Cutter, Memory, Next, Unit};
use crate::format::fault::{Fault, refusal};
use crate::format::{Draft, Encoding, Refusal, Settings, Step, Summary};

/// Raised whenever the same bytes, layout and settings would give other events.
pub(crate) const REVISION: i32 = 4;

/// A reader by a layout.
#[derive(Clone, Debug)]
pub(crate) struct LayoutReader {
    pub(super) layout: Arc<Layout>,
    pub(super) encoding: Encoding,
    cutter: Cutter,
    pub(super) making: Making,
    pub(super) keeping: Keeping,
    posting: Posting,
    bytes_max: usize,
    pub(super) place: Place,
    /// The record types that may be next, as far as headers tell.
    pub(super) live: Vec<usize>,
    /// The units of the group that is being read, and one more that was looked at.
    pub(super) pieces: Vec<Piece>,
}

/// Where the reader stands: all that it keeps from one record to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    offset: i64,
    /// The line that begins at the offset, from 1.
    line: i64,
    pub(super) next_index: i64,
    memory: Memory,
    /// True behind the file header.
    pub(super) has_begun: bool,
    /// True between a batch's header and its trailer.
    pub(super) is_in_batch: bool,
    /// True behind the file trailer.
    pub(super) is_over: bool,
    /// Where the columns are that the layout names; none until the row that names them.
    pub(super) columns: Option<Vec<usize>>,
    /// How many names that row has.
    pub(super) names: usize,
    pub(super) kept: Kept,
    /// The number that comes next, of each sequence.
    pub(super) sequences: Vec<i64>,
    pub(super) tallies: Vec<Tally>,
    pub(super) identifier: Option<String>,
    pub(super) summary: Option<Summary>,
    pub(super) warnings: Vec<Reason>,
}

/// More warnings of one file are counted, not kept.
const WARNINGS_MAX: usize = 20;

impl LayoutReader {
    /// A reader at the beginning of the content.
    pub(crate) fn new(layout: &Arc<Layout>, settings: &Settings) -> Self {
        let place = Place {
            line: 1,
            sequences: layout.sequences.iter().map(|sequence| sequence.first).collect(),
            tallies: vec![Tally::default(); layout.totals.len()],
            ..Place::default()
        };
        Self::at(layout, settings, place)
    }

    /// A reader where another one stood.
    ///
    /// # Errors
    ///
    /// Where the state is not one that a reader by this layout gave.
    pub(crate) fn resume(
        layout: &Arc<Layout>,
        settings: &Settings,
        state: &[u8],
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::at(layout, settings, serde_json::from_slice(state)?))
    }

    fn at(layout: &Arc<Layout>, settings: &Settings, place: Place) -> Self {
        let encoding = settings.encoding;
        let mut reader = Self {
            layout: Arc::clone(layout),
            encoding,
            cutter: Cutter::new(cut(layout), encoding, settings.record_bytes_max),
            making: Making::of(layout, encoding),
            keeping: Keeping::of(layout),
            posting: Posting::of(settings),
            bytes_max: settings.record_bytes_max,
            place,
            live: Vec::new(),
            pieces: Vec::new(),
        };
        reader.find_live();
        reader
    }

    /// Where it stands.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub(crate) fn state(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.place)
    }

    /// See [`crate::format::Reader::step`].
    ///
    /// # Errors
    ///
    /// Where the file can't be read.
    pub(crate) fn step(
        &mut self,
        input: &[u8],
        end_of_content: bool,
        draft: &mut Draft,
    ) -> Result<(usize, Step), Refusal> {
        let mut used = 0_usize;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let next = self.next(self.place.memory, rest, end_of_content);
            let unit = match next.map_err(|error| self.cut_off(&error, 0, 0))? {
                Next::More => return Ok((used, Step::More)),
                Next::Blank(blank) => {
                    self.place.offset = advanced(self.place.offset, blank.length);
                    self.place.line = self.place.line.saturating_add(blank.lines);
                    self.place.memory = blank.after;
                    used = used.saturating_add(blank.length);
                    continue;
                }
                Next::End { end_of_text } => {
                    self.end(rest.len(), end_of_text)?;
                    return Ok((input.len(), Step::End));
                }
                Next::Unit(unit) => unit,
            };
            self.make(0, &unit);
            if self.is_row_of_names() {
                self.name_columns().map_err(|refusal| self.refused(&unit, refusal))?;
                used = used.saturating_add(self.advance(&unit));
                continue;
            }
            let record = self.classify().map_err(|refusal| self.refused(&unit, refusal))?;
            if group::role(&self.layout, record) == Role::Detail {
                return Ok(match self.group(&unit, rest, end_of_content, draft)? {
                    Some((length, step)) => (used.saturating_add(length), step),
                    None => (used, Step::More),
                });
            }
            self.structure(record).map_err(|refusal| self.refused(&unit, refusal))?;
            used = used.saturating_add(self.advance(&unit));
        }
    }

    /// See [`crate::format::Reader::summary`].
    pub(crate) fn summary(&self) -> Option<&Summary> {
        self.place.summary.as_ref()
    }

    /// See [`crate::format::Reader::offset`].
    pub(crate) fn offset(&self) -> i64 {
        self.place.offset
    }

    /// See [`crate::format::Reader::next_index`].
    pub(crate) fn next_index(&self) -> i64 {
        self.place.next_index
    }

    /// Where it stands: what is known there of the content before, and the line.
    pub(super) fn stand(&self) -> (Memory, i64) {
        (self.place.memory, self.place.line)
    }

    /// How the content is cut.
    pub(super) fn cutter(&self) -> &Cutter {
        &self.cutter
    }

    /// Makes a unit ready and finds its record type, as far as headers tell so far.
    pub(super) fn take_apart(&self, unit: &Unit<'_>, piece: &mut Piece) -> Option<usize> {
        self.making.make(unit, &self.cutter, piece);
        let columns = self.place.columns.as_deref().unwrap_or_default();
        piece.classify(&self.layout, &self.live, columns).then_some(piece.record)
    }

    /// Everything that can be referred to at the first so many units.
    pub(super) fn view(&self, pieces: usize) -> View<'_> {
        View {
            layout: &self.layout,
            encoding: self.encoding,
            pieces: self.pieces.get(..pieces).unwrap_or_default(),
            kept: &self.place.kept,
            keeping: &self.keeping,
            columns: self.place.columns.as_deref().unwrap_or_default(),
        }
    }

    /// The next unit; one without its end is refused, where the layout says that all have one.
    fn next<'a>(
        &self,
        memory: Memory,
        rest: &'a [u8],
        end_of_content: bool,
    ) -> Result<Next<'a>, CutError> {
        let next = self.cutter.next(memory, rest, end_of_content)?;
        match &next {
            Next::Unit(unit)
                if self.layout.is_ended
                    && self.cutter.has_lines(unit.after)
                    && !unit.is_ended() =>
            {
                Err(CutError::unended(unit))
            }
            _ => Ok(next),
        }
    }

    /// Makes a unit ready, in the buffers of an earlier one.
    fn make(&mut self, at: usize, unit: &Unit<'_>) {
        if self.pieces.len() <= at {
            self.pieces.push(Piece::default());
        }
        if let Some(piece) = self.pieces.get_mut(at) {
            self.making.make(unit, &self.cutter, piece);
        }
    }

    pub(super) fn is_row_of_names(&self) -> bool {
        let model::Cut::Rows(rows) = self.layout.cut else { return false };
        rows.header == Header::FirstRow && self.place.columns.is_none()
    }

    /// Finds what the first unit is.
    fn classify(&mut self) -> Result<usize, Refusal> {
        let columns = self.place.columns.as_deref().unwrap_or_default();
        let Some(piece) = self.pieces.first_mut() else { return Ok(0) };
        if piece.classify(&self.layout, &self.live, columns) {
            return Ok(piece.record);
        }
        let names: Vec<&str> = self
            .live
            .iter()
            .filter_map(|at| self.layout.records.get(*at))
            .map(|record| record.name)
            .collect();
        let found = piece.odd(&self.layout, columns);
        Err(refusal("unknown_record", "record", names.join(" or "), found))
    }

    /// Which record types may be there changes with what headers say only.
    pub(super) fn find_live(&mut self) {
        let mut live = std::mem::take(&mut self.live);
        group::live(&self.view(0), &mut live);
        self.live = live;
    }

    /// Reads the group that begins with `unit`; none where it isn't all there.
    fn group(
        &mut self,
        unit: &Unit<'_>,
        input: &[u8],
        end_of_content: bool,
        draft: &mut Draft,
    ) -> Result<Option<(usize, Step)>, Refusal> {
        self.may_begin_an_event().map_err(|refusal| self.refused(unit, refusal))?;
        let Some(gathered) = self.gather(unit, input, end_of_content)? else { return Ok(None) };
        let Gathered { event, pieces, length, lines, memory } = gathered;

        draft.clear(self.layout.network);
        let place = &self.place;
        let line = place.line.saturating_add(unit.lines_skipped);
        draft.place(
            place.next_index,
            advanced(place.offset, unit.skipped),
            advanced(0, length.saturating_sub(unit.skipped)),
            self.cutter.has_lines(unit.after).then_some(line),
        );
        let whole = self.check(pieces).map_err(|refusal| self.refused(unit, refusal))?;
        let view = self.view(pieces);
        let Some(event) = view.layout.events.get(event) else { return Ok(None) };
        let meaning = event::meaning(&view, event, self.posting);
        let found = event::read(&view, event, self.posting, whole, &meaning, draft);
        draft.close();
        let direction = meaning.as_ref().ok().map(|meaning| meaning.direction.clone());

        let mut tallies = std::mem::take(&mut self.place.tallies);
        let added = totals::add(&self.view(pieces), Group::Event(direction.as_ref()), &mut tallies);
        self.place.tallies = tallies;
        let control = added.map_err(|large| self.refused(unit, too_large(large)))?;
        draft.control = control.unwrap_or_default();

        let place = &mut self.place;
        place.next_index = place.next_index.saturating_add(1);
        place.offset = advanced(place.offset, length);
        place.line = place.line.saturating_add(lines);
        place.memory = memory;
        let step = match found {
            Ok(()) => Step::Record,
            Err(fault) => Step::Rejected(fault.into_reject(control)),
        };
        Ok(Some((length, step)))
    }

    /// Takes the units that belong to the event that the first one begins; none where they aren't
    /// all there.
    fn gather(
        &mut self,
        first: &Unit<'_>,
        input: &[u8],
        end_of_content: bool,
    ) -> Result<Option<Gathered>, Refusal> {
        let layout = Arc::clone(&self.layout);
        let begun = self.pieces.first().and_then(|piece| layout.records.get(piece.record));
        let event = begun.and_then(|record| record.begins);
        let Some((at, event)) = event.and_then(|at| Some((at, layout.events.get(at)?))) else {
            return Err(self.refused(first, structure::out_of_order(&layout, begun)));
        };
        let mut gathered = Gathered {
            event: at,
            pieces: 1,
            length: first.skipped.saturating_add(first.length),
            lines: first.lines_skipped.saturating_add(first.lines),
            memory: first.after,
        };
        let mut joining = Joining::new(event);
        // Blank lines behind what is gathered so far, before a unit that may join it.
        let mut blanks = Blank { length: 0, lines: 0, after: first.after };
        while !joining.is_full() {
            let behind = gathered.length.saturating_add(blanks.length);
            let rest = input.get(behind..).unwrap_or_default();
            let next = self.next(blanks.after, rest, end_of_content);
            let lines = gathered.lines.saturating_add(blanks.lines);
            let unit = match next.map_err(|error| self.cut_off(&error, behind, lines))? {
                Next::More if gathered.length > self.bytes_max => {
                    return Err(self.refused(first, self.too_long()));
                }
                // What is so far behind it belongs to nothing before.
                Next::More if blanks.length > self.bytes_max => break,
                Next::More => return Ok(None),
                Next::Blank(Blank { length, lines, after }) => {
                    blanks.length = blanks.length.saturating_add(length);
                    blanks.lines = blanks.lines.saturating_add(lines);
                    blanks.after = after;
                    continue;
                }
                Next::End { .. } => break,
                Next::Unit(unit) => Unit {
                    skipped: unit.skipped.saturating_add(blanks.length),
                    lines_skipped: unit.lines_skipped.saturating_add(blanks.lines),
                    ..unit
                },
            };
            if unit.skipped > self.bytes_max {
                break;
            }
            self.make(gathered.pieces, &unit);
            if !self.joins(gathered.pieces, &mut joining) {
                break;
            }
            gathered.pieces = gathered.pieces.saturating_add(1);
            gathered.length =
                gathered.length.saturating_add(unit.skipped).saturating_add(unit.length);
            gathered.lines =
                gathered.lines.saturating_add(unit.lines_skipped).saturating_add(unit.lines);
            gathered.memory = unit.after;
            blanks = Blank { length: 0, lines: 0, after: unit.after };
            if gathered.length > self.bytes_max {
                return Err(self.refused(first, self.too_long()));
            }
        }
        match joining.missing() {
            Some(family) => {
                let name = group::family_name(&layout, family);
                let expected = format!("a record {name} behind this one");
                Err(self.refused(first, refusal("record_missing", name, expected, "none")))
            }
            None => Ok(Some(gathered)),
        }
    }

    /// True where the unit at `at` belongs to the group that is being gathered.
    fn joins(&mut self, at: usize, joining: &mut Joining<'_>) -> bool {
        let columns = self.place.columns.as_deref().unwrap_or_default();
        let Some(piece) = self.pieces.get_mut(at) else { return false };
        piece.classify(&self.layout, &self.live, columns)
            && group::role(&self.layout, piece.record) == Role::Detail
            && joining.take(piece.family)
    }

    /// Checks the units of a group as a whole, and that their numbers run on: what is wrong with a
    /// unit itself is a fault, a gap refuses the file.
    fn check(&mut self, pieces: usize) -> Result<Result<(), Fault>, Refusal> {
        let mut whole = Ok(());
        for at in 0..pieces {
            let columns = self.place.columns.as_deref().unwrap_or_default();
            let Some(piece) = self.pieces.get(at) else { continue };
            let checked = piece.check(&self.layout, self.making, columns, self.place.names);
            let checked = checked.and(self.count_on(at)?);
            whole = whole.and(checked);
        }
        Ok(whole)
    }

    /// Steps behind a unit that is no event's.
    fn advance(&mut self, unit: &Unit<'_>) -> usize {
        let length = unit.skipped.saturating_add(unit.length);
        let place = &mut self.place;
        place.offset = advanced(place.offset, length);
        place.line = place.line.saturating_add(unit.lines_skipped).saturating_add(unit.lines);
        place.memory = unit.after;
        length
    }

    /// The content is over: `rest` bytes of blank lines are left.
    fn end(&mut self, rest: usize, end_of_text: bool) -> Result<(), Refusal> {
        if end_of_text {
            let reason = Reason::new("end_of_text")
                .expected_found("nothing behind the last record", "the byte 1A");
            self.warn(reason);
        }
        self.place.offset = advanced(self.place.offset, rest);
        self.close().map_err(|refusal| {
            self.placed(refusal, self.place.offset, self.place.line, self.place.memory)
        })
    }

    /// Keeps what is odd, and refuses nothing.
    pub(super) fn warn(&mut self, mut reason: Reason) {
        if self.place.warnings.len() < WARNINGS_MAX {
            if reason.line.is_none() && self.cutter.has_lines(self.place.memory) {
                reason.line = Some(self.place.line);
            }
            self.place.warnings.push(reason);
        }
    }

    fn too_long(&self) -> Refusal {
        let expected = format!("at most {} bytes a group of records", self.bytes_max);
        refusal("record_too_long", "record", expected, "more")
    }

    /// The refusal, placed at a unit behind what is blank before it.
    fn refused(&self, unit: &Unit<'_>, refusal: Refusal) -> Refusal {
        self.placed(
            refusal,
            advanced(self.place.offset, unit.skipped),
            self.place.line.saturating_add(unit.lines_skipped),
            unit.after,
        )
    }

    /// The refusal of content that can't be cut, so many bytes and lines behind the offset.
    fn cut_off(&self, error: &CutError, length: usize, lines: i64) -> Refusal {
        self.placed(
            error.refusal.clone(),
            advanced(self.place.offset, length.saturating_add(error.at)),
            self.place.line.saturating_add(lines).saturating_add(error.lines),
            self.place.memory,
        )
    }

    fn placed(&self, refusal: Refusal, byte_offset: i64, line: i64, memory: Memory) -> Refusal {
        let mut reason = refusal.into_reason();
        reason.index = Some(self.place.next_index);
        reason.byte_offset = Some(byte_offset);
        reason.line = self.cutter.has_lines(memory).then_some(line);
        Refusal::new(reason)
    }
}

/// A group that is all there.
#[derive(Clone, Copy, Debug)]
struct Gathered {
    event: usize,
    /// How many units it has.
    pieces: usize,
    /// Bytes, with those of blank units before it.
    length: usize,
    lines: i64,
    memory: Memory,
}

fn advanced(offset: i64, bytes: usize) -> i64 {
    offset.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX))
}
