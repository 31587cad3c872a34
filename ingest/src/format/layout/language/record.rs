//! Record types: their fields, and the tests by which a unit is known.

use super::field::field;
use super::file::File;
use super::mistake::one_of;
use super::money;
use super::names::{Named, Names, Within};
use super::test::{Sight, tests};
use super::value::Value;
use crate::format::layout::model::{DatePart, Field, Form, Place, Record, Role, Test};
use crate::format::layout::name::intern;

/// Reads the record types.
pub(super) fn records<'a>(
    names: &Names<'a>,
    file: &File<'a>,
    columns: &mut Vec<String>,
) -> Vec<Record> {
    let headers = names.of_roles(&[Role::FileHeader, Role::BatchHeader]);
    let mut records: Vec<Record> = Vec::new();
    let mut known: Vec<(Vec<Test>, &str)> = Vec::new();
    for named in &names.records {
        let mut seen = headers.clone();
        seen.push(named.family);
        let within = Within { names, own: Some(named.family), seen, repeats: Vec::new() };
        let fields: Vec<Option<Field>> = (named.fields.iter())
            .zip(names.fields(named.family))
            .map(|(value, name)| field(name, (*value)?, file, &within, columns))
            .collect();
        overlaps(named, &fields);
        let sight = Sight { file, within: &within, unit: Some(&fields) };
        let tests = tests(named.table.get("when"), &sight, columns);
        let former = known
            .iter()
            .find(|(former, _)| tests.as_ref().is_some_and(|tests| covers(former, tests)));
        if let Some((_, former)) = former {
            named.table.mistake_with(
                "tests that no record before it takes all units of",
                format!("{}, before which {former} stands", named.name),
                String::from("put what is more particular first"),
            );
        }
        known.extend(tests.clone().map(|tests| (tests, named.name)));
        records.push(Record {
            name: intern(named.name),
            role: named.role,
            family: named.family,
            tests: tests.unwrap_or_default(),
            fields,
            begins: None,
        });
    }
    nearness(names, &records);
    scales(names, &records);
    structure(names, file);
    records
}

/// Notes dates whose year is to be told by what has none itself.
fn nearness(names: &Names<'_>, records: &[Record]) {
    for (record, named) in records.iter().zip(&names.records) {
        for (field, value) in record.fields.iter().zip(&named.fields) {
            let Some(Form::Date(form)) = field.as_ref().map(|field| &field.form) else { continue };
            let Some(other) = form.near.and_then(|near| money::field(records, near)) else {
                continue;
            };
            let has_year = matches!(&other.form, Form::Date(form)
                if form.parts.contains(&DatePart::Year)
                    || form.parts.contains(&DatePart::YearOfCentury));
            let near = value.and_then(Value::if_table).and_then(|table| table.get("near"));
            if let Some(near) = near.filter(|_| !has_year) {
                near.mistake("a field of the type date that has its year", near.shown());
            }
        }
    }
}

/// Notes numbers of records that are like another whose point is at another place than there: an
/// amount is summed and posted by one reference, whichever of them it is of.
fn scales(names: &Names<'_>, records: &[Record]) {
    for (record, named) in records.iter().zip(&names.records) {
        let is_like = named.table.get("like").is_some();
        for (number, field) in record.fields.iter().enumerate().filter(|_| is_like) {
            let Some(Form::Number(own)) = field.as_ref().map(|field| &field.form) else { continue };
            let root = (records.iter().zip(&names.records))
                .find(|(other, named)| {
                    other.family == record.family && named.table.get("like").is_none()
                })
                .and_then(|(other, named)| Some((other.fields.get(number)?.as_ref()?, named.name)));
            let Some((Field { form: Form::Number(first), name, .. }, of)) = root else { continue };
            let written = named.fields.get(number).copied().flatten();
            if let Some(written) = written.filter(|_| own.scale != first.scale) {
                let said = written.if_table().and_then(|table| table.get("scale"));
                let remedy = String::from("say the same scale here");
                let found = said.map_or(String::from("none"), Value::shown);
                let expected = format!("the scale that {of}.{name} has");
                said.unwrap_or(written).mistake_with(expected, found, remedy);
            }
        }
    }
}

/// True where whatever the later tests hold of, the former ones hold of too.
pub(super) fn covers(former: &[Test], later: &[Test]) -> bool {
    former.iter().all(|test| {
        later.iter().any(|other| {
            test.of == other.of
                && test.is_not == other.is_not
                && match test.is_not {
                    false => other.values.iter().all(|value| test.values.contains(value)),
                    true => test.values.iter().all(|value| other.values.contains(value)),
                }
        })
    })
}

/// Notes fields that lie in the same columns, where none of them says that it may.
fn overlaps(named: &Named<'_>, fields: &[Option<Field>]) {
    let mut placed: Vec<(usize, usize, &Field, Value<'_>)> = Vec::new();
    for (field, value) in fields.iter().zip(&named.fields) {
        let (Some(field), Some(value)) = (field, value) else { continue };
        let may = value.if_table().and_then(|table| table.get("overlaps")).and_then(Value::flag);
        let (first, last) = match field.place {
            Place::Columns(first, last) => (first, last),
            Place::Cell(cell) => (cell, cell),
            // Names and numbers of cells can't be compared: each is told among its own.
            Place::Named(name) => (!name, !name),
        };
        if may != Some(true) {
            placed.push((first, last, field, *value));
        }
    }
    placed.sort_by_key(|(first, last, ..)| (*first, *last));
    for pair in placed.windows(2) {
        let [(_, end, former, _), (first, last, later, value)] = pair else { continue };
        if first <= end {
            let (what, found) = match later.place {
                Place::Columns(..) => ("columns", format!("{first}-{last}")),
                Place::Cell(_) | Place::Named(_) => ("a cell", String::from("one")),
            };
            value.mistake_with(
                format!("{what} of its own for {}", later.name),
                format!("{found}, which {} of {} has too", former.name, named.name),
                String::from("say overlaps = true where that is meant"),
            );
        }
    }
}

/// Notes what the roles of the records can't be together.
fn structure(names: &Names<'_>, file: &File<'_>) {
    let first = |role: Role| names.records.iter().find(|record| record.role == role);
    // Without headers, a batch is what stands before its trailer.
    if let (Some(lonely), None) = (first(Role::BatchHeader), first(Role::BatchTrailer)) {
        let found = format!("only {}, which begins one", lonely.name);
        lonely.table.mistake("a record of the role batch_trailer too", found);
    }
    if let (Some(record), None) = (first(Role::ColumnNames), file.rows()) {
        record.table.mistake("no record of the role column_names", "one, and no rows");
    }
    if first(Role::Detail).is_none()
        && let Some(record) = names.records.first()
    {
        let roles = names.records.iter().map(|record| record.name);
        let found = one_of(roles);
        record.table.mistake("at least one record of the role detail", found);
    }
}
