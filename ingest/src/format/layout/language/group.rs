//! Groups: which records begin an event, which may join it, and what they have in common.

use super::names::{Names, Within};
use super::value::{Table, Value};
use crate::format::layout::group::JOINED_MAX;
use crate::format::layout::model::{FieldRef, Form, Joined, Record, Role};

/// The family of the records that begin the event.
pub(super) fn begins<'a>(
    table: Table<'a>,
    names: &Names<'a>,
    event: usize,
    begun: &mut Vec<(usize, usize)>,
) -> Option<usize> {
    let value = table.require("of")?;
    let mut family = None;
    for value in value.list() {
        let Some(at) = names.record(value) else { continue };
        let Some(record) = names.records.get(at) else { continue };
        if record.role != Role::Detail {
            value.mistake("a record of the role detail", format!("{:?}", record.name));
            continue;
        }
        if begun.iter().any(|(known, _)| *known == at) {
            value.mistake("a record that begins no other event", format!("{:?}", record.name));
            continue;
        }
        if *family.get_or_insert(record.family) != record.family {
            let remedy = String::from("give each an event of its own, or make one like the other");
            let first = names.name_of(family.unwrap_or_default());
            let expected = format!("records that are like {first}");
            value.mistake_with(expected, format!("{:?}", record.name), remedy);
            continue;
        }
        begun.push((at, event));
    }
    family
}

/// The records that may follow.
pub(super) fn joins<'a>(table: Table<'a>, names: &Names<'a>, own: usize) -> Vec<Joined> {
    let Some(value) = table.get("joined") else { return Vec::new() };
    let mut joins: Vec<Joined> = Vec::new();
    for value in value.list() {
        let Some(table) = value.table(&["record", "required", "repeats"]) else { continue };
        let Some(name) = table.require("record") else { continue };
        let Some(at) = names.record(name) else { continue };
        let Some(record) = names.records.get(at) else { continue };
        let is_double =
            record.family == own || joins.iter().any(|known| known.family == record.family);
        if record.role != Role::Detail || is_double {
            let expected = "a record of the role detail that is not in the group yet";
            name.mistake(expected, format!("{:?}", record.name));
            continue;
        }
        joins.push(Joined {
            family: record.family,
            is_required: table.get("required").and_then(Value::flag).unwrap_or_default(),
            repeats: table.get("repeats").and_then(Value::flag).unwrap_or_default(),
        });
    }
    if joins.len() > JOINED_MAX {
        value.mistake(format!("at most {JOINED_MAX} records"), joins.len().to_string());
    }
    joins
}

/// The fields of the group's records in which the same stands as in another one.
pub(super) fn same<'a>(
    table: Table<'a>,
    group: &Within<'_, 'a>,
    once: &Within<'_, 'a>,
    records: &[Record],
) -> Vec<(FieldRef, FieldRef)> {
    let mut pairs = Vec::new();
    let entries = table.get("same").and_then(Value::any_table).map_or(Vec::new(), Table::entries);
    for entry in entries {
        let Some(field) = group.field(entry.value, entry.key) else { continue };
        let Some(other) = once.named(entry.value) else { continue };
        // A field that is itself a mistake is told once.
        let (Some(form), Some(of_other)) = (form(records, field), form(records, other)) else {
            continue;
        };
        if field == other || form != of_other {
            let expected = format!("another field of the type {form}");
            entry.value.mistake(expected, entry.value.shown());
        }
        pairs.push((field, other));
    }
    pairs
}

/// What is compared of a field.
fn form(records: &[Record], at: FieldRef) -> Option<&'static str> {
    Some(match super::money::field(records, at)?.form {
        Form::Number(_) => "number",
        Form::Text | Form::Digits => "text or digits",
        Form::Date(_) => "date",
    })
}
