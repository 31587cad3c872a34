//! What is published on `records`: the clearing record, and what else happens to accounts.

use std::borrow::Cow;
use std::fmt;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{AccountId, CommandId, Currency, Date, Direction, FileId, LocalTime, Sums};

crate::vocabulary! {
    /// What a record means, whatever its format calls it.
    Kind {
        /// A purchase or other first presentment.
        PRESENTMENT = "presentment",
        /// Money given back by the merchant.
        REFUND = "refund",
        /// Takes back an earlier record of the other side.
        REVERSAL = "reversal",
        /// The issuer's dispute.
        CHARGEBACK = "chargeback",
        /// The acquirer presents again.
        REPRESENTMENT = "representment",
        /// A fee, between institutions or to an account.
        FEE = "fee",
        /// A credit transfer or a collection.
        PAYMENT = "payment",
        /// An entry that came back.
        RETURN = "return",
        /// A test of an account without money.
        PRENOTE = "prenote",
        /// A notification of change to an account's details.
        CHANGE = "change",
        /// A position between institutions.
        SETTLEMENT = "settlement",
        /// Tells something and moves nothing.
        INFORMATION = "information",
    }
}

/// One record of a file, as the event that every subscriber reads, whatever the format.
///
/// Schema: `avro/ClearingRecord.avsc`, which documents each field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct ClearingRecord {
    pub file_id: FileId,
    pub index: i64,
    pub sequence: i64,
    pub byte_offset: i64,
    pub byte_length: i64,
    pub line: Option<i64>,
    pub feed: String,
    pub format: String,
    pub code: String,
    pub kind: Kind,
    pub direction: Direction,
    pub account: Option<AccountId>,
    pub account_label: Option<String>,
    pub network: String,
    pub amount_minor: i64,
    pub currency: Option<Currency>,
    pub exponent: i32,
    pub amounts: Vec<Amount>,
    pub control_amount: Option<i64>,
    pub occurred_at: Option<LocalTime>,
    pub value_date: Option<Date>,
    pub reference: Option<String>,
    pub counterparty: Option<String>,
    pub attributes: Attributes,
}

/// More of a record, by name: what its format's allow-list lets through. An Avro map.
///
/// - Names are unique; their order is the one in which they were set.
/// - Names that a format sets are constants, so that setting one costs no allocation for it.
/// - Clearing keeps the buffers of the values for those that are set next.
#[derive(Default)]
pub struct Attributes {
    set: Vec<(Cow<'static, str>, String)>,
    spare: Vec<String>,
}

impl Attributes {
    /// Sets an attribute, in place of an earlier one of that name.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.value(name).push_str(value);
    }

    /// The value of an attribute, emptied, to be written: in place of an earlier one of that name.
    pub fn value(&mut self, name: &'static str) -> &mut String {
        let at = match self.set.iter().position(|(known, _)| known == name) {
            Some(at) => at,
            None => {
                self.set.push((Cow::Borrowed(name), self.spare.pop().unwrap_or_default()));
                self.set.len() - 1
            }
        };
        let value = &mut self.set[at].1;
        value.clear();
        value
    }

    /// The attribute of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.set.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names and values, in the order in which they were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.spare.extend(self.set.drain(..).rev().map(|(_, value)| value));
    }
}

impl Clone for Attributes {
    fn clone(&self) -> Self {
        Self { set: self.set.clone(), spare: Vec::new() }
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

impl Eq for Attributes {}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.set.len()))?;
        for (name, value) in &self.set {
            map.serialize_entry(name.as_ref(), value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> serde::de::Visitor<'de> for Map {
            type Value = Attributes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of attributes")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Attributes, A::Error> {
                let mut attributes = Vec::with_capacity(map.size_hint().unwrap_or_default());
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    attributes.push((Cow::Owned(name), value));
                }
                Ok(Attributes { set: attributes, spare: Vec::new() })
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// Another amount of a record: what was paid, reconciled, billed, or charged as a fee.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Amount {
    pub role: Cow<'static, str>,
    pub amount_minor: i64,
    pub currency: Currency,
    pub exponent: i32,
}

/// Ends a file's run on one shard: how many events it had there, and their sums.
///
/// Schema: `avro/SegmentClosed.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct SegmentClosed {
    pub file_id: FileId,
    pub shard: i32,
    pub complete: bool,
    pub events: i64,
    pub sums: Sums,
    pub command_id: Option<CommandId>,
    pub answer_to: i32,
}

/// Asks a shard to undo what it applied of a file in a range of records.
///
/// Schema: `avro/Reversal.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Reversal {
    pub command_id: CommandId,
    pub file_id: FileId,
    pub first_index: i64,
    pub last_index: i64,
    pub reason: String,
    pub answer_to: i32,
}

/// Sets an account's state or label, never money.
///
/// Schema: `avro/AccountChanged.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct AccountChanged {
    pub command_id: CommandId,
    pub account: AccountId,
    pub state: Option<String>,
    pub label: Option<String>,
    pub reason: String,
}
