//! Headers and trailers: what is around the events.

use super::group::{self, Piece, family_name};
use super::model::{self, Layout, Role, Scope};
use super::reader::LayoutReader;
use super::totals::{self, Group, TooLarge};
use crate::format::fault::{Fault, refusal};
use crate::format::{Refusal, Summary};

impl LayoutReader {
    /// Takes the first unit, which is no event's.
    pub(super) fn structure(&mut self, record: usize) -> Result<(), Refusal> {
        let role = group::role(&self.layout, record);
        let name = self.layout.records.get(record).map_or("record", |record| record.name);
        self.may_follow(role, name)?;
        if role == Role::ColumnNames {
            return self.name_columns();
        }
        if role == Role::BatchHeader {
            self.begin_batch()?;
        }
        let columns = self.place.columns.as_deref().unwrap_or_default();
        if let Some(piece) = self.pieces.first() {
            piece
                .check(&self.layout, self.making, columns, self.place.names)
                .map_err(|fault| of(name, fault))?;
            self.place.kept.keep(&self.keeping, &self.layout, piece, columns);
        }
        self.find_live();
        self.count_on(0)?.map_err(|fault| of(name, fault))?;
        self.add_to_totals(role, name)?;
        match role {
            Role::FileHeader => self.file_header(),
            Role::BatchTrailer => self.close_batch(),
            Role::FileTrailer => self.close_file(),
            Role::Skipped => self.meet_totals(),
            Role::BatchHeader | Role::Detail | Role::ColumnNames => Ok(()),
        }
    }

    /// Refuses what may not stand where it does.
    fn may_follow(&self, role: Role, name: &str) -> Result<(), Refusal> {
        let (layout, place) = (&self.layout, &self.place);
        let is_header = matches!(role, Role::FileHeader | Role::ColumnNames | Role::Skipped);
        if place.is_over {
            let expected = "nothing behind the file trailer";
            return Err(refusal("after_the_file_trailer", name, expected, name));
        }
        if layout.has(Role::FileHeader) && !place.has_begun && !is_header {
            return Err(file_header_missing(name));
        }
        match role {
            Role::FileHeader if place.has_begun => {
                Err(refusal("file_header_twice", name, "one file header", "another one"))
            }
            Role::BatchHeader | Role::FileTrailer
                if place.is_in_batch && layout.has(Role::BatchTrailer) =>
            {
                let expected = "a batch trailer before it";
                Err(refusal("batch_trailer_missing", name, expected, "none"))
            }
            Role::BatchTrailer if !place.is_in_batch && layout.has(Role::BatchHeader) => {
                let expected = "a batch header before it";
                Err(refusal("batch_header_missing", name, expected, "none"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a detail that may not stand where it does.
    pub(super) fn may_begin_an_event(&mut self) -> Result<(), Refusal> {
        let name = self.pieces.first().map_or("record", |piece| {
            self.layout.records.get(piece.record).map_or("record", |record| record.name)
        });
        let (layout, place) = (&self.layout, &mut self.place);
        if place.is_over {
            let expected = "nothing behind the file trailer";
            return Err(refusal("after_the_file_trailer", name, expected, name));
        }
        if layout.has(Role::FileHeader) && !place.has_begun {
            return Err(file_header_missing(name));
        }
        if layout.has(Role::BatchHeader) && !place.is_in_batch {
            let expected = "a batch header before it";
            return Err(refusal("batch_header_missing", name, expected, "none"));
        }
        // Without headers, a batch is what stands before its trailer.
        place.is_in_batch |= layout.has(Role::BatchTrailer);
        Ok(())
    }

    fn file_header(&mut self) -> Result<(), Refusal> {
        self.place.has_begun = true;
        let Some(template) = &self.layout.identifier else { return Ok(()) };
        let mut identifier = String::new();
        let pushed = self.view(1).push(template, &mut identifier, false);
        let pushed = pushed.map_err(|fault| of("file_header", fault))?;
        self.place.identifier = pushed.any.then_some(identifier);
        Ok(())
    }

    fn begin_batch(&mut self) -> Result<(), Refusal> {
        if self.place.is_in_batch {
            self.close_batch()?;
        }
        let place = &mut self.place;
        place.is_in_batch = true;
        place.kept.forget(&self.keeping, &self.layout, Role::BatchHeader);
        totals::open_batch(&self.layout, &mut place.tallies);
        for (sequence, next) in self.layout.sequences.iter().zip(&mut place.sequences) {
            if sequence.scope == Scope::Batch {
                *next = sequence.first;
            }
        }
        Ok(())
    }

    /// Compares what was counted of the batch with what it states.
    fn close_batch(&mut self) -> Result<(), Refusal> {
        let mut warnings = Vec::new();
        let place = &mut self.place;
        let warn = |reason| warnings.push(reason);
        totals::close_batch(&self.layout, &mut place.tallies, warn)?;
        place.is_in_batch = false;
        if !self.layout.has(Role::BatchHeader) {
            // The next one begins behind this trailer.
            totals::open_batch(&self.layout, &mut place.tallies);
        }
        place.kept.forget(&self.keeping, &self.layout, Role::BatchTrailer);
        warnings.into_iter().for_each(|reason| self.warn(reason));
        Ok(())
    }

    /// Compares what was counted so far with what the first unit states, if it does.
    fn meet_totals(&mut self) -> Result<(), Refusal> {
        let Some(family) = self.pieces.first().map(|piece| piece.family) else { return Ok(()) };
        let mut warnings = Vec::new();
        let warn = |reason| warnings.push(reason);
        totals::meet(&self.layout, family, &mut self.place.tallies, warn)?;
        warnings.into_iter().for_each(|reason| self.warn(reason));
        Ok(())
    }

    /// Compares what was counted of the file with what it states, and sums it up.
    fn close_file(&mut self) -> Result<(), Refusal> {
        if self.place.is_in_batch {
            self.close_batch()?;
        }
        let mut warnings = Vec::new();
        let totals = totals::close_file(&self.layout, &mut self.place.tallies, |reason| {
            warnings.push(reason);
        })?;
        warnings.into_iter().for_each(|reason| self.warn(reason));
        let place = &mut self.place;
        place.is_over = self.layout.has(Role::FileTrailer);
        place.summary = Some(Summary {
            identifier: place.identifier.clone(),
            identifiers: place.identifier.iter().cloned().collect(),
            control_totals: totals.control_totals,
            claimed_debits: totals.claimed_debits,
            claimed_credits: totals.claimed_credits,
            claimed_unsigned: totals.claimed_unsigned,
            warnings: Vec::new(),
        });
        Ok(())
    }

    /// The content is over.
    pub(super) fn close(&mut self) -> Result<(), Refusal> {
        let (layout, place) = (&self.layout, &self.place);
        let found = "the end of the content";
        if self.is_row_of_names() {
            let expected = "a row of the names of columns";
            return Err(refusal("truncated", "column names", expected, found));
        }
        if layout.has(Role::FileHeader) && !place.has_begun {
            let expected = "a file header";
            return Err(refusal("file_header_missing", "file header", expected, found));
        }
        if place.is_in_batch && layout.has(Role::BatchTrailer) {
            return Err(refusal("truncated", "batch trailer", "a batch trailer", found));
        }
        if layout.has(Role::FileTrailer) && !place.is_over {
            return Err(refusal("truncated", "file trailer", "a file trailer", found));
        }
        if self.place.summary.is_none() {
            self.close_file()?;
        }
        let warnings = std::mem::take(&mut self.place.warnings);
        if let Some(summary) = &mut self.place.summary {
            summary.warnings.extend(warnings);
        }
        Ok(())
    }

    /// Takes from the first unit what it states, and counts it.
    fn add_to_totals(&mut self, role: Role, name: &str) -> Result<(), Refusal> {
        let batch =
            if self.layout.has(Role::BatchHeader) { Role::BatchHeader } else { Role::BatchTrailer };
        let mut tallies = std::mem::take(&mut self.place.tallies);
        let view = self.view(1);
        let stated = match view.pieces.first() {
            Some(piece) => totals::state(&view, piece, &mut tallies),
            None => Ok(()),
        };
        let added = totals::add(&view, Group::Structure { is_batch: role == batch }, &mut tallies);
        self.place.tallies = tallies;
        stated.map_err(|fault| of(name, fault))?;
        added.map(|_| ()).map_err(too_large)
    }

    /// Checks that the numbers of a unit come next: a number that can't be read is a fault, and
    /// taken for the right one.
    pub(super) fn count_on(&mut self, at: usize) -> Result<Result<(), Fault>, Refusal> {
        let columns = self.place.columns.as_deref().unwrap_or_default();
        let Some(piece) = self.pieces.get(at) else { return Ok(Ok(())) };
        let mut found = Ok(());
        for (sequence, next) in self.layout.sequences.iter().zip(&mut self.place.sequences) {
            for field in sequence.fields.iter().filter(|field| field.family == piece.family) {
                let Some(cell) = piece.cell(&self.layout, *field, columns) else { continue };
                let expected = *next;
                *next = next.saturating_add(1);
                match cell.number() {
                    Ok(Some(number)) if number.units == expected => (),
                    Ok(Some(number)) => {
                        let name = family_name(&self.layout, piece.family).replace('_', " ");
                        let field = format!("{name}: {}", cell.field.name);
                        let expected = format!("{expected}, the next number");
                        let found = number.units.to_string();
                        return Err(refusal("sequence", &field, expected, found));
                    }
                    Ok(None) => found = found.and(Err(cell.fault("sequence", "a number"))),
                    Err(fault) => found = found.and(Err(fault)),
                }
            }
        }
        Ok(found)
    }

    /// Finds the columns that the layout names in the row that is the first unit.
    pub(super) fn name_columns(&mut self) -> Result<(), Refusal> {
        let mut columns = Vec::with_capacity(self.layout.columns.len());
        for name in &self.layout.columns {
            // Names that ISO 8859-1 has may stand in it.
            let in_latin1: Result<Vec<u8>, _> = name.chars().map(u8::try_from).collect();
            let names = self.pieces.first().into_iter().flat_map(Piece::names);
            let is_it = |found: &[u8]| {
                let found = found.trim_ascii();
                found == name.as_bytes() || in_latin1.as_ref().is_ok_and(|name| found == name)
            };
            let mut at = names.enumerate().filter(|(_, found)| is_it(found)).map(|(at, _)| at);
            let Some(first) = at.next() else {
                let expected = "a column of this name";
                return Err(refusal("column_missing", name, expected, "none"));
            };
            if at.next().is_some() {
                let expected = "one column of this name";
                return Err(refusal("column_twice", name, expected, "several"));
            }
            columns.push(first);
        }
        self.place.columns = Some(columns);
        self.place.names = self.pieces.first().map_or(0, Piece::filled);
        Ok(())
    }
}

pub(super) fn too_large(TooLarge(name): TooLarge) -> Refusal {
    refusal("total_too_large", name, "64 bits", "more")
}

/// The refusal of a detail that begins nothing, and has nothing before it that it could join.
pub(super) fn out_of_order(layout: &Layout, found: Option<&model::Record>) -> Refusal {
    let begin: Vec<&str> = layout
        .records
        .iter()
        .filter(|record| record.begins.is_some())
        .map(|record| record.name)
        .collect();
    let found = found.map_or("another record", |record| record.name);
    refusal("record_out_of_order", found, format!("{} before it", begin.join(" or ")), found)
}

fn file_header_missing(found: &str) -> Refusal {
    let expected = "a file header as the first record";
    refusal("file_header_missing", "file header", expected, found)
}

/// What is wrong with a header or trailer refuses the file.
fn of(record: &str, fault: Fault) -> Refusal {
    let field = format!("{}: {}", record.replace('_', " "), fault.field);
    refusal(fault.reason, &field, fault.expected, fault.found)
}
