//! Avro as the oracle reads it: a value by its schema, the fields that are asked for.
//!
//! The schemas are the published ones, taken as data.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

/// The types of events by the id in their framing, each with its schema.
const EVENTS: &[(u32, &str, &str)] = &[
    (1, "ClearingRecord", include_str!("../../../schemas/avro/ClearingRecord.avsc")),
    (2, "SegmentClosed", include_str!("../../../schemas/avro/SegmentClosed.avsc")),
    (3, "Reversal", include_str!("../../../schemas/avro/Reversal.avsc")),
    (4, "AccountChanged", include_str!("../../../schemas/avro/AccountChanged.avsc")),
    (5, "RecordRejected", include_str!("../../../schemas/avro/RecordRejected.avsc")),
    (6, "Outcome", include_str!("../../../schemas/avro/Outcome.avsc")),
    (7, "Arrival", include_str!("../../../schemas/avro/Arrival.avsc")),
    (8, "File", include_str!("../../../schemas/avro/File.avsc")),
    (9, "Ledger", include_str!("../../../schemas/avro/Ledger.avsc")),
    (10, "PublishFile", include_str!("../../../schemas/avro/PublishFile.avsc")),
    (11, "FileCommand", include_str!("../../../schemas/avro/FileCommand.avsc")),
    (12, "SegmentApplied", include_str!("../../../schemas/avro/SegmentApplied.avsc")),
];

/// Where the body begins: behind 0x00 and four bytes of id.
const FRAMING: usize = 5;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Datum {
    Null,
    Long(i64),
    Text(String),
    List(Vec<Self>),
    Record(Vec<(&'static str, Self)>),
    /// What nobody asks for: bytes, maps, numbers with a point.
    Other,
}

impl Datum {
    /// A field of a record; null where it has none of this name.
    pub(crate) fn get(&self, name: &str) -> &Self {
        let Self::Record(fields) = self else { return &Self::Null };
        fields.iter().find(|(known, _)| *known == name).map_or(&Self::Null, |(_, value)| value)
    }

    /// A text; empty where it is none.
    pub(crate) fn text(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// A number, where it is one.
    pub(crate) fn long(&self) -> Option<i64> {
        if let Self::Long(number) = self { Some(*number) } else { None }
    }

    /// The elements of a list.
    pub(crate) fn list(&self) -> &[Self] {
        if let Self::List(values) = self { values } else { &[] }
    }
}

/// The type of an event, by the id in its framing.
pub(crate) fn event_type(bytes: &[u8]) -> &'static str {
    let id = bytes.get(1..FRAMING).map(|id| u32::from_be_bytes(id.try_into().unwrap()));
    assert_eq!(bytes.first(), Some(&0), "an event begins with 0x00");
    EVENTS.iter().find(|(known, _, _)| Some(*known) == id).map(|(_, name, _)| *name).unwrap()
}

/// The id in the framing of events of this type.
///
/// # Panics
///
/// Where there is no such type.
pub(crate) fn id(name: &str) -> u32 {
    let known = EVENTS.iter().find(|(_, known, _)| *known == name);
    known.unwrap_or_else(|| panic!("no event is called {name}")).0
}

/// Reads those fields of an event that are in `wanted`; all of them where that is empty.
pub(crate) fn read(bytes: &[u8], wanted: &[&str]) -> Datum {
    let name = event_type(bytes);
    let mut rest = &bytes[FRAMING..];
    let mut found = Vec::new();
    for (field, schema) in SCHEMAS[name] {
        if wanted.is_empty() || wanted.contains(field) {
            found.push((*field, value(schema, &mut rest)));
        } else {
            skip(schema, &mut rest);
        }
    }
    assert!(rest.is_empty(), "{name}: {} bytes are left over", rest.len());
    Datum::Record(found)
}

/// The fields of a record, by name and in order.
type Fields = &'static [(&'static str, Schema)];

enum Schema {
    Null,
    Boolean,
    Long,
    Double,
    Bytes,
    Text,
    List(Box<Self>),
    Map(Box<Self>),
    Union(Vec<Self>),
    Record(Fields),
}

static SCHEMAS: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let parse = |(_, name, text): &(u32, &'static str, &str)| {
        let schema: Value = serde_json::from_str(text).unwrap();
        match schema_of(&schema, &mut HashMap::new()) {
            Schema::Record(fields) => (*name, fields),
            _ => unreachable!("{name} is a record"),
        }
    };
    EVENTS.iter().map(parse).collect()
});

/// Takes a schema apart. Records are kept for good, since a later field may only name them.
fn schema_of(text: &Value, named: &mut HashMap<String, Fields>) -> Schema {
    if let Value::Array(branches) = text {
        return Schema::Union(branches.iter().map(|branch| schema_of(branch, named)).collect());
    }
    if text["type"].is_object() || text["type"].is_array() {
        return schema_of(&text["type"], named);
    }
    match text.as_str().or(text["type"].as_str()).unwrap() {
        "null" => Schema::Null,
        "boolean" => Schema::Boolean,
        "int" | "long" => Schema::Long,
        "double" => Schema::Double,
        "bytes" => Schema::Bytes,
        "string" => Schema::Text,
        "array" => Schema::List(Box::new(schema_of(&text["items"], named))),
        "map" => Schema::Map(Box::new(schema_of(&text["values"], named))),
        "record" => {
            let fields = text["fields"].as_array().unwrap().iter().map(|field| {
                let name: &'static str = String::from(field["name"].as_str().unwrap()).leak();
                (name, schema_of(&field["type"], named))
            });
            let fields: Fields = Vec::leak(fields.collect());
            named.insert(text["name"].as_str().unwrap().to_owned(), fields);
            Schema::Record(fields)
        }
        name => Schema::Record(named[name]),
    }
}

fn value(schema: &Schema, rest: &mut &[u8]) -> Datum {
    match schema {
        Schema::Null => Datum::Null,
        Schema::Boolean => Datum::Long(i64::from(take(rest, 1)[0])),
        Schema::Long => Datum::Long(long(rest)),
        Schema::Text => Datum::Text(String::from_utf8(bytes(rest).to_vec()).unwrap()),
        Schema::List(items) => {
            let mut found = Vec::new();
            blocks(rest, |rest| found.push(value(items, rest)));
            Datum::List(found)
        }
        Schema::Union(branches) => {
            let branch = usize::try_from(long(rest)).unwrap();
            value(&branches[branch], rest)
        }
        Schema::Record(fields) => {
            Datum::Record(fields.iter().map(|(name, field)| (*name, value(field, rest))).collect())
        }
        Schema::Double | Schema::Bytes | Schema::Map(_) => {
            skip(schema, rest);
            Datum::Other
        }
    }
}

/// Goes past a value that nobody asks for.
fn skip(schema: &Schema, rest: &mut &[u8]) {
    match schema {
        Schema::Null => (),
        Schema::Boolean => {
            take(rest, 1);
        }
        Schema::Long => {
            long(rest);
        }
        Schema::Double => {
            take(rest, 8);
        }
        Schema::Bytes | Schema::Text => {
            bytes(rest);
        }
        Schema::List(items) => blocks(rest, |rest| skip(items, rest)),
        Schema::Map(values) => blocks(rest, |rest| {
            bytes(rest);
            skip(values, rest);
        }),
        Schema::Union(branches) => {
            let branch = usize::try_from(long(rest)).unwrap();
            skip(&branches[branch], rest);
        }
        Schema::Record(fields) => fields.iter().for_each(|(_, field)| skip(field, rest)),
    }
}

/// Zigzag over seven bits a byte.
fn long(rest: &mut &[u8]) -> i64 {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

fn bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::try_from(long(rest)).unwrap();
    take(rest, length)
}

/// Blocks of a list or a map, each behind its count; one of zero ends them.
fn blocks(rest: &mut &[u8], mut each: impl FnMut(&mut &[u8])) {
    loop {
        let count = long(rest);
        if count == 0 {
            return;
        }
        // A negative count says that the size in bytes follows.
        if count < 0 {
            long(rest);
        }
        for _ in 0..count.unsigned_abs() {
            each(rest);
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}
