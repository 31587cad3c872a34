//! Amounts and their currencies.

use schemas::Currency;

use super::names::Within;
use super::template::template;
use super::value::Value;
use crate::format::layout::model::{
    CurrencyOf, Field, FieldRef, Form, Money, Number, Part, Record, Scale, Template,
};

/// What is said once for all feeds, or apart for those that post what is billed and those that
/// post the transaction's amount.
#[derive(Clone, Copy)]
pub(super) struct Posted<T> {
    billing: T,
    transaction: Option<T>,
}

impl<T: Copy> Posted<T> {
    /// Reads it; else a mistake.
    pub(super) fn read<'a>(
        value: Value<'a>,
        read: impl Fn(Value<'a>) -> Option<T>,
    ) -> Option<Self> {
        let Some(table) = value.if_table() else {
            return Some(Self { billing: read(value)?, transaction: None });
        };
        table.only(&["billing", "transaction"]);
        let billing = table.require("billing").and_then(&read);
        let transaction = table.require("transaction").and_then(&read);
        Some(Self { billing: billing?, transaction: Some(transaction?) })
    }
}

/// What is posted, as far as it is said.
#[derive(Clone, Copy, Default)]
pub(super) struct Written {
    /// The amount.
    pub(super) amount: Option<Posted<FieldRef>>,
    /// Its currency.
    pub(super) currency: Option<Posted<CurrencyOf>>,
    /// The digits of its minor unit.
    pub(super) exponent: Option<u8>,
    /// True where one of them is said, and is a mistake.
    pub(super) is_wrong: bool,
}

impl Written {
    /// This, and what the other says where this says nothing.
    pub(super) fn over(self, other: &Self) -> Self {
        Self {
            amount: self.amount.or(other.amount),
            currency: self.currency.or(other.currency),
            exponent: self.exponent.or(other.exponent),
            is_wrong: self.is_wrong || other.is_wrong,
        }
    }

    /// What is posted: of what is billed, and of the transaction where that is another. None where
    /// the amount or the currency isn't said; the amount may be said elsewhere.
    pub(super) fn of(&self, is_elsewhere: bool) -> (Option<Money>, Option<Money>) {
        let Some(currency) = self.currency else { return (None, None) };
        let exponent = self.exponent;
        let (billing, transaction) = match self.amount.filter(|_| !is_elsewhere) {
            None if !is_elsewhere => return (None, None),
            None => (None, None),
            Some(amount) => (Some(amount.billing), amount.transaction),
        };
        let money = |amount, currency| Money { amount, currency, exponent };
        let is_same = transaction.is_none() && currency.transaction.is_none();
        let other =
            money(transaction.or(billing), currency.transaction.unwrap_or(currency.billing));
        (Some(money(billing, currency.billing)), (!is_same).then_some(other))
    }
}

/// A further amount, as far as it is said.
#[derive(Clone, Copy)]
pub(super) struct Amounted {
    amount: FieldRef,
    currency: Option<CurrencyOf>,
    exponent: Option<u8>,
}

impl Amounted {
    /// The whole of it: in the currency of what is posted, where it says none.
    pub(super) fn money(&self, posted: &Written) -> Option<Money> {
        let currency = self.currency.or(posted.currency.map(|posted| posted.billing))?;
        let exponent = self.exponent.or(posted.exponent);
        Some(Money { amount: Some(self.amount), currency, exponent })
    }
}

/// Reads a further amount: a field, or a table that says its currency too.
pub(super) fn money<'a>(
    value: Value<'a>,
    within: &Within<'_, 'a>,
    records: &[Record],
) -> Option<Amounted> {
    let Some(table) = value.if_table() else {
        let amount = number(value, within, records)?;
        return Some(Amounted { amount, currency: None, exponent: None });
    };
    table.only(&["amount", "currency", "exponent"]);
    let amount = table.require("amount").and_then(|value| number(value, within, records));
    let currency = table.get("currency").and_then(|value| currency(value, within));
    let exponent = table.get("exponent").and_then(exponent);
    Some(Amounted { amount: amount?, currency, exponent })
}

/// A field that is a number and says where its point is; else a mistake.
pub(super) fn number<'a>(
    value: Value<'a>,
    within: &Within<'_, 'a>,
    records: &[Record],
) -> Option<FieldRef> {
    let at = within.named(value)?;
    let Some(Number { scale, .. }) = as_number(records, at) else {
        if field(records, at).is_some() {
            value.mistake("a field that is a number", value.shown());
        }
        return None;
    };
    let is_said = within.names.says(at, "scale") || scale == Scale::AsWritten;
    if !is_said {
        let remedy = String::from("say scale = 2 where its last two digits are behind the point");
        value.mistake_with("an amount whose field says its scale", value.shown(), remedy);
    }
    Some(at)
}

/// A currency by its letters, or `"{field}"`; else a mistake.
pub(super) fn currency<'a>(value: Value<'a>, within: &Within<'_, 'a>) -> Option<CurrencyOf> {
    let text = value.text()?;
    if text.contains('{') {
        return match template(value, within)? {
            Template(parts) => match parts.as_slice() {
                [Part::Field(field)] => Some(CurrencyOf::Field(*field)),
                _ => {
                    value.mistake("one field in braces, and nothing else", value.shown());
                    None
                }
            },
        };
    }
    match Currency::from_letters(text).filter(|currency| currency.exponent().is_some()) {
        Some(currency) => Some(CurrencyOf::Fixed(currency)),
        None => {
            let expected = "a currency of ISO 4217 in three capital letters, or \"{field}\"";
            value.mistake(expected, value.shown());
            None
        }
    }
}

/// The digits of a minor unit.
pub(super) fn exponent(value: Value<'_>) -> Option<u8> {
    value.integer(0..=6).and_then(|digits| u8::try_from(digits).ok())
}

/// The field that a reference leads to, in the first record of the family that has it.
pub(super) fn field(records: &[Record], at: FieldRef) -> Option<&Field> {
    let mut family = records.iter().filter(|record| record.family == at.family);
    family.find_map(|record| record.fields.get(at.field)?.as_ref())
}

/// How a field's number is written, where it is one in every record of the family.
pub(super) fn as_number(records: &[Record], at: FieldRef) -> Option<Number> {
    let family = records.iter().filter(|record| record.family == at.family);
    let mut found = None;
    for field in family.filter_map(|record| record.fields.get(at.field)?.as_ref()) {
        let Form::Number(number) = field.form else { return None };
        found = Some(number);
    }
    found
}
