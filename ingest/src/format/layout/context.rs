//! What a record is read by: the records of its group, and what is kept of the headers before it.

use schemas::Date;
use serde::{Deserialize, Serialize};

use super::date::Moment;
use super::field::{Cell, Number};
use super::group::{self, Piece};
use super::model::{
    CurrencyOf, DirectionOf, Event, FieldRef, Form, Layout, Money, Part, Role, Template, Test,
    Tested,
};
use crate::format::Encoding;
use crate::format::fault::Fault;

/// What of headers and trailers is needed later: the fields that the layout refers to, and no
/// others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept(Vec<KeptField>);

/// A field of a header, as it stood there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KeptField {
    /// The record type that it is of; none until there was one.
    record: Option<usize>,
    /// What stood there; as text, a character a byte, so that people can read it.
    #[serde(with = "characters")]
    bytes: Vec<u8>,
}

/// Which fields are kept, by where they are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Keeping(Vec<FieldRef>);

impl Keeping {
    /// The fields outside their own records that a layout refers to.
    pub(super) fn of(layout: &Layout) -> Self {
        let mut refs = Vec::new();
        for test in layout.records.iter().flat_map(|record| &record.tests) {
            refs.extend(of_test(test));
        }
        for form in layout.records.iter().flat_map(|record| record.fields.iter().flatten()) {
            if let Form::Date(form) = &form.form {
                refs.extend(form.near);
            }
        }
        refs.extend(layout.identifier.iter().flat_map(of_template));
        refs.extend(layout.events.iter().flat_map(of_event));
        for total in &layout.totals {
            refs.extend(total.stated.iter().copied());
            refs.extend(total.only.iter().chain(&total.when).filter_map(of_test));
        }
        let is_detail = |at: &FieldRef| {
            let of_family = layout.records.iter().find(|record| record.family == at.family);
            of_family.is_some_and(|record| record.role == Role::Detail)
        };
        refs.retain(|at| !is_detail(at));
        refs.sort_unstable();
        refs.dedup();
        Self(refs)
    }

    fn find(&self, at: FieldRef) -> Option<usize> {
        self.0.iter().position(|known| *known == at)
    }
}

fn of_test(test: &Test) -> Option<FieldRef> {
    match test.of {
        Tested::Field(at) => Some(at),
        Tested::Place(_) => None,
    }
}

fn of_template(template: &Template) -> Vec<FieldRef> {
    let field = |part: &Part| match part {
        Part::Field(at) => Some(*at),
        Part::Text(_) => None,
    };
    template.0.iter().filter_map(field).collect()
}

fn of_event(event: &Event) -> Vec<FieldRef> {
    let mut refs = of_template(&event.code);
    refs.extend(event.same.iter().map(|(_, other)| *other));
    let of_money = |money: &Money| {
        let currency = match money.currency {
            CurrencyOf::Field(at) => Some(at),
            CurrencyOf::Fixed(_) => None,
        };
        [money.amount, currency].into_iter().flatten()
    };
    for case in &event.cases {
        refs.extend(case.tests.iter().filter_map(of_test));
        match &case.direction {
            DirectionOf::Field { field, .. } => refs.push(*field),
            DirectionOf::Fields { credit, debit } => refs.extend([*credit, *debit]),
            DirectionOf::Fixed(_) | DirectionOf::Sign => (),
        }
        let moneys = [&case.money, &case.money_of_transaction].into_iter().flatten();
        refs.extend(moneys.chain(case.amounts.iter().map(|(_, money)| money)).flat_map(of_money));
        refs.extend(case.control.iter().chain(&case.value_date));
        refs.extend(
            case.occurred_at.iter().flat_map(|(date, time)| [Some(*date), *time]).flatten(),
        );
        let texts = [&case.account, &case.reference, &case.counterparty];
        let texts = texts.into_iter().flatten();
        refs.extend(
            texts.chain(case.attributes.iter().map(|(_, text)| text)).flat_map(of_template),
        );
    }
    refs
}

impl Kept {
    /// Keeps of a record what is needed of it; what was kept of an earlier one like it is dropped.
    pub(super) fn keep(
        &mut self,
        keeping: &Keeping,
        layout: &Layout,
        piece: &Piece,
        columns: &[usize],
    ) {
        self.0.resize_with(keeping.0.len(), KeptField::default);
        for (at, kept) in keeping.0.iter().zip(&mut self.0) {
            if at.family == piece.family {
                let cell = piece.cell(layout, *at, columns);
                kept.record = cell.is_some().then_some(piece.record);
                let bytes = cell.map(|cell| cell.bytes).unwrap_or_default();
                kept.bytes.clear();
                kept.bytes.extend_from_slice(bytes);
            }
        }
    }

    /// Forgets what was kept of records of this role: those of a batch, where another one begins.
    pub(super) fn forget(&mut self, keeping: &Keeping, layout: &Layout, role: Role) {
        for (at, kept) in keeping.0.iter().zip(&mut self.0) {
            let mut family = layout.records.iter().filter(|record| record.family == at.family);
            if family.any(|record| record.role == role) {
                *kept = KeptField::default();
            }
        }
    }
}

/// Bytes as a string of as many characters, which are those of ISO 8859-1.
mod characters {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], into: S) -> Result<S::Ok, S::Error> {
        into.collect_str(&bytes.iter().copied().map(char::from).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let byte = |character| u8::try_from(character).map_err(serde::de::Error::custom);
        text.chars().map(byte).collect()
    }
}

/// Everything that a reference can lead to, at one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) layout: &'a Layout,
    pub(super) encoding: Encoding,
    pub(super) pieces: &'a [Piece],
    pub(super) kept: &'a Kept,
    pub(super) keeping: &'a Keeping,
    pub(super) columns: &'a [usize],
}

impl<'a> View<'a> {
    /// The field; none where no record that has it is there.
    #[inline]
    pub(super) fn cell(&self, at: FieldRef) -> Option<Cell<'a>> {
        for piece in self.pieces {
            if piece.family == at.family {
                return piece.cell(self.layout, at, self.columns);
            }
        }
        let kept = self.kept.0.get(self.keeping.find(at)?)?;
        let field = self.layout.field(kept.record?, at)?;
        Some(Cell { field, bytes: &kept.bytes })
    }

    /// The number in a field; none where there is none.
    pub(super) fn number(&self, at: FieldRef) -> Result<Option<Number>, Fault> {
        self.cell(at).map_or(Ok(None), |cell| cell.number())
    }

    /// The date or time in a field; none where there is none.
    pub(super) fn moment(&self, at: FieldRef) -> Result<Option<Moment>, Fault> {
        let Some(cell) = self.cell(at) else { return Ok(None) };
        cell.moment(self.near(&cell))
    }

    /// The date that the year of another one is told by.
    pub(super) fn near(&self, cell: &Cell<'_>) -> Option<Date> {
        let Form::Date(form) = &cell.field.form else { return None };
        self.cell(form.near?)?.moment(None).ok()??.date
    }

    /// True where all of these hold.
    pub(super) fn hold(&self, tests: &[Test]) -> bool {
        tests.iter().all(|test| self.holds(test))
    }

    fn holds(&self, test: &Test) -> bool {
        match test.of {
            Tested::Place(_) => false,
            Tested::Field(at) => {
                let is_one = self.cell(at).is_some_and(|cell| is_one_of(&cell, &test.values));
                is_one != test.is_not
            }
        }
    }

    /// Adds a text with what stands in its fields; says whether any of them was blank.
    pub(super) fn push(
        &self,
        template: &Template,
        into: &mut String,
        in_full: bool,
    ) -> Result<Pushed, Fault> {
        let mut pushed = Pushed::default();
        for part in &template.0 {
            match part {
                Part::Text(text) => into.push_str(text),
                Part::Field(at) => {
                    let from = into.len();
                    if let Some(cell) = self.cell(*at) {
                        cell.push(into, self.encoding, self.near(&cell), in_full)?;
                    }
                    pushed.any |= into.len() > from;
                    if into.len() == from {
                        pushed.missing = pushed.missing.or(Some(*at));
                    }
                }
            }
        }
        Ok(pushed)
    }

    /// What the layout calls a field.
    pub(super) fn name(&self, at: FieldRef) -> &'static str {
        let mut of_family = self.layout.records.iter().filter(|record| record.family == at.family);
        let field = of_family.find_map(|record| record.fields.get(at.field)?.as_ref());
        field.map_or("", |field| field.name)
    }

    /// What the layout calls the record of a family that is there.
    pub(super) fn record_name(&self, family: usize) -> &'static str {
        let of_group = self.pieces.iter().find(|piece| piece.family == family);
        let record = of_group.and_then(|piece| self.layout.records.get(piece.record));
        record.map_or_else(|| group::family_name(self.layout, family), |record| record.name)
    }
}

/// What became of a template's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pushed {
    /// True where any of them held something.
    pub(super) any: bool,
    /// The first one that held nothing.
    pub(super) missing: Option<FieldRef>,
}

/// True where what stands in a field is one of these words; of raw numbers, in decimal digits.
pub(super) fn is_one_of(cell: &Cell<'_>, words: &[Vec<u8>]) -> bool {
    if cell.field.is_raw() {
        let Ok(Some(number)) = cell.number() else { return false };
        let digits = number.units.to_string();
        return words.iter().any(|word| word.trim_ascii() == digits.as_bytes());
    }
    let found = cell.word();
    words.iter().any(|word| word.trim_ascii() == found)
}
