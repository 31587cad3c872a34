//! The language: from a layout's text to the value that a reader reads by.
//!
//! Each mistake is told by its place, what was expected, what was found, and what to do; all of
//! them at once, as far as one doesn't hide another. `docs/formats/layouts.md` is its reference.

mod mistake;
mod value;
mod file;
mod names;
mod place;
mod date;
mod field;
mod test;
mod record;
mod template;
mod money;
mod group;
mod event;
mod total;

use sha2::{Digest as _, Sha256};
use toml::de::DeTable;

pub use self::mistake::Mistake;

use self::file::File;
use self::mistake::Source;
use self::names::{Names, Within};
use self::value::Table;
use super::model::{Cut, Layout, Part, Role, Template};
use super::name::intern;

/// Names that layouts can't have: formats that are read by code of their own.
const RESERVED: &[&str] = &["ipm", "nacha"];

impl Layout {
    /// Reads a layout's text.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let source = Source::new(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        // What comes behind the first is often there by it only.
        if let Some(error) = errors.first() {
            let at = error.span().map_or(0, |span| span.start);
            source.mistake(at, "TOML", error.message().replace('\n', ", "), None);
        }
        let layout = match source.is_wrong() {
            true => None,
            false => read(Table::of(&source, table.get_ref()), text),
        };
        match layout {
            Some(layout) if !source.is_wrong() => Ok(layout),
            _ => Err(source.into_mistakes()),
        }
    }
}

/// Reads the whole; none where there is nothing to read it by.
fn read(top: Table<'_>, text: &str) -> Option<Layout> {
    top.only(file::TOP);
    let name = top.require("layout").and_then(value::Value::name);
    if let (Some(name), Some(value)) = (name, top.get("layout"))
        && RESERVED.contains(&name)
    {
        value.mistake("a name that no format has that is read by code of its own", value.shown());
    }
    let title = top.require("title").and_then(value::Value::some_text);
    let revision = top.require("revision").and_then(|value| value.integer(1..=999));
    let network = top.require("network").and_then(value::Value::some_text);
    let is_by_side = top.get("side").and_then(|value| value.word(&[("issuer", true)]));
    let file = File::read(top);
    let mut names = Names::read(top);
    let mut file = file?;
    names.may_be_lines = matches!(file.cut, Cut::LinesOrFixed);
    if let Some(record) = names.records.iter().find(|record| record.role == Role::ColumnNames) {
        file.names_in_a_record(record.table);
    }
    let mut columns = Vec::new();
    let mut records = record::records(&names, &file, &mut columns);
    let identifier = identifier(&file, &names);
    let events = event::events(top, &file, &names, &mut records);
    template::mark_accounts(&events, &mut records);
    let sequences = total::sequences(top, &names, &records);
    let totals = total::totals(top, &file, &names, &records);
    total::control(&file, &totals, &sequences, &records, top);
    Some(Layout {
        text: text.to_owned(),
        digest: Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
        name: intern(name?),
        title: title?.to_owned(),
        revision: i32::try_from(revision?).ok()?,
        network: intern(network?),
        is_by_side: is_by_side.unwrap_or_default(),
        cut: file.cut,
        length: file.length,
        is_ended: file.is_ended(records.iter().any(|record| record.role == Role::FileTrailer)),
        encoding: file.encoding,
        identifier,
        records,
        families: names.families(),
        events,
        sequences,
        totals,
        columns,
    })
}

/// The file's own identifier: fields of its header, with a slash between them.
fn identifier(file: &File<'_>, names: &Names<'_>) -> Option<Template> {
    let value = file.table.get("identifier")?;
    let seen = names.of_roles(&[Role::FileHeader]);
    if seen.is_empty() {
        value.mistake("a record of the role file_header, which has the identifier", "none");
        return None;
    }
    let within = Within { names, own: None, seen, repeats: Vec::new() };
    let mut parts = Vec::new();
    for value in value.list() {
        if !parts.is_empty() {
            parts.push(Part::Text(String::from("/")));
        }
        parts.push(Part::Field(within.named(value)?));
    }
    Some(Template(parts))
}

#[cfg(test)]
mod tests;
