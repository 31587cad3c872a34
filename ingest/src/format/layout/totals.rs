//! Totals: what a file states about itself, beside what was counted.

use schemas::Direction;
use schemas::arrival::Reason;
use schemas::file::ControlTotal;
use serde::{Deserialize, Serialize};

use super::context::View;
use super::field::{Cell, Number};
use super::group::{Piece, family_name};
use super::model::{
    Claims, Counted, FieldRef, Form, Layout, PackedSign, Scale, Scope, Sign, Total, Written,
};
use crate::format::fault::Fault;
use crate::format::{Control, Refusal};

/// What is counted for one total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// In the file or the batch that is open; of a difference, its debits.
    counted: i64,
    /// Of a difference, its credits.
    credits: i64,
    /// True where something could not be read that would have counted.
    is_unknown: bool,
    /// As it is stated, where that was read already and is filled in.
    stated: Option<i64>,
    /// Over the batches that are closed, or where it was stated so far; none until it was.
    closed: Option<Closed>,
    /// What was stated between the details, and compared with what was counted so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    met: Option<i64>,
    /// True where more was counted behind that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_more: bool,
    /// True where a batch does not state it.
    is_unstated: bool,
}

/// A total over several batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Closed {
    claimed: i64,
    seen: i64,
    proven: bool,
}

/// What a group of records is, for the totals.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group<'a> {
    /// An event; its direction, where that can be told.
    Event(Option<&'a Direction>),
    /// A header, a trailer, or another record that is no event's.
    Structure {
        /// True where it makes a batch more.
        is_batch: bool,
    },
}

/// How much a group adds to a total.
#[derive(Clone, Copy, Debug, Default)]
struct Added {
    counted: i64,
    credits: i64,
    is_unknown: bool,
}

/// Where a total doesn't fit in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge(pub(super) &'static str);

/// Adds a group to all totals; gives what it adds to those of the reconciliation, none where that
/// can't be read.
pub(super) fn add(
    view: &View<'_>,
    group: Group<'_>,
    tallies: &mut [Tally],
) -> Result<Option<Control>, TooLarge> {
    let mut control = Some(Control::default());
    for (total, tally) in view.layout.totals.iter().zip(tallies) {
        let added = added(view, group, total).ok_or(TooLarge(total.name))?;
        let sum = tally.counted.checked_add(added.counted);
        tally.counted = sum.ok_or(TooLarge(total.name))?;
        let sum = tally.credits.checked_add(added.credits);
        tally.credits = sum.ok_or(TooLarge(total.name))?;
        tally.is_unknown |= added.is_unknown;
        tally.is_more |= added.counted != 0 || added.credits != 0 || added.is_unknown;
        let Some(claims) = total.claims else { continue };
        if added.is_unknown {
            control = None;
        }
        if let Some(control) = &mut control {
            let field = match claims {
                Claims::Debits => &mut control.debits,
                Claims::Credits => &mut control.credits,
                Claims::Unsigned => &mut control.unsigned,
            };
            *field = field.checked_add(added.counted).ok_or(TooLarge(total.name))?;
        }
    }
    Ok(control)
}

/// What a group adds to one total; none where that doesn't fit.
fn added(view: &View<'_>, group: Group<'_>, total: &Total) -> Option<Added> {
    let mut added = Added::default();
    match &total.counted {
        Counted::Records => {
            let of = |piece: &&Piece| {
                total.families.is_empty() || total.families.contains(&piece.family)
            };
            let count = view.pieces.iter().filter(of).count();
            if count > 0 && view.hold(&total.only) {
                added.counted = i64::try_from(count).ok()?;
            }
        }
        Counted::Events => {
            let Group::Event(direction) = group else { return Some(added) };
            let first = view.pieces.first().map(|piece| piece.family);
            let is_of = total.families.is_empty()
                || first.is_some_and(|first| total.families.contains(&first));
            if is_of && view.hold(&total.only) {
                match (&total.direction, direction) {
                    (None, _) => added.counted = 1,
                    (Some(_), None) => added.is_unknown = true,
                    (Some(wanted), Some(found)) => added.counted = i64::from(wanted == found),
                }
            }
        }
        Counted::Batches => {
            added.counted = i64::from(matches!(group, Group::Structure { is_batch: true }));
        }
        Counted::Sum { plus, minus } => sum(view, group, total, plus, minus, &mut added)?,
        Counted::Difference(field) => difference(view, group, total, *field, &mut added)?,
    }
    Some(added)
}

fn sum(
    view: &View<'_>,
    group: Group<'_>,
    total: &Total,
    plus: &[FieldRef],
    minus: &[FieldRef],
    added: &mut Added,
) -> Option<()> {
    let is_there = |at: &FieldRef| view.pieces.iter().any(|piece| piece.family == at.family);
    if !plus.iter().chain(minus).any(is_there) || !view.hold(&total.only) {
        return Some(());
    }
    if let (Some(wanted), Group::Event(direction)) = (&total.direction, group) {
        match direction {
            Some(found) if found == wanted => (),
            Some(_) => return Some(()),
            None => {
                added.is_unknown = true;
                return Some(());
            }
        }
    }
    let scale = scale(view.layout, total);
    for piece in view.pieces {
        for (fields, is_added) in [(plus, true), (minus, false)] {
            for at in fields.iter().filter(|at| at.family == piece.family) {
                match units(piece.cell(view.layout, *at, view.columns), scale) {
                    Some(units) if is_added => added.counted = added.counted.checked_add(units)?,
                    Some(units) => added.counted = added.counted.checked_sub(units)?,
                    None => added.is_unknown = true,
                }
            }
        }
    }
    Some(())
}

fn difference(
    view: &View<'_>,
    group: Group<'_>,
    total: &Total,
    field: FieldRef,
    added: &mut Added,
) -> Option<()> {
    let Group::Event(direction) = group else { return Some(()) };
    let Some(cell) = view.cell(field).filter(|_| view.hold(&total.only)) else { return Some(()) };
    match (units(Some(cell), scale(view.layout, total)), direction) {
        (Some(units), Some(direction)) if *direction == Direction::DEBIT => {
            added.counted = units.checked_abs()?;
        }
        (Some(units), Some(direction)) if *direction == Direction::CREDIT => {
            added.credits = units.checked_abs()?;
        }
        (Some(0), _) | (Some(_), Some(_)) => (),
        _ => added.is_unknown = true,
    }
    Some(())
}

/// Digits behind the point of a total of decimal text, whose numbers may have fewer.
const DECIMALS: u8 = 4;

/// The scale that a total is counted in: the one that it is stated in.
fn scale(layout: &Layout, total: &Total) -> Option<u8> {
    let summed = match &total.counted {
        Counted::Sum { plus, .. } => plus.first(),
        Counted::Difference(field) => Some(field),
        Counted::Records | Counted::Events | Counted::Batches => None,
    };
    let field = total.stated.first().or(summed).and_then(|at| {
        let mut of_family = layout.records.iter().filter(|record| record.family == at.family);
        of_family.find_map(|record| record.fields.get(at.field)?.as_ref())
    })?;
    match &field.form {
        Form::Number(number) => match number.scale {
            Scale::Fixed(scale) => Some(scale),
            Scale::OfCurrency => None,
            Scale::AsWritten => Some(DECIMALS),
        },
        _ => None,
    }
}

/// True where no record has a field whose number can be below zero.
fn is_unsigned(layout: &Layout, at: FieldRef) -> bool {
    let of_family = layout.records.iter().filter(|record| record.family == at.family);
    let mut fields = of_family.filter_map(|record| record.fields.get(at.field)?.as_ref());
    fields.all(|field| match &field.form {
        Form::Number(number) => match number.written {
            Written::Display(sign) => sign == Sign::None,
            Written::Packed(sign) => sign != PackedSign::Signed,
            Written::Binary { is_signed } => !is_signed,
            Written::Decimal { .. } => false,
        },
        Form::Text | Form::Digits | Form::Date(_) => true,
    })
}

/// The number in a cell at a total's scale; none where it can't be read. What is blank is zero.
fn units(cell: Option<Cell<'_>>, scale: Option<u8>) -> Option<i64> {
    let Some(number) = cell.map_or(Ok(None), |cell| cell.number()).ok()? else { return Some(0) };
    at(number, scale)
}

fn at(number: Number, scale: Option<u8>) -> Option<i64> {
    match scale {
        Some(scale) => number.at(scale),
        None => Some(number.units),
    }
}

/// Takes from a header or trailer what it states.
///
/// # Errors
///
/// Where that is no number.
pub(super) fn state(view: &View<'_>, piece: &Piece, tallies: &mut [Tally]) -> Result<(), Fault> {
    for (total, tally) in view.layout.totals.iter().zip(tallies) {
        let is_here = |at: &FieldRef| at.family == piece.family;
        if !total.stated.iter().any(is_here) || !view.hold(&total.when) {
            continue;
        }
        let scale = scale(view.layout, total);
        for stated in total.stated.iter().filter(|at| is_here(at)) {
            let Some(cell) = piece.cell(view.layout, *stated, view.columns) else { continue };
            let Some(number) = cell.number()? else { continue };
            let units = at(number, scale)
                .and_then(|units| tally.stated.unwrap_or_default().checked_add(units));
            tally.stated = Some(units.ok_or_else(|| cell.fault("total_too_large", "64 bits"))?);
        }
    }
    Ok(())
}

/// What became of comparing a total.
#[derive(Debug)]
pub(super) enum Compared {
    /// There is nothing to compare: it is not filled in, or not to be there.
    Unstated {
        /// True where it ought to be, so that it is worth a warning.
        is_odd: bool,
    },
    /// It agrees, as far as it can be proved.
    Agrees(ControlTotal),
    /// It doesn't, and the layout only warns of that.
    Differs(ControlTotal, Box<Reason>),
}

impl Tally {
    fn compare(&self, layout: &Layout, total: &Total) -> Result<Compared, Refusal> {
        let own = match total.counted {
            Counted::Difference(_) => self.counted.saturating_sub(self.credits).saturating_abs(),
            _ => self.counted.saturating_add(total.plus),
        };
        let low = |value: i64| match total.modulus {
            Some(modulus) => value.checked_rem_euclid(modulus).unwrap_or(value),
            None => value,
        };
        let seen = low(own);
        let claimed = match self.stated.or(total.always) {
            None => return Ok(Compared::Unstated { is_odd: own != 0 }),
            Some(0) if total.zero_is_blank && seen != 0 => {
                return Ok(Compared::Unstated { is_odd: true });
            }
            Some(claimed) => claimed,
        };
        let is_proven = !self.is_unknown;
        let name = total.name.to_owned();
        let found = ControlTotal { name, claimed, seen, proven: is_proven };
        // What could not be read would have made the sum larger, where nothing is taken away, and
        // nothing can be below zero.
        let only_grows = total.modulus.is_none()
            && matches!(&total.counted, Counted::Sum { plus, minus }
                if minus.is_empty() && plus.iter().all(|at| is_unsigned(layout, *at)));
        let may_be = !is_proven && (!only_grows || claimed > seen);
        if claimed == seen || low(claimed) == seen || may_be {
            return Ok(Compared::Agrees(found));
        }
        let stated = total.stated.first().map_or("file", |at| family_name(layout, at.family));
        let mut reason = Reason::new("totals_differ")
            .expected_found(format!("{seen} as counted"), format!("{claimed} as stated"));
        reason.field = Some(format!("{}: {}", stated.replace('_', " "), total.name));
        if total.is_warning {
            return Ok(Compared::Differs(
                ControlTotal { proven: false, ..found },
                Box::new(reason),
            ));
        }
        Err(Refusal::new(reason))
    }

    /// Compares the total, and adds it to what was compared of it before.
    fn close(
        &mut self,
        layout: &Layout,
        total: &Total,
        warn: &mut impl FnMut(Reason),
    ) -> Result<(), Refusal> {
        let found = match self.compare(layout, total)? {
            Compared::Unstated { is_odd } => {
                self.is_unstated |= is_odd;
                return Ok(());
            }
            Compared::Agrees(found) => found,
            Compared::Differs(found, reason) => {
                warn(*reason);
                found
            }
        };
        let closed = self.closed.get_or_insert(Closed { claimed: 0, seen: 0, proven: true });
        closed.claimed = closed.claimed.saturating_add(found.claimed);
        closed.seen = closed.seen.saturating_add(found.seen);
        closed.proven &= found.proven;
        Ok(())
    }

    /// Compares the total at the end of its batch or file; where it was met before that, only what
    /// was counted behind it may make it differ.
    fn end(
        &mut self,
        layout: &Layout,
        total: &Total,
        warn: &mut impl FnMut(Reason),
    ) -> Result<(), Refusal> {
        if self.met.is_none() {
            return self.close(layout, total, warn);
        }
        let last = Self { stated: self.met, ..*self };
        if self.is_more {
            match (last.compare(layout, total)?, &mut self.closed) {
                (Compared::Differs(_, reason), _) => warn(*reason),
                (Compared::Agrees(found), Some(closed)) => closed.proven &= found.proven,
                (Compared::Agrees(_) | Compared::Unstated { .. }, _) => (),
            }
        }
        Ok(())
    }

    /// What it came to over all that was compared.
    fn closed(&self, total: &Total) -> Option<ControlTotal> {
        let Closed { claimed, seen, proven } = self.closed?;
        Some(ControlTotal { name: total.name.to_owned(), claimed, seen, proven })
    }
}

/// Compares what a record that is neither header nor trailer states, with what was counted so far.
///
/// # Errors
///
/// Where one doesn't agree.
pub(super) fn meet(
    layout: &Layout,
    family: usize,
    tallies: &mut [Tally],
    mut warn: impl FnMut(Reason),
) -> Result<(), Refusal> {
    for (total, tally) in layout.totals.iter().zip(tallies) {
        if tally.stated.is_some() && total.stated.iter().any(|at| at.family == family) {
            if total.scope == Scope::File {
                // Of several, each is of what was counted up to it.
                tally.closed = None;
            }
            tally.close(layout, total, &mut warn)?;
            (tally.met, tally.stated, tally.is_more) = (tally.stated, None, false);
        }
    }
    Ok(())
}

/// Compares the totals of a batch that ends, and adds them to those of the batches before it.
///
/// # Errors
///
/// Where one doesn't agree.
pub(super) fn close_batch(
    layout: &Layout,
    tallies: &mut [Tally],
    mut warn: impl FnMut(Reason),
) -> Result<(), Refusal> {
    for (total, tally) in layout.totals.iter().zip(tallies) {
        if total.scope == Scope::Batch {
            tally.end(layout, total, &mut warn)?;
        }
    }
    Ok(())
}

/// Begins to count anew what is of a batch.
pub(super) fn open_batch(layout: &Layout, tallies: &mut [Tally]) {
    for (total, tally) in layout.totals.iter().zip(tallies) {
        if total.scope == Scope::Batch {
            let Tally { closed, is_unstated, .. } = *tally;
            *tally = Tally { closed, is_unstated, ..Tally::default() };
        }
    }
}

/// What a file's totals came to.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) control_totals: Vec<ControlTotal>,
    pub(super) claimed_debits: Option<i64>,
    pub(super) claimed_credits: Option<i64>,
    pub(super) claimed_unsigned: Option<i64>,
}

/// Compares the totals of the file, and gathers those of its batches.
///
/// # Errors
///
/// Where one doesn't agree.
pub(super) fn close_file(
    layout: &Layout,
    tallies: &mut [Tally],
    mut warn: impl FnMut(Reason),
) -> Result<Totals, Refusal> {
    let mut totals = Totals::default();
    for (total, tally) in layout.totals.iter().zip(tallies) {
        if total.scope == Scope::File {
            tally.end(layout, total, &mut warn)?;
        }
        let (found, is_unstated) = (tally.closed(total), tally.is_unstated);
        if is_unstated {
            let mut reason = Reason::new("total_not_filled_in");
            reason.field = Some(total.name.to_owned());
            warn(reason);
        }
        let Some(found) = found else { continue };
        if !is_unstated && !total.is_warning {
            let claimed = match total.claims {
                Some(Claims::Debits) => &mut totals.claimed_debits,
                Some(Claims::Credits) => &mut totals.claimed_credits,
                Some(Claims::Unsigned) => &mut totals.claimed_unsigned,
                None => &mut None,
            };
            *claimed = Some(claimed.unwrap_or_default().saturating_add(found.claimed));
        }
        totals.control_totals.push(found);
    }
    Ok(totals)
}
