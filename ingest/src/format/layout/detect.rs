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
    let certain = |record: &&model::Record| {
        let fixed = record.tests.iter().filter(|test| !test.is_not).map(|test| match test.of {
            Tested::Place(model::Place::Columns(from, to)) => {
                to.saturating_sub(from).saturating_add(1)
            }
            Tested::Place(_) | Tested::Field(_) => 0,
        });
        record.role == Role::FileHeader && fixed.sum::<usize>() >= CERTAIN
    };
    let headers: Vec<usize> = (0..layout.records.len())
        .filter(|at| layout.records.get(*at).as_ref().is_some_and(certain))
        .collect();
    let names_columns = layout.columns.len() >= CERTAIN
        && matches!(layout.cut, model::Cut::Rows(rows) if rows.header == Header::FirstRow);
    if headers.is_empty() && !names_columns {
        return None;
    }
    [Encoding::Latin1, Encoding::Cp500].into_iter().find(|encoding| {
        let cutter = Cutter::new(cut(layout), *encoding, usize::MAX);
        let Ok(Next::Unit(unit)) = cutter.next(Memory::default(), first, true) else {
            return false;
        };
        let mut piece = Piece::default();
        Making::of(layout, *encoding).make(&unit, &cutter, &mut piece);
        if names_columns {
            let is_there = |name: &String| piece.names().any(|found| found == name.as_bytes());
            return layout.columns.iter().all(is_there);
        }
        let is_as_long = unit.bytes.len().saturating_mul(2) > layout.length && !piece.is_overlong();
        is_as_long && piece.classify(layout, &headers, &[]) && has_digits(layout, &piece)
    })
}

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
