//! Groups: which records begin an event, which may join it, and what they have in common.

use super::names::{Names, Within};
use super::value::{Table, Value};
use crate::format::layout::group::JOINED_MAX;
use crate::format::layout::model::{FieldRef, Form, Joined, Number, Record, Role, Scale};

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
    once: &Within<'_, 'a>,
    joins: &[Joined],
    records: &[Record],
) -> Vec<(FieldRef, FieldRef)> {
    let Some(value) = table.get("same") else { return Vec::new() };
    let entries = value.any_table().map_or(Vec::new(), Table::entries);
    if entries.is_empty() {
        value.mistake("at least one field, and the one that is the same", "none");
    }
    let seen = once.own.into_iter().chain(joins.iter().map(|joined| joined.family)).collect();
    let of_group = Within { seen, repeats: Vec::new(), ..once.clone() };
    let mut pairs = Vec::new();
    for entry in entries {
        if entry.is_cut_at_a_point("the name of a field") {
            continue;
        }
        if once.is_of_header(entry.key) {
            let remedy = "put what stands in the header behind the equals sign";
            entry.mistake("a field of the event's records", Some(String::from(remedy)));
            continue;
        }
        let Some(field) = of_group.field(entry.value, entry.key) else { continue };
        let Some(other) = once.named(entry.value) else { continue };
        let forms = [compared(records, field), compared(records, other)];
        // A field that is itself a mistake is told once.
        if forms.iter().any(Vec::is_empty) {
            continue;
        }
        let forms = forms.concat();
        let is_one = forms.windows(2).all(|two| two.first() == two.last());
        if field == other {
            entry.value.mistake("another field", entry.value.shown());
        } else if !is_one || forms.contains(&Compared::Never) {
            let expected = "two texts, or two numbers of one scale, in every record that is there";
            let found = format!("{} and {}", entry.key, entry.value.shown());
            let remedy =
                String::from("give either record a field of the type text, overlaps = true");
            entry.value.mistake_with(expected, found, remedy);
        }
        pairs.push((field, other));
    }
    pairs
}

/// What of a field is compared with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Text,
    Number(Scale),
    /// What may be written in two ways.
    Never,
}

/// What is compared of a field, in each record of its family that has it.
fn compared(records: &[Record], at: FieldRef) -> Vec<Compared> {
    let family = records.iter().filter(|record| record.family == at.family);
    let fields = family.filter_map(|record| record.fields.get(at.field)?.as_ref());
    fields
        .map(|field| match field.form {
            Form::Text | Form::Digits => Compared::Text,
            Form::Number(Number { scale: scale @ Scale::Fixed(_), .. }) => Compared::Number(scale),
            Form::Number(_) | Form::Date(_) => Compared::Never,
        })
        .collect()
}
