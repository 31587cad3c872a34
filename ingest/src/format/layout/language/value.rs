//! Values and tables of the text, each with its place, asked for what a layout expects there.

use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Source, did_you_mean, one_of};

/// A value and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    source: &'a Source<'a>,
    value: &'a Spanned<DeValue<'a>>,
}

/// A key of a table, its place, and its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// The key.
    pub(super) key: &'a str,
    /// Where it stands: a byte of the text.
    pub(super) at: usize,
    /// Its value.
    pub(super) value: Value<'a>,
}

/// A table and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    /// Where it begins: a byte of the text.
    pub(super) at: usize,
}

impl<'a> Value<'a> {
    /// Where it stands: a byte of the text.
    pub(super) fn at(self) -> usize {
        self.value.span().start
    }

    /// Notes a mistake at this value.
    pub(super) fn mistake(self, expected: impl Into<String>, found: impl Into<String>) {
        self.source.mistake(self.at(), expected, found, None);
    }

    /// Notes a mistake at this value, and what to do.
    pub(super) fn mistake_with(
        self,
        expected: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) {
        self.source.mistake(self.at(), expected, found, remedy.into());
    }

    /// Text; else a mistake.
    pub(super) fn text(self) -> Option<&'a str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_) => {
                let remedy = String::from("put it in quotes");
                self.mistake_with("text", self.shown(), remedy);
                None
            }
            _ => {
                self.mistake("text", self.shown());
                None
            }
        }
    }

    /// Text that isn't empty; else a mistake.
    pub(super) fn some_text(self) -> Option<&'a str> {
        let text = self.text()?;
        if text.is_empty() {
            self.mistake("text", "none");
            return None;
        }
        Some(text)
    }

    /// Text where it is that, without a mistake where it isn't.
    pub(super) fn if_text(self) -> Option<&'a str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// A name: letters, digits and underscores, a letter first; else a mistake.
    pub(super) fn name(self) -> Option<&'a str> {
        let name = self.text()?;
        if is_name(name) {
            return Some(name);
        }
        self.mistake("a name of small letters, digits and underscores", format!("{name:?}"));
        None
    }

    /// A whole number of this range; else a mistake.
    pub(super) fn integer(self, range: RangeInclusive<i64>) -> Option<i64> {
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        match self.if_integer() {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                self.mistake(expected(), self.shown());
                None
            }
        }
    }

    /// A whole number where it is that, without a mistake where it isn't.
    pub(super) fn if_integer(self) -> Option<i64> {
        match self.value.get_ref() {
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        }
    }

    /// Yes or no; else a mistake.
    pub(super) fn flag(self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => {
                self.mistake("true or false", self.shown());
                None
            }
        }
    }

    /// One of these words, as what it stands for; else a mistake.
    pub(super) fn word<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let found = self.text()?;
        let known = words.iter().find(|(word, _)| *word == found);
        if known.is_none() {
            let words = || words.iter().map(|(word, _)| *word);
            let remedy = did_you_mean(found, words());
            self.mistake_with(one_of(words()), format!("{found:?}"), remedy);
        }
        known.map(|(_, meaning)| *meaning)
    }

    /// The values of a list; a value that is none is a list of itself.
    pub(super) fn list(self) -> Vec<Self> {
        match self.value.get_ref() {
            DeValue::Array(values) => values.iter().map(|value| Self { value, ..self }).collect(),
            _ => vec![self],
        }
    }

    /// A table that knows these keys; else a mistake, as is each other key in it.
    pub(super) fn table(self, keys: &[&str]) -> Option<Table<'a>> {
        let table = self.any_table()?;
        table.only(keys);
        Some(table)
    }

    /// A table of whatever keys; else a mistake.
    pub(super) fn any_table(self) -> Option<Table<'a>> {
        let table = self.if_table();
        if table.is_none() {
            self.mistake("a table", self.shown());
        }
        table
    }

    /// A table where it is that, without a mistake where it isn't.
    pub(super) fn if_table(self) -> Option<Table<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(Table { source: self.source, table, at: self.at() }),
            _ => None,
        }
    }

    /// The value, as it is told in a mistake.
    pub(super) fn shown(self) -> String {
        match self.value.get_ref() {
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(digits) => digits.to_string(),
            DeValue::Float(digits) => digits.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(moment) => moment.to_string(),
            DeValue::Array(_) => String::from("a list"),
            DeValue::Table(_) => String::from("a table"),
        }
    }
}

impl<'a> Table<'a> {
    /// The whole text.
    pub(super) fn of(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self { source, table, at: 0 }
    }

    /// Notes a mistake where this table begins.
    pub(super) fn mistake(self, expected: impl Into<String>, found: impl Into<String>) {
        self.source.mistake(self.at, expected, found, None);
    }

    /// Notes a mistake where this table begins, and what to do.
    pub(super) fn mistake_with(
        self,
        expected: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) {
        self.source.mistake(self.at, expected, found, remedy.into());
    }

    /// Notes each key that is none of these.
    pub(super) fn only(self, keys: &[&str]) {
        for entry in self.entries() {
            if !keys.contains(&entry.key) {
                let remedy = did_you_mean(entry.key, keys.iter().copied());
                let expected = one_of(keys.iter().copied());
                entry.mistake(format!("a key of {expected}"), remedy);
            }
        }
    }

    /// Its keys and values, in the order of the text.
    pub(super) fn entries(self) -> Vec<Entry<'a>> {
        let source = self.source;
        let mut entries: Vec<Entry<'_>> = (self.table.iter())
            .map(|(key, value)| Entry {
                key: key.get_ref().as_ref(),
                at: key.span().start,
                value: Value { source, value },
            })
            .collect();
        entries.sort_by_key(|entry| entry.at);
        entries
    }

    /// The value of a key.
    pub(super) fn get(self, key: &str) -> Option<Value<'a>> {
        let value = self.table.get(key)?;
        Some(Value { source: self.source, value })
    }

    /// The value of a key that must be there; else a mistake.
    pub(super) fn require(self, key: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.mistake(format!("the key {key}"), "none");
        }
        value
    }

    /// Tables of this key, such as `[[record]]` begins them, of these keys.
    pub(super) fn tables(self, key: &str, keys: &[&str]) -> Vec<Self> {
        let Some(value) = self.get(key) else { return Vec::new() };
        value.list().into_iter().filter_map(|value| value.table(keys)).collect()
    }
}

impl Entry<'_> {
    /// Notes a mistake at the key.
    pub(super) fn mistake(self, expected: impl Into<String>, remedy: Option<String>) {
        self.value.source.mistake(self.at, expected, format!("{:?}", self.key), remedy);
    }

    /// True where a point in a key without quotes made a table of its value, which is a mistake.
    pub(super) fn is_cut_at_a_point(self, expected: &str) -> bool {
        let is_table = self.value.if_table().is_some();
        if is_table {
            let remedy = format!("put the whole key in quotes: \"{}.…\"", self.key);
            let found = "a table, as a key with a point in it makes one";
            self.value.mistake_with(expected, found, remedy);
        }
        is_table
    }
}

/// True for small letters, digits and underscores, a letter first.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
