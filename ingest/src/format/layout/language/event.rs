//! Events: the groups of records that become one, and what becomes of each.

use schemas::account::is_scheme;
use schemas::{Direction, Kind};

use super::file::File;
use super::group::{begins, joins, same};
use super::mistake::{did_you_mean, one_of};
use super::money::{Amounted, Posted, Written, currency, exponent, money};
use super::names::{Names, Within};
use super::record::covers;
use super::template::{fields, template};
use super::test::{Sight, tests};
use super::value::{Table, Value, is_name};
use crate::format::layout::model::{
    Case, DateForm, DatePart, DirectionOf, Event, FieldRef, Form, Part, Place, Record, Role,
    Template, Test,
};
use crate::format::layout::name::intern;

const KEYS: &[&str] = &["of", "joined", "order", "same", "code", "case"];
const OF_CASE: &[&str] = &["when"];

/// What an event says for its cases, or a case for itself.
const MAPPING: &[&str] = &[
    "kind",
    "direction",
    "account",
    "amount",
    "currency",
    "exponent",
    "amounts",
    "control",
    "occurred_at",
    "value_date",
    "reference",
    "counterparty",
    "attributes",
];

/// Reads the events, and notes on each record which one it begins.
pub(super) fn events<'a>(
    top: Table<'a>,
    file: &File<'a>,
    names: &Names<'a>,
    records: &mut [Record],
) -> Vec<Event> {
    let keys: Vec<&str> = [KEYS, MAPPING].concat();
    let tables = top.tables("event", &keys);
    if tables.is_empty() && top.get("event").is_none() {
        top.mistake("at least one [[event]]", "none");
    }
    let mut events = Vec::new();
    let mut begun: Vec<(usize, usize)> = Vec::new();
    let mut joined: Vec<usize> = Vec::new();
    for table in tables {
        let family = begins(table, names, events.len(), &mut begun);
        let Some(family) = family else { continue };
        let joins = joins(table, names, family);
        joined.extend(joins.iter().map(|joined| joined.family));
        let mut seen = names.of_roles(&[Role::FileHeader, Role::BatchHeader]);
        seen.push(family);
        seen.extend(joins.iter().map(|joined| joined.family));
        let repeats = joins.iter().filter(|joined| joined.repeats).map(|joined| joined.family);
        let within = Within { names, own: Some(family), seen, repeats: Vec::new() };
        let once = Within { repeats: repeats.collect(), ..within.clone() };
        let reading = Reading { file, within: &within, once: &once, records };
        let orders = &[("given", false), ("any", true)];
        let in_any_order = table.get("order").and_then(|value| value.word(orders));
        let same = same(table, &once, &joins, records);
        let code = table.require("code").and_then(|value| code(value, &within, records));
        let cases = cases(table, &reading);
        events.push(code.map(|code| Event {
            joined: joins,
            in_any_order: in_any_order.unwrap_or_default(),
            same,
            code,
            cases,
        }));
    }
    for (at, record) in records.iter_mut().enumerate() {
        let by_name = begun.iter().find(|(begins, _)| *begins == at);
        let of_family = |(begins, _): &&(usize, usize)| {
            names.records.get(*begins).is_some_and(|known| known.family == record.family)
        };
        let event = by_name.or_else(|| begun.iter().find(of_family));
        record.begins = event.map(|(_, event)| *event);
        let is_taken = record.begins.is_some() || joined.contains(&record.family);
        if let Some(named) = names.records.get(at)
            && record.role == Role::Detail
            && !is_taken
            && top.get("event").is_some()
        {
            let remedy = String::from("give it one, or the role skipped");
            let expected = format!("an event that {} begins or joins", named.name);
            named.table.mistake_with(expected, "none", remedy);
        }
    }
    events.into_iter().flatten().collect()
}

/// What the parts of an event are read by.
struct Reading<'r, 'a> {
    file: &'r File<'a>,
    /// What texts, dates and tests can name.
    within: &'r Within<'r, 'a>,
    /// What money can be of: the same without records that repeat, of which it would be the first
    /// one's alone.
    once: &'r Within<'r, 'a>,
    records: &'r [Record],
}

/// What is said of an event, as far as it is said.
#[derive(Clone, Default)]
struct Mapping {
    kind: Option<Kind>,
    direction: Option<DirectionOf>,
    account: Option<Template>,
    /// True where an account is said, and is a mistake.
    is_account_wrong: bool,
    money: Written,
    amounts: Vec<(&'static str, Amounted)>,
    control: Option<FieldRef>,
    occurred_at: Option<(FieldRef, Option<FieldRef>)>,
    value_date: Option<FieldRef>,
    reference: Option<Template>,
    counterparty: Option<Template>,
    attributes: Vec<(&'static str, Template)>,
}

/// The cases; an event without one is a case of itself.
fn cases<'a>(table: Table<'a>, reading: &Reading<'_, 'a>) -> Vec<Case> {
    let defaults = mapping(table, reading);
    if table.get("case").is_none() {
        return case(table, Vec::new(), defaults).into_iter().collect();
    }
    let keys: Vec<&str> = [OF_CASE, MAPPING].concat();
    let sight = Sight { file: reading.file, within: reading.within, unit: None };
    let mut cases: Vec<Case> = Vec::new();
    for table in table.tables("case", &keys) {
        // Of columns nothing is tested here, so no names of columns are brought.
        let tests = tests(table.get("when"), &sight, &mut Vec::new());
        let mapping = over(mapping(table, reading), &defaults);
        let Some(tests) = tests else { continue };
        if cases.iter().any(|former| covers(&former.tests, &tests)) {
            let remedy = String::from("put what is more particular first");
            let found = "one that a case before it always takes";
            table.mistake_with("a case that can be reached", found, remedy);
        }
        cases.extend(case(table, tests, mapping));
    }
    cases
}

/// A case as it says and as its event does, of which the case goes first.
fn over(case: Mapping, event: &Mapping) -> Mapping {
    let mut attributes = event.attributes.clone();
    attributes.retain(|(name, _)| !case.attributes.iter().any(|(known, _)| known == name));
    attributes.extend(case.attributes);
    Mapping {
        kind: case.kind.or_else(|| event.kind.clone()),
        direction: case.direction.or_else(|| event.direction.clone()),
        account: case.account.or_else(|| event.account.clone()),
        is_account_wrong: case.is_account_wrong || event.is_account_wrong,
        money: case.money.over(&event.money),
        amounts: if case.amounts.is_empty() { event.amounts.clone() } else { case.amounts },
        control: case.control.or(event.control),
        occurred_at: case.occurred_at.or(event.occurred_at),
        value_date: case.value_date.or(event.value_date),
        reference: case.reference.or_else(|| event.reference.clone()),
        counterparty: case.counterparty.or_else(|| event.counterparty.clone()),
        attributes,
    }
}

/// The whole case; none where something is missing, which is a mistake then.
fn case(table: Table<'_>, tests: Vec<Test>, of: Mapping) -> Option<Case> {
    let direction = of.direction.unwrap_or(DirectionOf::Fixed(Direction::NONE));
    let is_elsewhere = matches!(direction, DirectionOf::Fields { .. });
    let (billing, transaction) = of.money.of(is_elsewhere);
    let is_posted = direction != DirectionOf::Fixed(Direction::NONE);
    if billing.is_none() && is_posted && !of.money.is_wrong {
        let remedy = String::from("or the direction none");
        let expected = "an amount and a currency of what is posted";
        table.mistake_with(expected, "not both", remedy);
    }
    if of.kind.is_none() && table.get("kind").is_none() {
        table.mistake("the key kind", "none");
    }
    if let Some(kind) = of.kind.as_ref().filter(|_| is_posted) {
        concerns(table, kind, of.account.is_some() || of.is_account_wrong);
    }
    let mut amounts = Vec::new();
    for (role, amount) in of.amounts {
        match amount.money(&of.money) {
            Some(money) => amounts.push((role, money)),
            None if of.money.is_wrong => (),
            None => table.mistake(format!("a currency of the amount {role}"), "none"),
        }
    }
    Some(Case {
        tests,
        kind: of.kind?,
        direction,
        account: of.account,
        money: billing,
        money_of_transaction: transaction,
        amounts,
        control: of.control,
        occurred_at: of.occurred_at,
        value_date: of.value_date,
        reference: of.reference,
        counterparty: of.counterparty,
        attributes: of.attributes,
    })
}

/// Notes where what moves money names no account, or one that no posting rule is for.
fn concerns(table: Table<'_>, kind: &Kind, has_account: bool) {
    let needs = match kind.as_str() {
        "settlement" => false,
        "presentment" | "payment" | "refund" | "reversal" | "chargeback" | "representment" => true,
        // Others are of a customer or of the house, or post nothing.
        _ => return,
    };
    if needs == has_account {
        return;
    }
    if needs {
        let expected = format!("the key account beside the kind {kind}, which moves money on it");
        table.mistake_with(expected, "none", String::from("or say direction = \"none\""));
        return;
    }
    let remedy = "what moves money on a customer's account is a payment; else say account apart in \
                  the other cases";
    let expected = format!("no account beside the kind {kind}, which is between institutions");
    table.mistake_with(expected, "one", String::from(remedy));
}

/// What a table says of an event.
fn mapping<'a>(table: Table<'a>, reading: &Reading<'_, 'a>) -> Mapping {
    let Reading { within, once, records, .. } = reading;
    let text = |key: &str| table.get(key).and_then(|value| fields(value, within));
    let number = |value: Value<'a>| super::money::number(value, once, records);
    let account = table.get("account").map(|value| account(value, once));
    let amount = table.get("amount").map(|value| Posted::read(value, number));
    let currency =
        table.get("currency").map(|value| Posted::read(value, |value| currency(value, once)));
    let mut mapping = Mapping {
        kind: table.get("kind").and_then(kind),
        direction: table.get("direction").and_then(|value| direction(value, reading)),
        is_account_wrong: matches!(account, Some(None)),
        account: account.flatten(),
        money: Written {
            is_wrong: matches!(amount, Some(None)) || matches!(currency, Some(None)),
            amount: amount.flatten(),
            currency: currency.flatten(),
            exponent: table.get("exponent").and_then(exponent),
        },
        control: table.get("control").and_then(number),
        occurred_at: table.get("occurred_at").and_then(|value| moment(value, reading)),
        value_date: table.get("value_date").and_then(|value| day(value, reading)),
        reference: text("reference"),
        counterparty: text("counterparty"),
        ..Mapping::default()
    };
    for entry in table.get("amounts").and_then(Value::any_table).map_or(Vec::new(), Table::entries)
    {
        if !is_name(entry.key) {
            entry.mistake("a name of small letters, digits and underscores", None);
        }
        mapping.amounts.extend(money(entry.value, once, records).map(|m| (intern(entry.key), m)));
    }
    let attributes = table.get("attributes").and_then(Value::any_table);
    for entry in attributes.map_or(Vec::new(), Table::entries) {
        if !is_name(entry.key) {
            entry.mistake("a name of small letters, digits and underscores", None);
        }
        mapping.attributes.extend(fields(entry.value, within).map(|t| (intern(entry.key), t)));
    }
    mapping
}

fn kind(value: Value<'_>) -> Option<Kind> {
    let text = value.text()?;
    if Kind::KNOWN.contains(&text) {
        return Some(Kind::from(text));
    }
    let known = || Kind::KNOWN.iter().copied();
    value.mistake_with(one_of(known()), format!("{text:?}"), did_you_mean(text, known()));
    None
}

/// More columns than any code has; a number of so many may be an account's.
const CODE_COLUMNS_MAX: usize = 16;

/// The event's code, of fields that are no wider than codes are.
fn code<'a>(value: Value<'a>, within: &Within<'_, 'a>, records: &[Record]) -> Option<Template> {
    let template = template(value, within)?;
    for part in &template.0 {
        let Part::Field(at) = part else { continue };
        let Some(Place::Columns(first, last)) =
            super::money::field(records, *at).map(|field| field.place)
        else {
            continue;
        };
        let width = last.saturating_sub(first).saturating_add(1);
        if width > CODE_COLUMNS_MAX {
            let expected = format!("fields of at most {CODE_COLUMNS_MAX} columns, as codes have");
            value.mistake(expected, format!("one of {width}"));
        }
    }
    Some(template)
}

/// The account's text begins with the word that tells where its number counts.
fn account<'a>(value: Value<'a>, within: &Within<'_, 'a>) -> Option<Template> {
    let template = template(value, within)?;
    let text = value.text()?;
    match text.split_once(':') {
        Some((scheme, _)) if is_scheme(scheme) => Some(template),
        Some((scheme, _)) if !scheme.contains('{') => {
            let expected = "a word of one to eight small letters before the colon";
            let remedy = String::from("shorten it, as in \"iban:{account}\"");
            value.mistake_with(expected, format!("{scheme:?}"), remedy);
            None
        }
        _ => {
            let expected = "a word and a colon first, such as \"iban:{account}\"";
            value.mistake(expected, value.shown());
            None
        }
    }
}

fn direction<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Option<DirectionOf> {
    let Reading { once: within, records, .. } = reading;
    let Some(table) = value.if_table() else {
        return match value.text()? {
            "sign" => Some(DirectionOf::Sign),
            text if Direction::KNOWN.contains(&text) => {
                Some(DirectionOf::Fixed(Direction::from(text)))
            }
            text => {
                let known = || Direction::KNOWN.iter().copied().chain(["sign"]);
                let expected = format!("{}, or a table", one_of(known()));
                value.mistake_with(expected, format!("{text:?}"), did_you_mean(text, known()));
                None
            }
        };
    };
    table.only(&["by", "credit", "debit"]);
    let (credit, debit) = (table.require("credit")?, table.require("debit")?);
    if let Some(by) = table.get("by") {
        let words = |value: Value<'a>| -> Option<Vec<Vec<u8>>> {
            let words = value.list().into_iter().map(|it| super::test::forms(it, reading.file));
            Some(words.collect::<Option<Vec<_>>>()?.concat())
        };
        let field = within.named(by);
        let (credits, debits) = (words(credit)?, words(debit)?);
        for (value, words) in [(credit, &credits), (debit, &debits)] {
            if words.is_empty() {
                value.mistake("at least one word", "none");
            }
        }
        if let Some(word) = debits.iter().find(|word| credits.contains(word)) {
            let found = format!("{:?} in both", String::from_utf8_lossy(word));
            debit.mistake("words of a debit that are none of a credit", found);
        }
        return Some(DirectionOf::Field { field: field?, credit: credits, debit: debits });
    }
    let value = debit;
    let credit = super::money::number(credit, within, records)?;
    let debit = super::money::number(debit, within, records)?;
    if credit == debit {
        value.mistake("another field than that of a credit", value.shown());
    }
    Some(DirectionOf::Fields { credit, debit })
}

/// A date, and the time where that is a field of its own.
fn moment<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Option<(FieldRef, Option<FieldRef>)> {
    let values = value.list();
    let (date, time) = match values.as_slice() {
        [date] => (date, None),
        [date, time] => (date, Some(time)),
        _ => {
            value.mistake("a field, or a date's and a time's", format!("{}", values.len()));
            return None;
        }
    };
    let date = day(*date, reading)?;
    let Some(time) = time else { return Some((date, None)) };
    let field = reading.within.named(*time)?;
    let is_time = dated(field, reading)
        .is_some_and(|form| form.parts.contains(&DatePart::Hour) && !has_day(form));
    if !is_time {
        time.mistake("a field of the type date that has a time only", time.shown());
        return None;
    }
    Some((date, Some(field)))
}

/// A field that is a date.
fn day<'a>(value: Value<'a>, reading: &Reading<'_, 'a>) -> Option<FieldRef> {
    let field = reading.within.named(value)?;
    // A date that is itself a mistake is told once.
    super::money::field(reading.records, field)?;
    if !dated(field, reading).is_some_and(has_day) {
        value.mistake("a field of the type date", value.shown());
        return None;
    }
    Some(field)
}

fn has_day(form: &DateForm) -> bool {
    form.parts.iter().any(|part| matches!(part, DatePart::Day | DatePart::DayOfYear))
}

fn dated<'r>(at: FieldRef, reading: &Reading<'r, '_>) -> Option<&'r DateForm> {
    match &super::money::field(reading.records, at)?.form {
        Form::Date(form) => Some(form),
        _ => None,
    }
}
