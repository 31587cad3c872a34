//! From an entry and its addenda to the event.

use schemas::{Currency, Date, Direction, Kind};
use serde::{Deserialize, Serialize};

use super::codes::{self, EntryClass, Form, Form6, Side};
use super::layout::{
    addenda, adv_entry, change_addenda, counted_entry, entry, iat_entry, originator_addenda,
    return_addenda,
};
use super::line::{LENGTH, Line};
use crate::format::columns::{Column, masked, number, shown, trim};
use crate::format::fault::Fault;
use crate::format::{Control, Draft, Encoding};

/// What a batch says about each of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BatchHeader {
    /// 200, 220, 225 or 280.
    pub(super) service_class: i64,
    /// The three letters of the entry class.
    pub(super) entry_class: String,
    /// Who originates; empty in IAT batches.
    pub(super) company: String,
    /// What it is for.
    pub(super) description: String,
    /// When it takes effect, where that is a date.
    pub(super) effective_date: Option<Date>,
    /// The currency that it began in and the one that it ends in; of IAT batches.
    pub(super) currencies: Option<(String, String)>,
    /// The identification of the company, to be found again in the control.
    pub(super) company_id: String,
    /// The originating institution.
    pub(super) odfi: String,
    /// The batch's number.
    pub(super) number: String,
}

impl BatchHeader {
    /// How its entries are laid out and what they may do.
    pub(super) fn class(&self) -> Option<&'static EntryClass> {
        codes::batch_class(self.entry_class.as_bytes(), self.currencies.is_some())
    }
}

/// What an entry's addenda add to it.
#[derive(Debug, Default)]
pub(super) struct Addenda {
    /// How many there are.
    pub(super) count: i64,
    /// What is wrong with the first of them that can't be read.
    fault: Option<Fault>,
    /// The line of the last return.
    returned: Option<[u8; LENGTH]>,
    /// The line of the notification of change.
    changed: Option<[u8; LENGTH]>,
    /// The line that names the originator of an IAT entry.
    originator: Option<[u8; LENGTH]>,
    /// Which of the types 10 to 16 are there, as bits from the lowest.
    mandatory: u8,
    /// How many of the types 17 and 18 there are.
    optional: i64,
}

impl Addenda {
    /// Takes up the next one.
    pub(super) fn push(&mut self, line: &Line, class: &EntryClass, encoding: Encoding) {
        self.count = self.count.saturating_add(1);
        let fault = match characters(line, addenda_layout(&line.text), encoding) {
            Ok(()) => self.read(&line.text, class).err(),
            Err(fault) => Some(fault),
        };
        if self.fault.is_none() {
            self.fault = fault;
        }
    }

    fn read(&mut self, line: &[u8; LENGTH], class: &EntryClass) -> Result<(), Fault> {
        let kind = addenda::TYPE.of(line);
        if let Some(place) = MANDATORY.iter().position(|known| known.as_slice() == kind) {
            self.mandatory |= u32::try_from(place).map_or(0, |place| 1_u8.wrapping_shl(place));
        }
        match kind {
            b"02" | b"05" => Ok(()),
            b"10" | b"12" | b"13" | b"14" | b"15" | b"16" => Ok(()),
            b"17" | b"18" => {
                self.optional = self.optional.saturating_add(1);
                Ok(())
            }
            b"11" => {
                if class.form == Form6::Iat {
                    self.originator = Some(*line);
                }
                Ok(())
            }
            b"98" => {
                self.changed = Some(*line);
                let code = change_addenda::REASON.of(line);
                if codes::is_change_code(code) {
                    return Ok(());
                }
                let expected = "C01 to C14 or C61 to C69";
                Err(Fault::new("change_code", change_addenda::REASON, expected, shown(code)))
            }
            b"99" => {
                self.returned = Some(*line);
                let reason = return_addenda::REASON.of(line);
                if codes::is_return_reason(reason) {
                    return Ok(());
                }
                let expected = "R01 to R47, R50 to R53, R61 to R77 or R80 to R85";
                Err(Fault::new("return_reason", return_addenda::REASON, expected, shown(reason)))
            }
            other => Err(Fault::new(
                "addenda_type",
                addenda::TYPE,
                "02, 05, 10 to 18, 98 or 99",
                shown(other),
            )),
        }
    }
}

/// The addenda that each international entry has: transaction, originator, originator's and
/// receiver's address, both institutions, receiver.
const MANDATORY: [&[u8; 2]; 7] = [b"10", b"11", b"12", b"13", b"14", b"15", b"16"];

/// What an entry adds to the totals of its batch and file: the RDFI for the hash, and its amount on
/// its side. Each is none where it can't be read.
pub(super) fn control(line: &[u8; LENGTH], class: &EntryClass) -> (Option<i64>, Option<Control>) {
    let rdfi = number(entry::RDFI.of(line));
    let side = codes::transaction_code(entry::CODE.of(line));
    let amount = number(amount_column(class).of(line));
    let control = match (side, amount) {
        (Some((_, Side::Debit)), Some(amount)) => {
            Some(Control { debits: amount, credits: 0, unsigned: 0 })
        }
        (Some((_, Side::Credit)), Some(amount)) => {
            Some(Control { debits: 0, credits: amount, unsigned: 0 })
        }
        // Whatever its side, it adds nothing to either.
        (None, Some(0)) => Some(Control::default()),
        (None, _) | (_, None) => None,
    };
    (rdfi, control)
}

/// Reads an entry into the draft.
///
/// Checks run from the line to the fields to what they mean together, and the first that fails is
/// the reason; the order is part of the contract.
pub(super) fn read(
    header: &BatchHeader,
    class: &'static EntryClass,
    line: &Line,
    addenda: &Addenda,
    encoding: Encoding,
    draft: &mut Draft,
) -> Result<(), Fault> {
    let text = &line.text;
    let code = entry::CODE.of(text);
    encoding.push_text(&mut draft.record.code, code);
    characters(line, entry_layout(class), encoding)?;
    if let Some(fault) = &addenda.fault {
        return Err(fault.clone());
    }
    let (form, side) = codes::transaction_code(code)
        .filter(|(form, _)| (*form == Form::Advice) == (class.form == Form6::Adv))
        .ok_or_else(|| {
            Fault::new("transaction_code", entry::CODE, "a code of the rule book", shown(code))
        })?;
    check_digit(text)?;
    let column = amount_column(class);
    let amount = number(column.of(text))
        .ok_or_else(|| Fault::new("not_digits", column, "digits", masked(column.of(text))))?;
    sides(header, class, side)?;
    counts(class, text, addenda)?;
    trace(text)?;
    back(form, addenda)?;
    if form == Form::Prenote && amount != 0 {
        let found = amount.to_string();
        return Err(Fault::new("amount_in_prenote", column, "0 in a prenote", found));
    }
    if class.form != Form6::Adv {
        account(class, text, draft)?;
    }
    if !names_a_customer(addenda) {
        draft.account.clear();
    }
    // From here on nothing can fail.
    let kind = kind(header, class, form, addenda);
    money(&kind, side, amount, draft);
    draft.record.kind = kind;
    describe(header, addenda, text, encoding, draft);
    Ok(())
}

/// A digit that is wrong, or a character that is none, is no entry to be posted.
fn characters(line: &Line, layout: &[Column], encoding: Encoding) -> Result<(), Fault> {
    // All of them at once first: a line that is in order, as nearly all are, costs one pass.
    let in_order =
        line.text.iter().fold(true, |all, byte| all & (byte.wrapping_sub(0x20) <= 0x7e - 0x20));
    if !in_order && let Some(at) = line.text.iter().position(|byte| !encoding.is_text(*byte)) {
        let column = at.saturating_add(1);
        let field = layout.iter().find(|field| field.first <= column && column <= field.last);
        return Err(Fault::new(
            "not_text",
            field.copied().unwrap_or(entry::RECORD_TYPE),
            format!("characters of {encoding}"),
            format!("a byte that is none in column {column}"),
        ));
    }
    if line.overlong {
        return Err(Fault {
            reason: "record_length",
            field: "record",
            expected: format!("{LENGTH} characters"),
            found: String::from("more"),
        });
    }
    Ok(())
}

/// The ninth digit of the RDFI: the digits weighted by 3, 7, 1, … make a multiple of ten.
fn check_digit(line: &[u8; LENGTH]) -> Result<(), Fault> {
    let rdfi = entry::RDFI.of(line);
    if number(rdfi).is_none() {
        return Err(Fault::new("not_digits", entry::RDFI, "8 digits", masked(rdfi)));
    }
    let digit = entry::CHECK_DIGIT.of(line);
    let expected = routing_check_digit(rdfi);
    if digit == [expected] {
        return Ok(());
    }
    Err(Fault::new(
        "check_digit",
        entry::CHECK_DIGIT,
        format!("{} for this receiving DFI", char::from(expected)),
        shown(digit),
    ))
}

/// The check digit of eight digits of a routing number, as ASCII.
pub(crate) fn routing_check_digit(digits: &[u8]) -> u8 {
    let weights = [3_u16, 7, 1, 3, 7, 1, 3, 7];
    let mut sum: u16 = 0;
    for (digit, weight) in digits.iter().zip(weights) {
        let digit = u16::from(digit.wrapping_sub(b'0') % 10);
        sum = sum.saturating_add(digit.saturating_mul(weight));
    }
    let check = 10_u16.saturating_sub(sum % 10) % 10;
    u8::try_from(check).unwrap_or_default().saturating_add(b'0')
}

fn sides(header: &BatchHeader, class: &EntryClass, side: Side) -> Result<(), Fault> {
    let (debits, credits) = codes::service_class(header.service_class).unwrap_or((true, true));
    let in_service_class = if side == Side::Debit { debits } else { credits };
    // International batches are seen with both sides under any service class: there the code alone
    // decides, and the batch's totals prove it.
    if !in_service_class && class.form != Form6::Iat {
        return Err(Fault::new(
            "side_not_in_service_class",
            entry::CODE,
            format!("a side that service class {} lets in", header.service_class),
            side.name(),
        ));
    }
    // What only collects gives money only by taking a collection back.
    let allowed = if is_reversal(header) { Side::Credit } else { Side::Debit };
    if class.debits_only && side != allowed {
        let batch = if is_reversal(header) { "a reversal of " } else { "" };
        return Err(Fault::new(
            "side_not_in_entry_class",
            entry::CODE,
            format!("{} in {batch}{}", allowed.name(), class.code),
            side.name(),
        ));
    }
    Ok(())
}

fn counts(class: &EntryClass, line: &[u8; LENGTH], addenda: &Addenda) -> Result<(), Fault> {
    let indicator = entry::ADDENDA_INDICATOR.of(line);
    let expected: &[u8] = if addenda.count == 0 { b"0" } else { b"1" };
    if indicator != expected {
        return Err(Fault::new(
            "addenda_indicator",
            entry::ADDENDA_INDICATOR,
            format!("{} for {} addenda", if addenda.count == 0 { 0 } else { 1 }, addenda.count),
            shown(indicator),
        ));
    }
    let column = match class.form {
        Form6::Counted => counted_entry::ADDENDA_COUNT,
        Form6::Iat => iat_entry::ADDENDA_COUNT,
        Form6::Plain | Form6::Adv => return Ok(()),
    };
    // What came back keeps the count of the original, whose addenda it has not.
    if addenda.returned.is_some() || addenda.changed.is_some() {
        return Ok(());
    }
    let found = column.of(line);
    let stated =
        number(found).ok_or_else(|| Fault::new("not_digits", column, "digits", masked(found)))?;
    // International entries are seen with and without remittance and correspondents counted.
    let is_iat = class.form == Form6::Iat;
    let mandatory = addenda.count.saturating_sub(addenda.optional);
    if stated != addenda.count && !(is_iat && stated == mandatory) {
        return Err(Fault::new(
            "addenda_count",
            column,
            format!("{} addenda", addenda.count),
            format!("{stated} stated"),
        ));
    }
    let missing = addenda.mandatory.trailing_ones();
    let missing = usize::try_from(missing).ok().and_then(|place| MANDATORY.get(place));
    match missing {
        Some(missing) if is_iat => {
            let expected = "each of 10 to 16 behind an international entry";
            let found = format!("no {}", shown(missing.as_slice()));
            Err(Fault::new("addenda_missing", addenda::TYPE, expected, found))
        }
        _ => Ok(()),
    }
}

/// The number that returns and reconciliation go by.
fn trace(line: &[u8; LENGTH]) -> Result<(), Fault> {
    if trim(entry::TRACE.of(line)).is_empty() {
        return Err(Fault::new("trace_missing", entry::TRACE, "a trace number", "a blank field"));
    }
    Ok(())
}

/// An entry with the code of one that came back says why it did.
fn back(form: Form, addenda: &Addenda) -> Result<(), Fault> {
    if form == Form::Back && addenda.returned.is_none() && addenda.changed.is_none() {
        return Err(Fault::new(
            "reason_missing",
            addenda::TYPE,
            "an addenda 98 or 99 behind an entry that came back",
            "none",
        ));
    }
    Ok(())
}

fn account(class: &EntryClass, line: &[u8; LENGTH], draft: &mut Draft) -> Result<(), Fault> {
    let column = if class.form == Form6::Iat { iat_entry::ACCOUNT } else { entry::ACCOUNT };
    let number = trim(column.of(line));
    let (Ok(routing), Ok(digit), Ok(text)) = (
        std::str::from_utf8(entry::RDFI.of(line)),
        std::str::from_utf8(entry::CHECK_DIGIT.of(line)),
        std::str::from_utf8(number),
    ) else {
        return Err(Fault::new("not_text", column, "an account number in ASCII", "another byte"));
    };
    if text.is_empty() {
        return Err(Fault::new("account_missing", column, "an account number", "a blank field"));
    }
    draft.account.begin("ach");
    draft.account.push_str(routing);
    draft.account.push_str(digit);
    draft.account.push_str(":");
    draft.account.push_str(text);
    Ok(())
}

/// Whether the account in the entry is at the institution that the entry is addressed to.
///
/// What comes back is addressed to the institution that sent the original, and bears the account
/// at the other one; only what is not accepted back goes to the account's own institution again.
fn names_a_customer(addenda: &Addenda) -> bool {
    match (&addenda.returned, &addenda.changed) {
        (Some(line), _) => codes::goes_to_the_account(return_addenda::REASON.of(line)),
        (None, Some(line)) => codes::goes_to_the_account(change_addenda::REASON.of(line)),
        (None, None) => true,
    }
}

fn kind(header: &BatchHeader, class: &EntryClass, form: Form, addenda: &Addenda) -> Kind {
    if addenda.returned.is_some() {
        Kind::RETURN
    } else if addenda.changed.is_some() {
        Kind::CHANGE
    } else if class.informs || form == Form::ZeroDollar {
        Kind::INFORMATION
    } else if form == Form::Prenote {
        Kind::PRENOTE
    } else if form == Form::Advice {
        Kind::SETTLEMENT
    } else if form == Form::LoanReversal || is_reversal(header) {
        Kind::REVERSAL
    } else {
        Kind::PAYMENT
    }
}

/// Sets what is posted. A notification of change and what only informs never move money, whatever
/// stands in their amount: that still adds to the file's totals.
fn money(kind: &Kind, side: Side, amount: i64, draft: &mut Draft) {
    let moves = amount != 0 && *kind != Kind::CHANGE && *kind != Kind::INFORMATION;
    let record = &mut draft.record;
    record.direction = if moves { side.direction() } else { Direction::NONE };
    record.amount_minor = if moves { amount } else { 0 };
    record.currency = Some(Currency::USD);
    record.exponent = 2;
    record.control_amount = (record.amount_minor != amount).then_some(amount);
}

fn describe(
    header: &BatchHeader,
    addenda: &Addenda,
    line: &[u8; LENGTH],
    encoding: Encoding,
    draft: &mut Draft,
) {
    let record = &mut draft.record;
    record.value_date = header.effective_date;
    let reference = record.reference.get_or_insert_default();
    encoding.push_text(reference, trim(entry::TRACE.of(line)));
    let counterparty = record.counterparty.get_or_insert_default();
    match &addenda.originator {
        Some(line) if header.company.is_empty() => {
            encoding.push_free_text(counterparty, trim(originator_addenda::NAME.of(line)));
        }
        _ => counterparty.push_str(&header.company),
    }
    let attributes = &mut record.attributes;
    attributes.set("entry_class", &header.entry_class);
    attributes.set("description", &header.description);
    attributes.set("batch", &header.number);
    if addenda.count > 0 {
        super::write_number(attributes.value("addenda"), addenda.count);
    }
    if let Some((from, to)) = &header.currencies {
        attributes.set("originating_currency", from);
        attributes.set("destination_currency", to);
    }
    for (line, name, reason, trace) in [
        (
            &addenda.returned,
            "return_reason",
            return_addenda::REASON,
            return_addenda::ORIGINAL_TRACE,
        ),
        (&addenda.changed, "change_code", change_addenda::REASON, change_addenda::ORIGINAL_TRACE),
    ] {
        if let Some(line) = line {
            encoding.push_text(attributes.value(name), reason.of(line));
            encoding.push_text(attributes.value("original_trace"), trim(trace.of(line)));
        }
    }
}

fn is_reversal(header: &BatchHeader) -> bool {
    header.description == "REVERSAL"
}

fn amount_column(class: &EntryClass) -> Column {
    if class.form == Form6::Adv { adv_entry::AMOUNT } else { entry::AMOUNT }
}

fn entry_layout(class: &EntryClass) -> &'static [Column] {
    match class.form {
        Form6::Plain => entry::ALL,
        Form6::Counted => counted_entry::ALL,
        Form6::Iat => iat_entry::ALL,
        Form6::Adv => adv_entry::ALL,
    }
}

fn addenda_layout(line: &[u8; LENGTH]) -> &'static [Column] {
    match addenda::TYPE.of(line) {
        b"98" => change_addenda::ALL,
        b"99" => return_addenda::ALL,
        b"11" => originator_addenda::ALL,
        _ => addenda::ALL,
    }
}
