//! The names of a layout, and what each of them leads to.

use super::mistake::{did_you_mean, one_of};
use super::value::{Table, Value, is_name};
use crate::format::layout::model::{FieldRef, Role};

/// The keys of a `[[record]]`.
const KEYS: &[&str] = &["name", "role", "like", "when", "fields"];

const ROLES: &[(&str, Role)] = &[
    ("file_header", Role::FileHeader),
    ("batch_header", Role::BatchHeader),
    ("detail", Role::Detail),
    ("batch_trailer", Role::BatchTrailer),
    ("file_trailer", Role::FileTrailer),
    ("column_names", Role::ColumnNames),
    ("skipped", Role::Skipped),
];

/// A record type by its names, before its fields are read.
#[derive(Debug)]
pub(super) struct Named<'a> {
    /// Its table.
    pub(super) table: Table<'a>,
    /// Its name.
    pub(super) name: &'a str,
    /// What it is.
    pub(super) role: Role,
    /// The family it is of.
    pub(super) family: usize,
    /// What is written of each field of the family; none where it has it not.
    pub(super) fields: Vec<Option<Value<'a>>>,
}

/// Record types that are like each other: the names of all of their fields.
#[derive(Debug, Default)]
struct Family<'a> {
    fields: Vec<&'a str>,
}

/// Every name of a layout.
#[derive(Debug)]
pub(super) struct Names<'a> {
    /// The record types in order.
    pub(super) records: Vec<Named<'a>>,
    /// True where a unit may be a line, which a byte of a packed or binary number can end.
    pub(super) may_be_lines: bool,
    families: Vec<Family<'a>>,
}

impl<'a> Names<'a> {
    /// Reads the names of the records and of their fields.
    pub(super) fn read(top: Table<'a>) -> Self {
        let tables = top.tables("record", KEYS);
        if tables.is_empty() && top.get("record").is_none() {
            top.mistake("at least one [[record]]", "none");
        }
        let mut names = Self { records: Vec::new(), may_be_lines: false, families: Vec::new() };
        // Those that are like none first, so that the others find them wherever they stand.
        let mut of_table: Vec<Option<Named<'a>>> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for table in &tables {
            let name = table.require("name").and_then(|value| unused(value, &mut seen));
            let is_root = table.get("like").is_none();
            of_table.push(name.filter(|_| is_root).and_then(|name| names.root(*table, name)));
        }
        let roots: Vec<(&'a str, usize, Role, Vec<Option<Value<'a>>>)> = (of_table.iter())
            .flatten()
            .map(|root| (root.name, root.family, root.role, root.fields.clone()))
            .collect();
        for (table, named) in tables.iter().zip(&mut of_table) {
            let (Some(name), Some(like)) = (table.get("name"), table.get("like")) else { continue };
            let Some(name) = name.if_text() else { continue };
            let Some(text) = like.text() else { continue };
            let Some((_, family, role, fields)) = roots.iter().find(|root| root.0 == text) else {
                let known = || roots.iter().map(|root| root.0);
                let expected = format!("a record that is like no other: {}", one_of(known()));
                like.mistake_with(expected, format!("{text:?}"), did_you_mean(text, known()));
                continue;
            };
            if let Some(own) = table.get("role") {
                let remedy = String::from("leave it out, or make it a record of its own");
                own.mistake_with(
                    format!("no role beside like: it is that of {text}"),
                    own.shown(),
                    remedy,
                );
            }
            let (family, role, fields) = (*family, *role, fields.clone());
            *named = Some(names.member(*table, name, family, role, fields));
        }
        names.records = of_table.into_iter().flatten().collect();
        names.fill_up();
        names
    }

    /// A record that is like no other, and its family.
    fn root(&mut self, table: Table<'a>, name: &'a str) -> Option<Named<'a>> {
        let role = table.require("role").and_then(|value| value.word(ROLES))?;
        let family = self.families.len();
        self.families.push(Family::default());
        Some(self.member(table, name, family, role, Vec::new()))
    }

    /// A record of a family, with these fields but for its own.
    fn member(
        &mut self,
        table: Table<'a>,
        name: &'a str,
        family: usize,
        role: Role,
        mut fields: Vec<Option<Value<'a>>>,
    ) -> Named<'a> {
        let own = table.get("fields").and_then(Value::any_table).map(Table::entries);
        for entry in own.unwrap_or_default() {
            if !is_name(entry.key) {
                entry.mistake("a name of small letters, digits and underscores", None);
                continue;
            }
            let Some(known) = self.families.get_mut(family) else { continue };
            let number = known.fields.iter().position(|name| *name == entry.key);
            let number = number.unwrap_or_else(|| {
                known.fields.push(entry.key);
                known.fields.len().saturating_sub(1)
            });
            fields.resize(fields.len().max(number.saturating_add(1)), None);
            if let Some(field) = fields.get_mut(number) {
                *field = Some(entry.value);
            }
        }
        Named { table, name, role, family, fields }
    }

    /// Gives each record a place for every field of its family.
    fn fill_up(&mut self) {
        for record in &mut self.records {
            let count = self.families.get(record.family).map_or(0, |family| family.fields.len());
            record.fields.resize(count, None);
        }
    }

    /// How many families there are.
    pub(super) fn families(&self) -> usize {
        self.families.len()
    }

    /// The names of a family's fields, by their numbers.
    pub(super) fn fields(&self, family: usize) -> &[&'a str] {
        self.families.get(family).map_or(&[], |family| &family.fields)
    }

    /// What is written of a field in each record of its family that has it, the one that is like
    /// no other first.
    pub(super) fn written(&self, at: FieldRef) -> Vec<Value<'a>> {
        let family = self.records.iter().filter(|record| record.family == at.family);
        let is_like = |record: &&Named<'_>| record.table.get("like").is_some();
        let (others, root): (Vec<_>, Vec<_>) = family.partition(is_like);
        let all = root.into_iter().chain(others);
        all.filter_map(|record| *record.fields.get(at.field)?).collect()
    }

    /// True where a field says this, in every record of its family that has it.
    pub(super) fn says(&self, at: FieldRef, key: &str) -> bool {
        let says = |value: Value<'_>| value.if_table().is_some_and(|t| t.get(key).is_some());
        self.written(at).into_iter().all(says)
    }

    /// True where a field is of bytes that are no characters.
    fn is_raw(&self, at: FieldRef) -> bool {
        let kind = |value: &Value<'a>| value.if_table()?.get("type")?.if_text();
        self.written(at).iter().filter_map(kind).any(|kind| ["packed", "binary"].contains(&kind))
    }

    /// The families of this role.
    pub(super) fn of_roles(&self, roles: &[Role]) -> Vec<usize> {
        let records = self.records.iter().filter(|record| roles.contains(&record.role));
        let mut families: Vec<usize> = records.map(|record| record.family).collect();
        families.sort_unstable();
        families.dedup();
        families
    }

    /// The first record of a family: the name that it is told by.
    pub(super) fn name_of(&self, family: usize) -> &'a str {
        let mut members = self.records.iter().filter(|record| record.family == family);
        members
            .clone()
            .find(|record| record.table.get("like").is_none())
            .or_else(|| members.next())
            .map_or("", |record| record.name)
    }

    /// The record of this name: its index; else a mistake.
    pub(super) fn record(&self, value: Value<'a>) -> Option<usize> {
        let name = value.text()?;
        let found = self.records.iter().position(|record| record.name == name);
        if found.is_none() {
            self.no_such_record(value, name);
        }
        found
    }

    fn no_such_record(&self, value: Value<'_>, name: &str) {
        let known = || self.records.iter().map(|record| record.name);
        let expected = format!("a record: {}", one_of(known()));
        value.mistake_with(expected, format!("{name:?}"), did_you_mean(name, known()));
    }

    /// The fields that `"*.field"`, `"record.field"` or a list of them name, a family each; else a
    /// mistake.
    pub(super) fn every(&self, value: Value<'a>) -> Vec<FieldRef> {
        let all: Vec<usize> = (0..self.families.len()).collect();
        let within = Within { names: self, own: None, seen: all, repeats: Vec::new() };
        let mut found = Vec::new();
        for value in value.list() {
            let Some(text) = value.text() else { continue };
            let Some(name) = text.strip_prefix("*.") else {
                found.extend(within.field(value, text));
                continue;
            };
            let before = found.len();
            for (family, fields) in self.families.iter().enumerate() {
                let field = fields.fields.iter().position(|known| *known == name);
                found.extend(field.map(|field| FieldRef { family, field }));
            }
            if found.len() == before {
                let known = || self.families.iter().flat_map(|family| family.fields.clone());
                let remedy = did_you_mean(name, known());
                value.mistake_with("a field of any record", format!("{name:?}"), remedy);
            }
        }
        found
    }
}

/// The names that can be seen from one place of a layout.
#[derive(Clone, Debug)]
pub(super) struct Within<'n, 'a> {
    /// All names.
    pub(super) names: &'n Names<'a>,
    /// The family whose fields need no record's name before them.
    pub(super) own: Option<usize>,
    /// The families that can be seen.
    pub(super) seen: Vec<usize>,
    /// Those among them that can't be named, as there may be several and only the first is read.
    pub(super) repeats: Vec<usize>,
}

impl<'a> Within<'_, 'a> {
    /// The field that a value names: `field` or `record.field`; else a mistake.
    pub(super) fn named(&self, value: Value<'a>) -> Option<FieldRef> {
        self.field(value, value.text()?)
    }

    /// As above, where the name is a part of the value.
    pub(super) fn field(&self, value: Value<'_>, text: &str) -> Option<FieldRef> {
        let (family, name) = match (text.split_once('.'), self.own) {
            (Some((record, name)), _) => (self.family(value, record)?, name),
            (None, Some(own)) => (own, text),
            (None, None) => {
                let remedy = String::from("say of which record it is");
                value.mistake_with("record.field", format!("{text:?}"), remedy);
                return None;
            }
        };
        let fields = self.names.fields(family);
        let found = fields.iter().position(|known| *known == name);
        if found.is_none() {
            let record = self.names.name_of(family);
            let known = if fields.is_empty() {
                String::from(", which has none")
            } else {
                format!(": {}", one_of(fields.iter().copied()))
            };
            let remedy = did_you_mean(name, fields.iter().copied());
            value.mistake_with(format!("a field of {record}{known}"), format!("{name:?}"), remedy);
        }
        let at = FieldRef { family, field: found? };
        if self.names.may_be_lines && self.names.is_raw(at) {
            let remedy = String::from("cut by fixed or rdw, where no byte ends a line");
            let expected = "a field of characters, as the content may be lines";
            value.mistake_with(expected, format!("{text:?}"), remedy);
        }
        Some(at)
    }

    /// True where this is the name of a field that needs no record's name before it.
    pub(super) fn has_own(&self, name: &str) -> bool {
        self.own.is_some_and(|own| self.names.fields(own).contains(&name))
    }

    /// True where this begins with the name of a record and a point.
    pub(super) fn names_a_record(&self, text: &str) -> bool {
        let record = text.split_once('.').map(|(record, _)| record);
        record.is_some_and(|name| self.names.records.iter().any(|known| known.name == name))
    }

    /// True where this names a field of a header.
    pub(super) fn is_of_header(&self, text: &str) -> bool {
        let record = text.split_once('.').map(|(record, _)| record);
        let mut records = self.names.records.iter();
        records.any(|known| Some(known.name) == record && known.role != Role::Detail)
    }

    fn family(&self, value: Value<'_>, record: &str) -> Option<usize> {
        let Some(found) = self.names.records.iter().find(|known| known.name == record) else {
            self.names.no_such_record(value, record);
            return None;
        };
        if !self.seen.contains(&found.family) {
            let seen = self.seen.iter().map(|family| self.names.name_of(*family));
            let expected = format!("a field of {}", one_of(seen));
            let remedy = "a record of another group can't be seen from here; join it";
            let is_detail = found.role == Role::Detail && self.own.is_some();
            let remedy = is_detail.then(|| String::from(remedy));
            value.mistake_with(expected, format!("one of {record}"), remedy);
            return None;
        }
        if self.repeats.contains(&found.family) {
            let remedy = format!("make {record} an event of its own");
            let found = format!("one of {record}, which repeats");
            value.mistake_with("a field of a record that is there once", found, remedy);
            return None;
        }
        Some(found.family)
    }
}

/// A name that no other record has; else a mistake.
fn unused<'a>(value: Value<'a>, seen: &mut Vec<&'a str>) -> Option<&'a str> {
    let name = value.name()?;
    if seen.contains(&name) {
        value.mistake("a name that no other record has", format!("{name:?}"));
        return None;
    }
    seen.push(name);
    Some(name)
}
