//! From a message to the event.

use std::borrow::Cow;

use schemas::{Amount, Currency, Date, Direction, Kind, LocalTime};

use super::elements::{Spans, name};
use super::kinds::{self, Meaning};
use super::subelements::Subelements;
use crate::format::columns::{number, shown, trim};
use crate::format::fault::Fault;
use crate::format::{Draft, Encoding, Posted, Side};

/// What of the feed decides how a message becomes an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    pub(super) encoding: Encoding,
    pub(super) side: Side,
    pub(super) posted: Posted,
}

/// A message whose elements are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) spans: &'a Spans,
    pub(super) text: &'a [u8],
    pub(super) subelements: &'a Subelements<'a>,
}

impl<'a> Message<'a> {
    fn get(&self, bit: u8) -> Option<&'a [u8]> {
        self.spans.get(self.text, bit)
    }

    /// An element of digits; none where the message has it not.
    fn number(&self, bit: u8) -> Result<Option<i64>, Fault> {
        match self.get(bit) {
            None => Ok(None),
            Some(digits) => match number(digits) {
                Some(value) => Ok(Some(value)),
                None => Err(Fault::not_digits(name(bit), digits)),
            },
        }
    }
}

/// An amount with its currency.
#[derive(Clone, Copy, Debug)]
struct Money {
    minor: i64,
    currency: Currency,
    exponent: u8,
}

/// Whether the amount that the feed asks for was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FellBack(pub(super) bool);

/// Reads a message into the draft.
///
/// Checks run from the account to the amounts to what they mean together, and the first that fails
/// is the reason; the order is part of the contract.
pub(super) fn read(
    mapping: Mapping,
    meaning: Meaning,
    message: &Message<'_>,
    draft: &mut Draft,
) -> Result<FellBack, Fault> {
    let moves = match meaning {
        Meaning::Presentment | Meaning::Representment | Meaning::Chargeback => true,
        Meaning::FeeCollection => true,
        Meaning::Position | Meaning::Information | Meaning::Header | Meaning::Trailer => false,
    };
    let concerns_nobody = matches!(meaning, Meaning::FeeCollection | Meaning::Position);
    if !concerns_nobody {
        match mapping.side {
            Side::Issuer => card(message, moves, draft)?,
            Side::Acquirer => merchant(message, moves, draft)?,
        }
    }
    let transaction = money(message, moves, 4, 49)?;
    let reconciliation = money(message, moves, 5, 50)?;
    let billing = money(message, moves, 6, 51)?;
    let fees = message.subelements.fees.unwrap_or_default();
    for (role, amount) in
        [("transaction", transaction), ("reconciliation", reconciliation), ("billing", billing)]
    {
        push_amount(role, amount, draft);
    }
    fees_of(message, fees, draft)?;
    draft.record.control_amount = None;

    let mut fell_back = FellBack(false);
    if moves {
        // The cardholder is billed; merchants and institutions are paid the transaction's amount.
        let wants_billing = mapping.posted == Posted::Billing
            && mapping.side == Side::Issuer
            && meaning != Meaning::FeeCollection;
        let posted = if wants_billing { billing.or(transaction) } else { transaction };
        fell_back = FellBack(wants_billing && billing.is_none());
        post(mapping, meaning, message, posted, draft)?;
    } else {
        draft.record.kind =
            if meaning == Meaning::Position { Kind::SETTLEMENT } else { Kind::INFORMATION };
    }
    let stated = message.number(4)?.unwrap_or_default();
    draft.record.control_amount = (stated != draft.record.amount_minor).then_some(stated);
    describe(mapping, message, draft);
    Ok(fell_back)
}

/// Sets kind, direction and the amount that is posted.
fn post(
    mapping: Mapping,
    meaning: Meaning,
    message: &Message<'_>,
    posted: Option<Money>,
    draft: &mut Draft,
) -> Result<(), Fault> {
    let processing = message.get(3).unwrap_or_default();
    let is_reversal = message.subelements.is_reversal();
    let Some((kind, direction)) = kinds::kind(meaning, processing, is_reversal) else {
        return Err(Fault::new(
            "processing_code",
            name(3),
            if meaning == Meaning::FeeCollection { "19 or 29" } else { "a processing code" },
            match processing {
                [] => String::from("no such element"),
                code => shown(code),
            },
        ));
    };
    let Some(posted) = posted else {
        return Err(Fault::new("amount_missing", name(4), "an amount and its currency", "none"));
    };
    let record = &mut draft.record;
    record.kind = kind;
    record.direction = match mapping.side {
        _ if posted.minor == 0 => Direction::NONE,
        // Who sends a fee collection is its originator: whoever reads it is the receiver.
        _ if meaning == Meaning::FeeCollection => direction,
        Side::Issuer => direction,
        Side::Acquirer => direction.opposite(),
    };
    record.amount_minor = posted.minor;
    record.currency = Some(posted.currency);
    record.exponent = i32::from(posted.exponent);
    Ok(())
}

/// Sets the issuer's account: a card is needed where money moves, and must be right wherever it
/// stands.
fn card(message: &Message<'_>, is_needed: bool, draft: &mut Draft) -> Result<(), Fault> {
    let Some(pan) = message.get(2) else {
        if !is_needed {
            return Ok(());
        }
        return Err(Fault::new("account_missing", name(2), "a card number", "no such element"));
    };
    if !pan.iter().all(u8::is_ascii_digit) {
        return Err(Fault::not_digits(name(2), pan));
    }
    let Some(pan) = std::str::from_utf8(pan).ok().filter(|pan| pan.len() >= PAN_DIGITS_MIN) else {
        let found = format!("{} digits", pan.len());
        return Err(Fault::new("account_length", name(2), "8 to 19 digits", found));
    };
    draft.account.begin("card");
    draft.account.push_str(pan);
    Ok(())
}

/// Sets the acquirer's account, the merchant's: the card is another bank's.
fn merchant(message: &Message<'_>, is_needed: bool, draft: &mut Draft) -> Result<(), Fault> {
    let Some(id) = message.get(42).map(trim).filter(|id| !id.is_empty()) else {
        if !is_needed {
            return Ok(());
        }
        return Err(Fault::new("account_missing", name(42), "a merchant's ID", "none"));
    };
    let is_printable = id.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let Some(id) = std::str::from_utf8(id).ok().filter(|_| is_printable) else {
        return Err(Fault::new("not_text", name(42), "characters of ASCII", "another byte"));
    };
    draft.account.begin("merchant");
    draft.account.push_str(id);
    Ok(())
}

/// ISO 7812 numbers have 8 digits at least: issuer identification, account and check digit.
const PAN_DIGITS_MIN: usize = 8;

/// An amount and its currency; none where there is no amount. One that moves money needs a
/// currency.
fn money(
    message: &Message<'_>,
    moves: bool,
    amount: u8,
    currency: u8,
) -> Result<Option<Money>, Fault> {
    let Some(minor) = message.number(amount)? else { return Ok(None) };
    let Some(code) = message.get(currency) else {
        if !moves {
            return Ok(None);
        }
        let expected = format!("the currency of {}", name(amount));
        return Err(Fault::new("currency_missing", name(currency), expected, "no such element"));
    };
    let (currency, exponent) = currency_of(message.subelements, code, name(currency))?;
    Ok(Some(Money { minor, currency, exponent }))
}

/// A currency by its numeric code, and the exponent that the message or else ISO 4217 gives it.
fn currency_of(
    subelements: &Subelements<'_>,
    code: &[u8],
    field: &'static str,
) -> Result<(Currency, u8), Fault> {
    let numeric = number(code).and_then(|numeric| u16::try_from(numeric).ok());
    let Some((currency, exponent)) = numeric.and_then(Currency::from_numeric) else {
        return Err(Fault::new("currency", field, "a numeric code of ISO 4217", shown(code)));
    };
    Ok((currency, subelements.exponent(code).unwrap_or(exponent)))
}

fn push_amount(role: &'static str, amount: Option<Money>, draft: &mut Draft) {
    if let Some(money) = amount {
        draft.record.amounts.push(Amount {
            role: Cow::Borrowed(role),
            amount_minor: money.minor,
            currency: money.currency,
            exponent: i32::from(money.exponent),
        });
    }
}

/// PDS 0146 repeats type 2, processing 2, settlement 2, currency 3, amount 12, and the last two
/// once more in the currency of reconciliation, which is not kept.
fn fees_of(message: &Message<'_>, fees: &[u8], draft: &mut Draft) -> Result<(), Fault> {
    const FIELD: &str = "PDS 0146 amounts, transaction fee";
    let rows = fees.chunks_exact(36);
    if !rows.remainder().is_empty() {
        let found = format!("{} bytes", fees.len());
        return Err(Fault::new("fees", FIELD, "a multiple of 36 bytes", found));
    }
    for row in rows {
        let code = row.get(6..9).unwrap_or_default();
        let digits = row.get(9..21).unwrap_or_default();
        let minor = number(digits).ok_or_else(|| Fault::not_digits(FIELD, digits))?;
        let (currency, exponent) = currency_of(message.subelements, code, FIELD)?;
        push_amount("fee", Some(Money { minor, currency, exponent }), draft);
    }
    Ok(())
}

/// What travels beside the money. DE 72 and every element not named here may bear account numbers
/// and is dropped.
#[rustfmt::skip]
const ATTRIBUTES: &[(u8, &str)] = &[
    (3,  "processing_code"),
    (22, "point_of_service"),
    (25, "message_reason"),
    (26, "merchant_category"),
    (32, "acquirer"),
    (37, "retrieval_reference"),
    (38, "approval_code"),
    (41, "terminal"),
    (42, "merchant"),
    (63, "life_cycle"),
];

fn describe(mapping: Mapping, message: &Message<'_>, draft: &mut Draft) {
    let encoding = mapping.encoding;
    let record = &mut draft.record;
    record.occurred_at = message.get(12).and_then(local_time);
    if let Some(arn) = message.get(31) {
        encoding.push_text(record.reference.get_or_insert_default(), trim(arn));
    }
    if let Some(location) = message.get(43) {
        // Name, street and city are parted by backslashes; where they are not, all is the name.
        let name = location.split(|byte| *byte == b'\\').next().unwrap_or_default();
        encoding.push_free_text(record.counterparty.get_or_insert_default(), trim(name));
    }
    let attributes = &mut record.attributes;
    attributes.set("encoding", encoding.as_str());
    for (bit, name) in ATTRIBUTES {
        // To an acquirer the merchant is the account, which is shown nowhere in clear.
        if *bit == 42 && mapping.side == Side::Acquirer {
            continue;
        }
        match message.get(*bit).map(trim) {
            Some(text) if !text.is_empty() => encoding.push_text(attributes.value(name), text),
            Some(_) | None => (),
        }
    }
    let subelements = message.subelements;
    for (value, name) in [
        (subelements.terminal_type, "terminal_type"),
        (subelements.security_level, "security_level"),
        (subelements.settlement, "settlement_indicator"),
    ] {
        if let Some(text) = value {
            encoding.push_free_text(attributes.value(name), trim(text));
        }
    }
    if subelements.is_reversal() {
        attributes.set("reversal", "R");
    }
}

/// YYMMDDhhmmss in this century, on the clock of the place; none where the calendar or the clock
/// has none such.
fn local_time(digits: &[u8]) -> Option<LocalTime> {
    let value = number(digits)?;
    let part = |divisor: i64| value.checked_div(divisor).map(|part| part.rem_euclid(100));
    let small = |divisor: i64| i8::try_from(part(divisor)?).ok();
    let year = i16::try_from(part(10_000_000_000)?).ok()?.checked_add(2_000)?;
    let date = Date::new(year, small(100_000_000)?, small(1_000_000)?)?;
    LocalTime::new(date, small(10_000)?, small(100)?, small(1)?)
}
