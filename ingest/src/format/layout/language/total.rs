//! What a file states about itself: running numbers, counts and sums.

use schemas::Direction;

use super::file::{File, refuse};
use super::money::{as_number, field};
use super::names::{Names, Within};
use super::test::{Sight, tests};
use super::value::{Table, Value};
use crate::format::layout::model::{
    Claims, Counted, FieldRef, Form, Record, Role, Scale, Scope, Sequence, Total,
};
use crate::format::layout::name::intern;

const OF_SEQUENCE: &[&str] = &["field", "scope", "first"];

const OF_TOTAL: &[&str] = &[
    "name",
    "stated",
    "is",
    "scope",
    "counts",
    "sums",
    "minus",
    "by",
    "of",
    "only",
    "direction",
    "when",
    "plus",
    "modulus",
    "zero_is_blank",
    "claims",
    "check",
];

const SCOPES: &[(&str, Scope)] = &[("file", Scope::File), ("batch", Scope::Batch)];

#[derive(Clone, Copy)]
enum Count {
    Records,
    Events,
    Batches,
}

const COUNTS: &[(&str, Count)] =
    &[("records", Count::Records), ("events", Count::Events), ("batches", Count::Batches)];

/// Reads the running numbers.
pub(super) fn sequences<'a>(
    top: Table<'a>,
    names: &Names<'a>,
    records: &[Record],
) -> Vec<Sequence> {
    let mut sequences = Vec::new();
    for table in top.tables("sequence", OF_SEQUENCE) {
        let Some(value) = table.require("field") else { continue };
        let fields = names.every(value);
        once(value, &fields, names);
        for at in &fields {
            let form = field(records, *at).map(|field| &field.form);
            if !matches!(form, None | Some(Form::Number(_) | Form::Digits)) {
                value.mistake("fields that are numbers", called(names, *at));
            }
        }
        let scope = table.get("scope").map_or(Some(Scope::File), |value| value.word(SCOPES));
        let first = table.get("first").map_or(Some(1), |value| value.integer(0..=i64::MAX));
        batched(table, scope, names);
        if let (Some(scope), Some(first)) = (scope, first) {
            sequences.push(Sequence { fields, scope, first });
        }
    }
    sequences
}

/// Reads the totals.
pub(super) fn totals<'a>(
    top: Table<'a>,
    file: &File<'a>,
    names: &Names<'a>,
    records: &[Record],
) -> Vec<Total> {
    let tables = top.tables("total", OF_TOTAL);
    let mut seen: Vec<&str> = Vec::new();
    let mut totals = Vec::new();
    for table in tables {
        let name = table.require("name").and_then(Value::some_text);
        if let Some(name) = name {
            if seen.contains(&name) {
                table.mistake("a name that no other total has", format!("{name:?}"));
            }
            seen.push(name);
        }
        let Some(total) = total(table, name.unwrap_or_default(), file, names, records) else {
            continue;
        };
        let former = totals.iter().find(|known: &&Total| known.claims == total.claims);
        if let (Some(_), Some(former), Some(value)) = (total.claims, former, table.get("claims")) {
            let found = format!("{}, which {:?} is already", value.shown(), former.name);
            value.mistake("a sum of the file that no other total is", found);
        }
        totals.push(total);
    }
    totals
}

fn total<'a>(
    table: Table<'a>,
    name: &'a str,
    file: &File<'a>,
    names: &Names<'a>,
    records: &[Record],
) -> Option<Total> {
    let scope = table.require("scope").and_then(|value| value.word(SCOPES));
    let always = always(table, scope);
    let stated = match always {
        None => stated(table, scope, names, records),
        Some(_) => Some(Vec::new()),
    };
    let counted = counted(table, names, records);
    let families = of(table, names);
    let headers = names.of_roles(&[Role::FileHeader, Role::BatchHeader]);
    let first = stated.as_ref().and_then(|stated| stated.first());
    let mut seen = headers;
    seen.extend(first.map(|first| first.family));
    let within = Within { names, own: first.map(|first| first.family), seen, repeats: Vec::new() };
    let sight = Sight { file, within: &within, unit: None };
    let when = tests(table.get("when"), &sight, &mut Vec::new()).unwrap_or_default();
    let all: Vec<usize> = (0..names.families()).collect();
    let within = Within { names, own: None, seen: all, repeats: Vec::new() };
    let sight = Sight { file, within: &within, unit: None };
    let only = tests(table.get("only"), &sight, &mut Vec::new()).unwrap_or_default();
    let directions = &[("debit", true), ("credit", false)];
    let direction = table.get("direction").and_then(|value| value.word(directions));
    let claims =
        &[("unsigned", Claims::Unsigned), ("debits", Claims::Debits), ("credits", Claims::Credits)];
    let claims = table.get("claims").and_then(|value| value.word(claims));
    let checks = &[("refuse", false), ("warn", true)];
    let (counted, stated, scope) = (counted?, stated?, scope?);
    if claims.is_some() && (scope != Scope::File || !matches!(counted, Counted::Sum { .. })) {
        table.mistake("claims at sums of the scope file only", "it elsewhere");
    }
    let is_other = match claims {
        Some(Claims::Debits) => direction == Some(false),
        Some(Claims::Credits) => direction == Some(true),
        Some(Claims::Unsigned) | None => false,
    };
    if let (true, Some(value)) = (is_other, table.get("claims")) {
        let expected = "what the direction says: debits of debit, credits of credit";
        value.mistake(expected, value.shown());
    }
    same_scale(table, &stated, &counted, names, records);
    without_effect(table, &counted);
    batched(table, Some(scope), names);
    Some(Total {
        name: intern(name),
        stated,
        always,
        scope,
        counted,
        families,
        only,
        direction: direction.map(|debit| if debit { Direction::DEBIT } else { Direction::CREDIT }),
        when,
        plus: table.get("plus").and_then(|value| value.integer(-1_000..=1_000)).unwrap_or_default(),
        modulus: table.get("modulus").and_then(|value| value.integer(2..=i64::MAX)),
        zero_is_blank: table.get("zero_is_blank").and_then(Value::flag).unwrap_or_default(),
        claims,
        is_warning: table.get("check").and_then(|value| value.word(checks)).unwrap_or_default(),
    })
}

/// What a total of the file is where no field states it.
fn always(table: Table<'_>, scope: Option<Scope>) -> Option<i64> {
    let value = table.get("is")?;
    if table.get("stated").is_some() || scope == Some(Scope::Batch) {
        value.mistake("it beside no key stated, and of the scope file", value.shown());
    }
    value.integer(i64::MIN..=i64::MAX)
}

/// The fields in which a total is stated: numbers of one record that isn't a detail.
fn stated<'a>(
    table: Table<'a>,
    scope: Option<Scope>,
    names: &Names<'a>,
    records: &[Record],
) -> Option<Vec<FieldRef>> {
    let value = table.require("stated")?;
    let roles: &[Role] = match scope {
        Some(Scope::File) => &[Role::FileHeader, Role::FileTrailer, Role::Skipped],
        Some(Scope::Batch) => &[Role::BatchHeader, Role::BatchTrailer, Role::Skipped],
        None => &[],
    };
    let all: Vec<usize> = (0..names.families()).collect();
    let within = Within { names, own: None, seen: all, repeats: Vec::new() };
    let mut found: Vec<FieldRef> = Vec::new();
    for value in value.list() {
        let at = within.named(value)?;
        let role = records.iter().find(|record| record.family == at.family).map(|r| r.role);
        if scope.is_some() && !role.is_some_and(|role| roles.contains(&role)) {
            let expected = match scope {
                Some(Scope::Batch) => "a field of a header or trailer of batches",
                _ => "a field of a header or trailer of the file",
            };
            value.mistake(expected, value.shown());
        }
        if as_number(records, at).is_none() && field(records, at).is_some() {
            value.mistake("a field that is a number", value.shown());
        }
        if found.first().is_some_and(|first| first.family != at.family) {
            value.mistake("fields of one record", value.shown());
        }
        found.push(at);
    }
    Some(found)
}

/// What a total counts: exactly one of `counts` and `sums`.
fn counted<'a>(table: Table<'a>, names: &Names<'a>, records: &[Record]) -> Option<Counted> {
    let by = table
        .get("by")
        .and_then(|value| value.word(&[("sum", false), ("absolute_difference", true)]));
    let (counts, sums) = (table.get("counts"), table.get("sums"));
    let sums = match (counts, sums) {
        (Some(counts), None) => {
            refuse(table, &["minus", "by"], "of sums only");
            return Some(match counts.word(COUNTS)? {
                Count::Records => Counted::Records,
                Count::Events => Counted::Events,
                Count::Batches => Counted::Batches,
            });
        }
        (None, Some(sums)) => sums,
        (Some(_), Some(_)) => {
            table.mistake("counts or sums", "both");
            return None;
        }
        (None, None) => {
            table.mistake("the key counts or sums", "neither");
            return None;
        }
    };
    let numbers = |value: Value<'a>| {
        let fields = names.every(value);
        for at in &fields {
            if as_number(records, *at).is_none() && field(records, *at).is_some() {
                value.mistake("a field that is a number", called(names, *at));
            }
        }
        fields
    };
    let plus = numbers(sums);
    let minus = table.get("minus").map_or(Vec::new(), numbers);
    once(table.get("minus").unwrap_or(sums), &[plus.as_slice(), &minus].concat(), names);
    if by != Some(true) {
        return Some(Counted::Sum { plus, minus });
    }
    match (plus.as_slice(), minus.as_slice()) {
        ([field], []) => Some(Counted::Difference(*field)),
        _ => {
            sums.mistake("one field, whose debits and credits are compared", sums.shown());
            None
        }
    }
}

/// Notes keys that change nothing of what is counted.
fn without_effect(table: Table<'_>, counted: &Counted) {
    match counted {
        Counted::Records => refuse(table, &["direction"], "of events and sums only"),
        Counted::Events => (),
        Counted::Batches => {
            refuse(table, &["direction", "only", "of"], "of records, events and sums only");
        }
        Counted::Sum { .. } => refuse(table, &["of"], "of counts only"),
        Counted::Difference(_) => {
            refuse(table, &["of"], "of counts only");
            refuse(table, &["direction", "plus"], "of other totals than a difference");
        }
    }
    if table.get("is").is_some() {
        refuse(table, &["when", "zero_is_blank"], "of what is stated in a field");
    }
}

/// Notes a field that is named twice, and would count twice.
fn once(value: Value<'_>, fields: &[FieldRef], names: &Names<'_>) {
    for (number, at) in fields.iter().enumerate() {
        if fields.iter().take(number).any(|former| former == at) {
            value.mistake("each field once", format!("{} twice", called(names, *at)));
        }
    }
}

/// Notes what is of a batch where there is none.
fn batched(table: Table<'_>, scope: Option<Scope>, names: &Names<'_>) {
    let has_batches = !names.of_roles(&[Role::BatchTrailer]).is_empty();
    if let Some(value) = table.get("scope").filter(|_| scope == Some(Scope::Batch) && !has_batches)
    {
        value.mistake("a record of the role batch_trailer, which ends a batch", "none");
    }
}

/// The families that `of` narrows a total to.
fn of<'a>(table: Table<'a>, names: &Names<'a>) -> Vec<usize> {
    let Some(value) = table.get("of") else { return Vec::new() };
    let found = value.list().into_iter().filter_map(|value| names.record(value));
    found.filter_map(|at| Some(names.records.get(at)?.family)).collect()
}

/// Notes where what is stated and what is summed have their points at different places.
fn same_scale(
    table: Table<'_>,
    stated: &[FieldRef],
    counted: &Counted,
    names: &Names<'_>,
    records: &[Record],
) {
    let fields: Vec<FieldRef> = match counted {
        Counted::Sum { plus, minus } => [plus.as_slice(), minus.as_slice()].concat(),
        Counted::Difference(field) => vec![*field],
        _ => return,
    };
    let scale = |at: &FieldRef| as_number(records, *at).map(|number| number.scale);
    let Some(first) = stated.first().or(fields.first()) else { return };
    let Some(expected) = scale(first) else { return };
    for at in stated.iter().chain(&fields) {
        match scale(at) {
            Some(Scale::AsWritten) => {
                let remedy = String::from("say how many digits of it are behind the point");
                let found = format!("{} without one", called(names, *at));
                table.mistake_with("a scale of each field that is summed", found, remedy);
            }
            Some(found) if found != expected => {
                let expected = format!("the scale of {} at all of them", called(names, *first));
                table.mistake(expected, format!("another one at {}", called(names, *at)));
            }
            _ => (),
        }
    }
}

/// True where a file that is cut off, or that lacks something, is told by a total or by a number:
/// a header or trailer always states the one, the file's trailer has the other. A record that is
/// skipped may be missing, and with it what it states.
fn proves(totals: &[Total], sequences: &[Sequence], records: &[Record]) -> bool {
    let roles = [Role::FileHeader, Role::BatchHeader, Role::BatchTrailer, Role::FileTrailer];
    let is_of = |at: &FieldRef, roles: &[Role]| {
        records.iter().any(|record| record.family == at.family && roles.contains(&record.role))
    };
    let is_stated = |total: &Total| {
        let is_there = total.stated.iter().any(|at| is_of(at, &roles));
        total.always.is_some() || (is_there && total.when.is_empty() && !total.zero_is_blank)
    };
    totals.iter().any(is_stated)
        || (sequences.iter())
            .any(|numbers| numbers.fields.iter().any(|at| is_of(at, &[Role::FileTrailer])))
}

/// Notes where a layout proves nothing and doesn't say so, or says so and does.
pub(super) fn control(
    file: &File<'_>,
    totals: &[Total],
    sequences: &[Sequence],
    records: &[Record],
    top: Table<'_>,
) {
    let says_none = file.table.get("control");
    let word = says_none.and_then(|value| value.word(&[("none", ())]));
    let written = |key| top.get(key).map_or(0, |value| value.list().len());
    let (of_totals, of_sequences) = (written("total"), written("sequence"));
    // One that is itself a mistake is told once.
    let is_read = (of_totals, of_sequences) == (totals.len(), sequences.len());
    let proves = proves(totals, sequences, records);
    match (says_none, word) {
        (Some(value), Some(())) if proves => {
            value.mistake("no control = \"none\" beside what proves that a file is whole", "it");
        }
        (None, _) if !proves && is_read => {
            let remedy = String::from("say control = \"none\" where the file states none");
            let expected = "a [[total]] that a header or trailer always states, or a [[sequence]] \
                            that ends in the file trailer, by which a file proves that it is whole";
            let found = if of_totals == 0 && of_sequences == 0 { "neither" } else { "others only" };
            file.table.mistake_with(expected, found, remedy);
        }
        _ => (),
    }
}

fn called(names: &Names<'_>, at: FieldRef) -> String {
    let field = names.fields(at.family).get(at.field).copied().unwrap_or_default();
    format!("{}.{field}", names.name_of(at.family))
}
