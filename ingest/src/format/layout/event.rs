//! From a group to its event.

use schemas::record::Amount;
use schemas::{Currency, Direction, Kind};

use super::context::{View, is_one_of};
use super::field::{Cell, Number};
use super::model::{Case, CurrencyOf, DirectionOf, Event, FieldRef, Money, Part, Template, Tested};
use crate::format::fault::Fault;
use crate::format::{Draft, Posted, Settings, Side};

/// What of a feed decides how events are posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Posting {
    side: Side,
    posted: Posted,
}

impl Posting {
    pub(super) fn of(settings: &Settings) -> Self {
        Self { side: settings.side, posted: settings.posted }
    }

    /// The amount that is posted: of two, the one that the feed asks for.
    fn money(self, case: &Case) -> Option<&Money> {
        let of_transaction = case.money_of_transaction.as_ref();
        of_transaction.filter(|_| self.posted == Posted::Transaction).or(case.money.as_ref())
    }
}

/// What an event is and does, before its amount is known.
#[derive(Clone, Debug)]
pub(super) struct Meaning<'a> {
    case: &'a Case,
    /// As the file says it, whatever the side and the amount.
    pub(super) direction: Direction,
    /// The field of the amount.
    amount: Option<FieldRef>,
}

/// Finds the case that holds, and what it does to the account.
///
/// # Errors
///
/// Where no case holds, or what says the direction says nothing that is known.
pub(super) fn meaning<'a>(
    view: &View<'a>,
    event: &'a Event,
    posting: Posting,
) -> Result<Meaning<'a>, Fault> {
    let Some(case) = event.cases.iter().find(|case| view.hold(&case.tests)) else {
        return Err(unknown_code(view, event));
    };
    let amount = posting.money(case).and_then(|money| money.amount);
    let (direction, amount) = match &case.direction {
        DirectionOf::Fixed(direction) => (direction.clone(), amount),
        DirectionOf::Sign => (signed(view, case, amount)?, amount),
        DirectionOf::Field { field, credit, debit } => (said(view, *field, credit, debit)?, amount),
        DirectionOf::Fields { credit, debit } => {
            let is_there =
                |at| view.number(at).map(|number| number.is_some_and(|number| number.units != 0));
            match (is_there(*credit)?, is_there(*debit)?) {
                (true, true) => {
                    let expected = format!("nothing beside an amount of {}", view.name(*debit));
                    let found = "an amount in both";
                    return Err(Fault::new("two_sides", view.name(*credit), expected, found));
                }
                (true, false) => (Direction::CREDIT, Some(*credit)),
                (false, true) => (Direction::DEBIT, Some(*debit)),
                (false, false) => (Direction::NONE, Some(*credit)),
            }
        }
    };
    Ok(Meaning { case, direction, amount })
}

/// What the sign of the posted amount says; another amount of the event must not say otherwise.
fn signed(view: &View<'_>, case: &Case, posted: Option<FieldRef>) -> Result<Direction, Fault> {
    let sign = |at| view.number(at).map(|number| number.map_or(0, |found| found.units.signum()));
    let own = posted.map_or(Ok(0), sign)?;
    let moneys = [&case.money, &case.money_of_transaction].into_iter().flatten();
    for other in moneys.filter_map(|money| money.amount) {
        if own.saturating_mul(sign(other)?) < 0 {
            let posted = posted.map_or("amount", |at| view.name(at));
            let expected = format!("the sign of {posted}");
            return Err(Fault::new("two_signs", view.name(other), expected, "the other one"));
        }
    }
    Ok(if own < 0 { Direction::DEBIT } else { Direction::CREDIT })
}

fn said(
    view: &View<'_>,
    field: FieldRef,
    credit: &[Vec<u8>],
    debit: &[Vec<u8>],
) -> Result<Direction, Fault> {
    let cell = view.cell(field);
    let is = |words| cell.is_some_and(|cell: Cell<'_>| is_one_of(&cell, words));
    if is(credit) {
        return Ok(Direction::CREDIT);
    }
    if is(debit) {
        return Ok(Direction::DEBIT);
    }
    let expected = shown(credit.iter().chain(debit)).join(" or ");
    let found = cell.map_or_else(|| String::from("nothing"), |cell| found_code(&cell));
    Err(Fault::new("unknown_direction", view.name(field), expected, found))
}

/// Words as people write them: one that has two forms once.
fn shown<'a>(words: impl Iterator<Item = &'a Vec<u8>>) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for word in words {
        let letters = || word.iter().copied().map(char::from).collect();
        let text = std::str::from_utf8(word).map_or_else(|_| letters(), str::to_owned);
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    shown
}

/// Names the first field that the cases ask for, and what stands there.
fn unknown_code(view: &View<'_>, event: &Event) -> Fault {
    let tests = event.cases.iter().flat_map(|case| &case.tests);
    let field = tests
        .filter_map(|test| match test.of {
            Tested::Field(at) => Some(at),
            Tested::Place(_) => None,
        })
        .next();
    let name = field.map_or("code", |at| view.name(at));
    let cell = field.and_then(|at| view.cell(at));
    let found = cell.map_or_else(|| String::from("nothing"), |cell| found_code(&cell));
    Fault::new("unknown_code", name, "a code that the layout has a case for", found)
}

/// A code as it stands: it is short, so it is no number of an account, but where it is a part of
/// one.
fn found_code(cell: &Cell<'_>) -> String {
    let word = cell.word();
    match word.len() {
        0 => String::from("a blank field"),
        1..=8 if !cell.field.is_secret() => crate::format::columns::shown(word),
        _ => cell.found(),
    }
}

/// A code of letters and digits; none where it may be a number of an account.
fn code(cell: &Cell<'_>) -> Option<String> {
    let word = cell.word();
    let is_told = word.len() <= 8 && !cell.field.is_secret() && !cell.field.is_raw();
    match word {
        [] => Some(String::from("a blank field")),
        _ if is_told && word.iter().all(u8::is_ascii_alphanumeric) => {
            Some(word.iter().copied().map(char::from).collect())
        }
        _ => None,
    }
}

/// Reads a group into the draft. What it means is `meaning`, or why that can't be told.
///
/// Checks run from the records to the code, the amounts, the account and the rest, and the first
/// that fails is the reason; the order is part of the contract.
pub(super) fn read(
    view: &View<'_>,
    event: &Event,
    posting: Posting,
    whole: Result<(), Fault>,
    meaning: &Result<Meaning<'_>, Fault>,
    draft: &mut Draft,
) -> Result<(), Fault> {
    draft.record.code.clear();
    let code = view.push(&event.code, &mut draft.record.code, false);
    whole?;
    is_of_one(view, event)?;
    code?;
    let Meaning { case, direction, amount } = meaning.as_ref().map_err(Fault::clone)?;
    let amount = money(view, case, posting, direction, *amount, draft)?;
    amounts(view, case, draft)?;
    account(view, case, direction, amount, draft)?;
    control(view, case, draft)?;
    describe(view, case, draft)?;
    if direction == &Direction::NONE || amount == 0 {
        draft.record.direction = Direction::NONE;
    } else if view.layout.is_by_side && posting.side == Side::Acquirer {
        draft.record.direction = direction.opposite();
    } else {
        draft.record.direction = direction.clone();
    }
    draft.record.kind = Kind::clone(&case.kind);
    Ok(())
}

/// The records are of one transaction, by what its layout says that they have in common.
fn is_of_one(view: &View<'_>, event: &Event) -> Result<(), Fault> {
    for (at, other) in &event.same {
        let Some(common) = view.cell(*other) else { continue };
        for piece in view.pieces.iter().filter(|piece| piece.family == at.family) {
            let Some(cell) = piece.cell(view.layout, *at, view.columns) else { continue };
            if cell.is_same(&common)? {
                continue;
            }
            let own = view.layout.records.get(piece.record).map_or("", |record| record.name);
            let place =
                format!("field {} of {}", common.field.name, view.record_name(other.family));
            let (expected, found) = match (code(&common), code(&cell)) {
                (Some(expected), Some(found)) => {
                    (format!("{expected} as in the {place}"), format!("{found} in {own}"))
                }
                _ => (format!("what stands in the {place}"), format!("something else in {own}")),
            };
            return Err(Fault::new("not_the_same", cell.field.name, expected, found));
        }
    }
    Ok(())
}

/// Sets the amount that is posted, its currency and exponent; gives the amount. Where nothing
/// moves it is zero, and still has to be readable.
fn money(
    view: &View<'_>,
    case: &Case,
    posting: Posting,
    direction: &Direction,
    amount: Option<FieldRef>,
    draft: &mut Draft,
) -> Result<i64, Fault> {
    let (Some(money), Some(at)) = (posting.money(case), amount) else { return Ok(0) };
    let moves = *direction != Direction::NONE;
    let Some(number) = view.number(at)? else {
        if moves {
            return Err(Fault::new("amount_missing", view.name(at), "an amount", "a blank field"));
        }
        return Ok(0);
    };
    let (currency, exponent) = match unit(view, money) {
        Ok(unit) => unit,
        // What moves nothing needs no currency.
        Err(_) if !moves => return Ok(0),
        Err(fault) => return Err(fault),
    };
    let minor = minor(view, at, number, exponent)?;
    draft.record.currency = Some(currency);
    draft.record.exponent = i32::from(exponent);
    if !moves {
        return Ok(0);
    }
    let is_signed = matches!(case.direction, DirectionOf::Sign);
    if minor < 0 && !is_signed {
        let found = "an amount below zero";
        return Err(Fault::new("negative_amount", view.name(at), "an amount", found));
    }
    let minor = minor.checked_abs().ok_or_else(|| too_large(view.name(at)))?;
    draft.record.amount_minor = minor;
    Ok(minor)
}

/// An amount in minor units of a currency of so many digits.
fn minor(view: &View<'_>, at: FieldRef, number: Number, exponent: u8) -> Result<i64, Fault> {
    number.at(exponent).ok_or_else(|| {
        let expected = format!("an amount of at most {exponent} decimal digits, in 64 bits");
        Fault::new("amount_scale", view.name(at), expected, "more digits than the currency has")
    })
}

fn too_large(field: &'static str) -> Fault {
    Fault::new("amount_too_large", field, "an amount that fits in 64 bits", "a larger one")
}

/// The currency of an amount and the digits of its minor unit.
fn unit(view: &View<'_>, money: &Money) -> Result<(Currency, u8), Fault> {
    let (currency, listed, field) = match money.currency {
        CurrencyOf::Fixed(currency) => (currency, None, "currency"),
        CurrencyOf::Field(at) => {
            let cell = view.cell(at);
            let word = cell.map(|cell| cell.word()).unwrap_or_default();
            let Some((currency, exponent)) = currency(word) else {
                let expected = "a currency of ISO 4217";
                let found = cell.map_or_else(|| String::from("nothing"), |cell| found_code(&cell));
                return Err(Fault::new("currency", view.name(at), expected, found));
            };
            (currency, exponent, view.name(at))
        }
    };
    let exponent = money.exponent.or(listed).or_else(|| currency.exponent());
    let missing = || {
        let expected = "a currency whose minor unit ISO 4217 lists";
        Fault::new("currency", field, expected, currency.as_str())
    };
    Ok((currency, exponent.ok_or_else(missing)?))
}

/// A currency by its letters or its digits.
fn currency(word: &[u8]) -> Option<(Currency, Option<u8>)> {
    if let Some(code) = crate::format::columns::number(word) {
        let (currency, exponent) = Currency::from_numeric(u16::try_from(code).ok()?)?;
        return Some((currency, Some(exponent)));
    }
    Some((Currency::from_letters(std::str::from_utf8(word).ok()?)?, None))
}

/// Sets the further amounts: those that are there and not zero.
fn amounts(view: &View<'_>, case: &Case, draft: &mut Draft) -> Result<(), Fault> {
    for (role, money) in &case.amounts {
        let Some(at) = money.amount else { continue };
        let Some(number) = view.number(at)? else { continue };
        if number.units == 0 {
            continue;
        }
        let (currency, exponent) = unit(view, money)?;
        draft.record.amounts.push(Amount {
            role: std::borrow::Cow::Borrowed(role),
            amount_minor: minor(view, at, number, exponent)?,
            currency,
            exponent: i32::from(exponent),
        });
    }
    Ok(())
}

/// Sets the account. What moves money needs one in full; what only informs has one where all of
/// its parts are there.
fn account(
    view: &View<'_>,
    case: &Case,
    direction: &Direction,
    amount: i64,
    draft: &mut Draft,
) -> Result<(), Fault> {
    let Some(template) = &case.account else { return Ok(()) };
    let moves = *direction != Direction::NONE && amount != 0;
    let pushed = draft.account.write(|text| view.push(template, text, true))?;
    let Some(missing) = pushed.missing else { return Ok(()) };
    draft.account.clear();
    if moves {
        let expected = "a part of the account's number";
        return Err(Fault::new("account_missing", view.name(missing), expected, "a blank field"));
    }
    Ok(())
}

/// Sets what the record adds to the file's totals, where it does not post that.
fn control(view: &View<'_>, case: &Case, draft: &mut Draft) -> Result<(), Fault> {
    let money = case.money.as_ref().or(case.money_of_transaction.as_ref());
    let Some(at) = case.control.or_else(|| money.and_then(|money| money.amount)) else {
        return Ok(());
    };
    let Some(number) = view.number(at)? else { return Ok(()) };
    let exponent = u8::try_from(draft.record.exponent).unwrap_or_default();
    let units = match draft.record.currency {
        Some(_) => number.at(exponent).unwrap_or(number.units),
        None => number.units,
    };
    draft.record.control_amount = (units != draft.record.amount_minor).then_some(units);
    Ok(())
}

/// Sets when it was, whom it concerns, and what else is told.
fn describe(view: &View<'_>, case: &Case, draft: &mut Draft) -> Result<(), Fault> {
    let record = &mut draft.record;
    if let Some((date, time)) = case.occurred_at {
        let time = time.map_or(Ok(None), |at| view.moment(at))?;
        record.occurred_at = view.moment(date)?.and_then(|moment| moment.with(time));
    }
    if let Some(at) = case.value_date {
        record.value_date = view.moment(at)?.and_then(|moment| moment.date);
    }
    if let Some(template) = &case.reference {
        texts(view, template, record.reference.get_or_insert_default())?;
    }
    if let Some(template) = &case.counterparty {
        texts(view, template, record.counterparty.get_or_insert_default())?;
    }
    for (name, template) in &case.attributes {
        let is_there = template.0.iter().any(|part| match part {
            Part::Field(at) => view.cell(*at).is_some_and(|cell| cell.is_there()),
            Part::Text(_) => false,
        });
        if is_there {
            texts(view, template, record.attributes.value(name))?;
        }
    }
    Ok(())
}

/// Writes a text that holds something of the record; else nothing.
fn texts(view: &View<'_>, template: &Template, into: &mut String) -> Result<(), Fault> {
    into.clear();
    let pushed = view.push(template, into, false)?;
    if !pushed.any {
        into.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
