//! An event as JSON: the names of its Avro fields are the keys, and dates are ISO text.

use std::borrow::Cow;
use std::fmt;

use schemas::record::{Amount, Attributes};
use schemas::{AccountId, ClearingRecord, Currency, FileId};
use serde::{Serialize, Serializer};

/// A clearing record as JSON shows it.
#[derive(Serialize)]
pub(crate) struct EventView<'a> {
    file_id: Option<FileId>,
    index: i64,
    sequence: Option<i64>,
    byte_offset: i64,
    byte_length: i64,
    line: Option<i64>,
    feed: &'a str,
    format: &'a str,
    code: &'a str,
    kind: &'a str,
    direction: &'a str,
    account: Option<AccountId>,
    account_label: Option<Cow<'a, str>>,
    network: &'a str,
    amount_minor: i64,
    currency: Option<Currency>,
    exponent: i32,
    amounts: &'a [Amount],
    control_amount: Option<i64>,
    #[serde(serialize_with = "as_text")]
    occurred_at: Option<schemas::LocalTime>,
    #[serde(serialize_with = "as_text")]
    value_date: Option<schemas::Date>,
    reference: Option<&'a str>,
    counterparty: Option<&'a str>,
    attributes: &'a Attributes,
}

/// Where a record stands in a ledger, as far as that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Its file.
    pub(crate) file_id: Option<FileId>,
    /// Its number among the file's events on its shard.
    pub(crate) sequence: Option<i64>,
    /// Its account.
    pub(crate) account: Option<AccountId>,
    /// The masked label of its number.
    pub(crate) label: Option<String>,
}

impl<'a> EventView<'a> {
    /// A record that stands so.
    pub(crate) fn new(record: &'a ClearingRecord, standing: Standing) -> Self {
        let label = standing.label.map(Cow::Owned);
        Self {
            file_id: standing.file_id,
            index: record.index,
            sequence: standing.sequence,
            byte_offset: record.byte_offset,
            byte_length: record.byte_length,
            line: record.line,
            feed: &record.feed,
            format: &record.format,
            code: &record.code,
            kind: record.kind.as_str(),
            direction: record.direction.as_str(),
            account: standing.account,
            account_label: label,
            network: &record.network,
            amount_minor: record.amount_minor,
            currency: record.currency,
            exponent: record.exponent,
            amounts: &record.amounts,
            control_amount: record.control_amount,
            occurred_at: record.occurred_at,
            value_date: record.value_date,
            reference: record.reference.as_deref(),
            counterparty: record.counterparty.as_deref(),
            attributes: &record.attributes,
        }
    }

    /// Where its bytes are: the first of them in the content, how many, and the line.
    pub(crate) fn place(&self) -> (i64, i64, Option<i64>) {
        (self.byte_offset, self.byte_length, self.line)
    }

    /// An event as it was published.
    pub(crate) fn published(record: &'a ClearingRecord) -> Self {
        let standing = Standing {
            file_id: Some(record.file_id),
            sequence: Some(record.sequence),
            account: record.account,
            label: None,
        };
        let label = record.account_label.as_deref().map(Cow::Borrowed);
        Self { account_label: label, ..Self::new(record, standing) }
    }
}

fn as_text<T: fmt::Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use schemas::codec::Event as _;

    use super::*;

    /// The keys of the JSON are the fields of the schema, in its order.
    #[test]
    fn the_keys_are_the_names_of_the_avro_fields() {
        let schema: serde_json::Value =
            serde_json::from_str(ClearingRecord::TYPE.schema_text()).unwrap();
        let fields = schema["fields"].as_array().unwrap().iter();
        let names: Vec<&str> = fields.map(|field| field["name"].as_str().unwrap()).collect();
        let record = ingest::format::Draft::new("feed", "nacha").record;
        let json = serde_json::to_string(&EventView::new(&record, Standing::default())).unwrap();
        let mut at = 0;
        for name in &names {
            let key = format!("\"{name}\":");
            let found = json[at..].find(&key);
            at += found.unwrap_or_else(|| panic!("{name} is not there, or not in order: {json}"));
        }
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object.as_object().unwrap().len(), names.len());
    }

    #[test]
    fn dates_are_iso_text() {
        let mut record = ingest::format::Draft::new("feed", "nacha").record;
        record.value_date = schemas::Date::new(2026, 3, 14);
        record.occurred_at =
            schemas::LocalTime::new(schemas::Date::new(2026, 3, 14).unwrap(), 1, 2, 3);
        let json = serde_json::to_value(EventView::new(&record, Standing::default())).unwrap();
        assert_eq!(json["value_date"], "2026-03-14");
        assert_eq!(json["occurred_at"], "2026-03-14T01:02:03");
        assert_eq!(json["account"], serde_json::Value::Null);
    }
}
