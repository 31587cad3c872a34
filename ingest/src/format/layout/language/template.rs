//! Text with fields in it: `"cnab:{bank}:{account}"`.

use super::names::Within;
use super::value::Value;
use crate::format::layout::model::{Event, FieldRef, Part, Record, Template};

/// Reads a template; else a mistake.
pub(super) fn template<'a>(value: Value<'a>, within: &Within<'_, 'a>) -> Option<Template> {
    let mut parts = Vec::new();
    let mut rest = value.some_text()?;
    let mut is_whole = true;
    while !rest.is_empty() {
        let (text, behind) =
            rest.split_once('{').map_or((rest, None), |(text, behind)| (text, Some(behind)));
        if text.contains('}') {
            value.mistake("a field's name in braces, such as {account}", value.shown());
            return None;
        }
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        let Some(behind) = behind else { break };
        let Some((name, behind)) = behind.split_once('}') else {
            value.mistake("a closing brace behind the field's name", value.shown());
            return None;
        };
        match within.field(value, name) {
            Some(field) => parts.push(Part::Field(field)),
            None => is_whole = false,
        }
        rest = behind;
    }
    is_whole.then_some(Template(parts))
}

/// Reads a template of at least one field, or the name of one without braces; else a mistake.
pub(super) fn fields<'a>(value: Value<'a>, within: &Within<'_, 'a>) -> Option<Template> {
    let text = value.some_text()?;
    if !text.contains(['{', '}']) {
        return within.named(value).map(|field| Template(vec![Part::Field(field)]));
    }
    template(value, within)
}

/// Marks the fields that accounts are made of, and those that hold the same as one of them:
/// messages show nothing of what stands in them.
pub(super) fn mark_accounts(events: &[Event], records: &mut [Record]) {
    let cases = events.iter().flat_map(|event| &event.cases);
    let accounts = cases.filter_map(|case| case.account.as_ref());
    for part in accounts.flat_map(|template| &template.0) {
        if let Part::Field(at) = part {
            mark(*at, records);
        }
    }
    let pairs: Vec<_> = events.iter().flat_map(|event| &event.same).collect();
    // A field may be the same as one that is the same as a third.
    for _ in &pairs {
        for (field, other) in &pairs {
            for (from, to) in [(field, other), (other, field)] {
                if is_marked(*from, records) {
                    mark(*to, records);
                }
            }
        }
    }
}

fn mark(at: FieldRef, records: &mut [Record]) {
    for record in records.iter_mut().filter(|record| record.family == at.family) {
        if let Some(Some(field)) = record.fields.get_mut(at.field) {
            field.is_account = true;
        }
    }
}

fn is_marked(at: FieldRef, records: &[Record]) -> bool {
    let mut family = records.iter().filter(|record| record.family == at.family);
    family.any(|record| matches!(record.fields.get(at.field), Some(Some(it)) if it.is_account))
}
