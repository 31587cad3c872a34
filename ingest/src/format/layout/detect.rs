//! What content is, told from its first bytes by the layouts; and how it is cut.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::group::{Making, Piece};
use super::model::{self, FieldRef, Form, Header, Layout, Role, Tested};
use crate::format::Encoding;
use crate::format::cut::{Cut, Cutter, Memory, Next, Prefix, Separated, Word};

/// How the content of a layout is cut.
pub(super) fn cut(layout: &Layout) -> Cut {
    let length = NonZeroUsize::new(layout.length).unwrap_or(NonZeroUsize::MIN);
    match layout.cut {
        model::Cut::Lines => Cut::Lines,
        model::Cut::Fixed => Cut::Fixed(length),
        model::Cut::LinesOrFixed => Cut::LinesOrFixed(length),
        model::Cut::Rdw { is_little, includes_itself } => Cut::Prefixed(Prefix {
            word: if is_little { Word::Little } else { Word::Big },
            includes_itself,
            blocked: false,
        }),
        model::Cut::BdwRdw => {
            Cut::Prefixed(Prefix { word: Word::Big, includes_itself: true, blocked: true })
        }
        model::Cut::Rows(rows) => {
            Cut::Rows(Separated { separator: rows.separator, quote: rows.quote })
        }
    }
}

/// What the first bytes are, where they begin with a file header that can't be taken for anything
/// else: its page, as far as it can be told.
pub(crate) fn detect(layout: &Arc<Layout>, first: &[u8]) -> Option<Encoding> {
    let names_columns = layout.columns.len() >= CERTAIN
        && matches!(layout.cut, model::Cut::Rows(rows) if rows.header == Header::FirstRow);
    let headers = headers(layout, |record| certainty(record) >= CERTAIN);
    if headers.is_empty() && !names_columns {
        return None;
    }
    PAGES.into_iter().find(|encoding| {
        let Some((length, mut piece)) = units(layout, *encoding, first).next() else {
            return false;
        };
        if names_columns {
            let is_there = |name: &String| piece.names().any(|found| found == name.as_bytes());
            return layout.columns.iter().all(is_there);
        }
        let is_as_long = length.saturating_mul(2) > layout.length && !piece.is_overlong();
        is_as_long && piece.classify(layout, &headers, &[]) && has_digits(layout, &piece)
    })
}

/// The same of a file header that few characters or the first cell tell: it is as long as the
/// layout says, and what is behind it are records of the layout.
pub(crate) fn resembles(layout: &Arc<Layout>, first: &[u8]) -> Option<Encoding> {
    let headers = headers(layout, |record| record.tests.iter().any(|test| !test.is_not));
    let all: Vec<usize> = (0..layout.records.len()).collect();
    PAGES.into_iter().find(|encoding| {
        let mut units = units(layout, *encoding, first).peekable();
        let Some((length, mut header)) = units.next() else { return false };
        let is_as_long = match layout.length {
            0 => header.names().count() >= CELLS_MIN,
            wanted => length == wanted,
        };
        if !is_as_long || !header.classify(layout, &headers, &[]) || !has_digits(layout, &header) {
            return false;
        }
        while let Some((_, mut piece)) = units.next() {
            // Of the last one there may be more.
            if units.peek().is_some() && !piece.classify(layout, &all, &[]) {
                return false;
            }
        }
        true
    })
}

const PAGES: [Encoding; 2] = [Encoding::Latin1, Encoding::Cp500];

/// The file headers of a layout that are such ones.
fn headers(layout: &Layout, is_one: impl Fn(&model::Record) -> bool) -> Vec<usize> {
    let all = layout.records.iter().enumerate();
    let found = all.filter(|(_, record)| record.role == Role::FileHeader && is_one(record));
    found.map(|(at, _)| at).collect()
}

/// How many characters of a record type are the same in every file.
fn certainty(record: &model::Record) -> usize {
    let fixed = record.tests.iter().filter(|test| !test.is_not).map(|test| match test.of {
        Tested::Place(model::Place::Columns(from, to)) => to.saturating_sub(from).saturating_add(1),
        Tested::Place(_) | Tested::Field(_) => 0,
    });
    fixed.sum()
}

/// The units that content begins with, each with its length in bytes, up to where it is none in
/// this page.
fn units(
    layout: &Arc<Layout>,
    encoding: Encoding,
    first: &[u8],
) -> impl Iterator<Item = (usize, Piece)> {
    let cutter = Cutter::new(cut(layout), encoding, usize::MAX);
    let making = Making::of(layout, encoding);
    let (mut rest, mut memory) = (first, Memory::default());
    std::iter::from_fn(move || {
        let Ok(Next::Unit(unit)) = cutter.next(memory, rest, true) else { return None };
        let mut piece = Piece::default();
        making.make(&unit, &cutter, &mut piece);
        (rest, memory) = (rest.get(unit.skipped.saturating_add(unit.length)..)?, unit.after);
        Some((unit.bytes.len(), piece))
    })
}

/// A line with fewer cells is one of any text.
const CELLS_MIN: usize = 3;

/// So many characters of a header that are the same in every file are no accident, nor are so many
/// names of columns.
const CERTAIN: usize = 8;

/// True where a header has digits wherever its layout says that it has a code of digits.
fn has_digits(layout: &Layout, header: &Piece) -> bool {
    let record = layout.records.get(header.record);
    let fields = record.map_or(0, |record| record.fields.len());
    (0..fields).all(|field| {
        let at = FieldRef { family: header.family, field };
        let cell = header.cell(layout, at, &[]);
        cell.is_none_or(|cell| {
            !matches!(cell.field.form, Form::Digits) || cell.bytes.iter().all(u8::is_ascii_digit)
        })
    })
}
