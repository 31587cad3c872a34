//! The Avro schemas, judged by apache-avro, which shares no code with the codec.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::writer::datum::GenericDatumWriter;
use schemas::arrival::{Arrival, ArrivalState, Reason};
use schemas::codec::{Codec, Event, EventType};
use schemas::command::{Action, FileCommand, PublishFile, SegmentApplied};
use schemas::file::{
    Answer, AnswerKind, Checkpoint, ControlTotal, File, FileState, Resubmits, Segment, Verdict,
    Work,
};
use schemas::ledger::Ledger;
use schemas::outcome::{AccountState, Leg, Outcome, OutcomeKind, Owner};
use schemas::record::{AccountChanged, Amount, Attributes, Reversal, SegmentClosed};
use schemas::{
    AccountId, ClearingRecord, CommandId, Currency, Date, Digest, Direction, FileId, Kind,
    LocalTime, RecordRejected, Sums, Timestamp,
};

fn account() -> AccountId {
    "card:000102030405060708090a0b0c0d0e0f".parse().unwrap()
}

fn sums() -> Sums {
    let mut sums = Sums::new();
    sums.add(&Direction::DEBIT, Currency::USD, 2, 1_234).unwrap();
    sums.add(&Direction::CREDIT, Currency::from_letters("JPY").unwrap(), 0, i64::MAX).unwrap();
    sums
}

fn reason() -> Reason {
    Reason::new("totals_differ").expected_found("1", "2").remedy("ask the sender")
}

fn clearing_record() -> ClearingRecord {
    let mut attributes = Attributes::default();
    attributes.set("mcc", "5411");
    ClearingRecord {
        file_id: FileId([7; 16]),
        index: 3,
        sequence: 0,
        byte_offset: 94,
        byte_length: 188,
        line: Some(2),
        feed: "visa".to_owned(),
        format: "ipm".to_owned(),
        code: "1240/200".to_owned(),
        kind: Kind::PRESENTMENT,
        direction: Direction::DEBIT,
        account: Some(account()),
        account_label: Some("****0012".to_owned()),
        network: "mastercard".to_owned(),
        amount_minor: i64::MAX,
        currency: Some(Currency::USD),
        exponent: 2,
        amounts: vec![Amount {
            role: "billing".into(),
            amount_minor: 5,
            currency: Currency::USD,
            exponent: 2,
        }],
        control_amount: None,
        occurred_at: LocalTime::new(Date::new(2025, 11, 20).unwrap(), 10, 11, 12),
        value_date: Date::new(1969, 12, 31),
        reference: Some("05413335325000000000011".to_owned()),
        counterparty: None,
        attributes,
    }
}

fn verdict() -> Verdict {
    Verdict {
        content_digest: Digest([9; 32]),
        occurrence: 0,
        format: "nacha".to_owned(),
        container: "gzip".to_owned(),
        identifier: Some("091000019 260722 1111 A".to_owned()),
        identifiers: vec!["091000019 260722 1111 A".to_owned()],
        size_bytes: 10,
        content_bytes: 940,
        records: 2,
        rejects: 1,
        shard_events: vec![0, 2, 0],
        sums: sums(),
        claimed_debits: None,
        claimed_credits: Some(1),
        claimed_unsigned: None,
        control_totals: vec![ControlTotal {
            name: "file credits".to_owned(),
            claimed: 1,
            seen: 1,
            proven: true,
        }],
        warnings: vec![reason()],
        settings_digest: "00".to_owned(),
        reader_revision: 1,
        block_bytes: 8_388_608,
        block_digests: vec![1; 16],
    }
}

fn segment() -> Segment {
    Segment {
        shard: 1,
        number: 2,
        complete: true,
        events: 3,
        applied: 2,
        rejected: 1,
        reversed: 0,
        duplicates: 0,
        applied_sums: sums(),
        rejected_sums: Sums::new(),
        reversed_sums: sums(),
    }
}

fn segment_applied() -> SegmentApplied {
    let command_id = Some(CommandId([1; 16]));
    SegmentApplied { file_id: FileId([7; 16]), segment: segment(), command_id }
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        byte_offset: 94,
        next_index: 1,
        sequences: vec![1, 0],
        published: 1,
        rejected: 0,
        sums: sums(),
        shard_sums: vec![sums(), Sums::new()],
        control_debits: 1,
        control_credits: 2,
        control_unsigned: 3,
        reader: vec![0, 255],
    }
}

/// Judges one event: apache-avro decodes the bytes against the schema in the repository, encodes
/// what it decoded to the same bytes, and the codec reads them back as what was written.
fn judge<E: Event + PartialEq + std::fmt::Debug>(event: &E) {
    let codec = Codec::built_in();
    let bytes = codec.encode(event).unwrap();
    let schema = Schema::parse_str(E::TYPE.schema_text()).unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let value = reader.read_value(&mut &bytes[5..]).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let again = writer.write_value_to_vec(value).unwrap();
    assert_eq!(bytes[5..], again, "{}", E::TYPE.name());
    assert_eq!(codec.decode::<E>(&bytes).unwrap(), *event);
}

#[test]
fn apache_avro_reads_and_writes_the_same_bytes() {
    judge(&clearing_record());
    judge(&ClearingRecord {
        line: None,
        account: None,
        account_label: None,
        currency: None,
        amounts: Vec::new(),
        control_amount: Some(0),
        occurred_at: None,
        value_date: None,
        reference: None,
        counterparty: Some("PADARIA CENTRAL".to_owned()),
        attributes: Attributes::default(),
        ..clearing_record()
    });
    judge(&SegmentClosed {
        file_id: FileId([7; 16]),
        shard: 15,
        complete: false,
        events: 9,
        sums: sums(),
        command_id: Some(CommandId([1; 16])),
        answer_to: 3,
    });
    judge(&Reversal {
        command_id: CommandId([1; 16]),
        file_id: FileId([7; 16]),
        first_index: 0,
        last_index: i64::MAX,
        reason: "asked".to_owned(),
        answer_to: 0,
    });
    judge(&AccountChanged {
        command_id: CommandId([1; 16]),
        account: account(),
        state: Some("frozen".to_owned()),
        label: None,
        reason: "court order".to_owned(),
    });
    judge(&RecordRejected {
        file_id: FileId([7; 16]),
        index: 1,
        byte_offset: 2,
        byte_length: 3,
        line: None,
        feed: "a".to_owned(),
        format: "nacha".to_owned(),
        code: None,
        reason: "not_digits".to_owned(),
        field: "amount".to_owned(),
        expected: "a digit".to_owned(),
        found: "a letter".to_owned(),
        direction: Direction::NONE,
        control_amount: None,
    });
    judge(&Outcome {
        shard: 0,
        number: 1,
        kind: OutcomeKind::APPLIED,
        source_offset: 2,
        file_id: Some(FileId([7; 16])),
        index: Some(3),
        sequence: Some(4),
        fingerprint: Some(-5),
        direction: Direction::CREDIT,
        amount_minor: 6,
        currency: Some(Currency::USD),
        exponent: 2,
        reason: None,
        detail: None,
        legs: vec![Leg {
            account: "clearing:ach#7".to_owned(),
            label: None,
            owner: Owner::HOUSE,
            state: AccountState::OPEN,
            direction: Direction::DEBIT,
            amount_minor: 6,
            currency: Currency::USD,
            exponent: 2,
            debits_minor: 6,
            credits_minor: 0,
            version: 1,
            previous_number: None,
        }],
        segment: Some(segment()),
        command_id: None,
        number_reversed: None,
        last_index: Some(9),
        answer_to: Some(1),
    });
    judge(&Ledger {
        name: "main".to_owned(),
        shards: 16,
        file_partitions: 4,
        key_check_value: "0011223344556677".to_owned(),
    });
}

#[test]
fn apache_avro_reads_and_writes_the_same_rows_and_commands() {
    judge(&Arrival {
        feed: "ach".to_owned(),
        object: "in/a.ach".to_owned(),
        version: "1-2".to_owned(),
        size_bytes: 5,
        state: ArrivalState::REFUSED,
        reason: Some(reason()),
        rejects: vec![reason()],
        file_id: None,
        identifier: None,
        settings_digest: "00".to_owned(),
        records: 0,
        content_bytes: 0,
        updated_at: Timestamp(1),
    });
    judge(&File {
        file_id: FileId([7; 16]),
        feed: "ach".to_owned(),
        object: "in/a.ach".to_owned(),
        version: "1-2".to_owned(),
        state: FileState::PUBLISHING,
        reason: None,
        verdict: verdict(),
        checkpoint: checkpoint(),
        segments: vec![segment()],
        duplicates: 1,
        answers: vec![Answer {
            command_id: CommandId([1; 16]),
            action: "hold".to_owned(),
            by: "ana".to_owned(),
            why: "asked".to_owned(),
            outcome: AnswerKind::DONE,
            detail: "nothing more is published".to_owned(),
            at: Timestamp(2),
        }],
        work: Some(Work {
            command_id: CommandId([2; 16]),
            action: Action::REPLAY,
            first_index: 0,
            last_index: 9,
            indices: vec![4],
            byte_offsets: vec![480],
            attempts: vec![2],
            by: "ana".to_owned(),
            why: "asked".to_owned(),
            state_before: FileState::PUBLISHED,
            checkpoint: Some(checkpoint()),
            segments: vec![segment()],
        }),
        resubmits: Some(Resubmits { file_id: FileId([6; 16]), index: 4, attempt: 1 }),
        arrived_at: Timestamp(3),
        updated_at: Timestamp(4),
    });
    judge(&PublishFile {
        file_id: FileId([7; 16]),
        feed: "ach".to_owned(),
        object: "in/a.ach".to_owned(),
        version: "1-2".to_owned(),
        held: Some(reason()),
        verdict: verdict(),
        arrived_at: Timestamp(3),
    });
    judge(&FileCommand {
        command_id: CommandId([1; 16]),
        file_id: FileId([7; 16]),
        action: Action::HOLD,
        first_index: None,
        last_index: Some(3),
        indices: vec![1, 5],
        byte_offsets: vec![120, 600],
        object: Some("in/b.ach".to_owned()),
        version: None,
        size_bytes: Some(940),
        by: "ana".to_owned(),
        why: "asked".to_owned(),
        at: Timestamp(3),
    });
    judge(&segment_applied());
}

#[test]
fn a_word_of_a_newer_writer_is_kept() {
    let event = ClearingRecord { kind: Kind::from("sent by pigeon"), ..clearing_record() };
    judge(&event);
}

#[test]
fn every_schema_parses_and_documents_every_field() {
    for event in EventType::ALL {
        let schema = Schema::parse_str(event.schema_text()).unwrap();
        let Schema::Record(record) = &schema else { panic!("{}: not a record", event.name()) };
        assert_eq!(record.name.fullname(None), event.full_name());
        for field in &record.fields {
            assert!(field.doc.is_some(), "{}.{} has no doc", event.name(), field.name);
        }
    }
}

/// FULL_TRANSITIVE: every version ever published (`avro/history/<name>.<version>.avsc`) reads what
/// the newest writes and is read by it, and the newest itself is kept there.
#[test]
fn every_version_ever_published_reads_and_is_read_by_the_newest() {
    let history = Path::new(env!("CARGO_MANIFEST_DIR")).join("avro/history");
    for event in EventType::ALL {
        let newest = Schema::parse_str(event.schema_text()).unwrap();
        let prefix = format!("{}.", event.name());
        let mut kept_newest = false;
        for entry in fs::read_dir(&history).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_str().unwrap().starts_with(&prefix) {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let published = Schema::parse_str(&text).unwrap();
            SchemaCompatibility::mutual_read(&published, &newest)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            kept_newest |= published == newest;
        }
        assert!(kept_newest, "{} has changed: add its new version to avro/history", event.name());
    }
}

/// The control: the check above does find a change that breaks readers.
#[test]
fn a_change_that_breaks_readers_is_found() {
    let newest = Schema::parse_str(EventType::Ledger.schema_text()).unwrap();
    let text = EventType::Ledger.schema_text().replace("\"shards\"", "\"shard_count\"");
    let renamed = Schema::parse_str(&text).unwrap();
    assert!(SchemaCompatibility::mutual_read(&renamed, &newest).is_err());
}

#[test]
fn schemas_that_write_the_same_bytes_differ_in_words_alone() {
    let ours = EventType::Ledger.schema_text();
    assert!(EventType::Ledger.is_written_as(ours));
    assert!(EventType::Ledger.is_written_as(&ours.replace("Its name", "The name")));
    let others = [
        ours.replace("\"shards\"", "\"shard_count\""),
        ours.replace("\"int\"", "\"long\""),
        EventType::File.schema_text().to_owned(),
        "no schema".to_owned(),
    ];
    for other in others {
        assert!(!EventType::Ledger.is_written_as(&other), "{other}");
    }
}

#[test]
fn bytes_that_are_no_event_are_refused_by_name() {
    let codec = Codec::built_in();
    let ledger = codec.encode(&segment_applied()).unwrap();
    let cases: [(&[u8], &str); 4] = [
        (b"", "expected the framing"),
        (b"\x01\0\0\0\x01", "expected the framing"),
        (b"\0\0\0\xff\xff", "expected the id of a known schema, found 65535"),
        (&ledger, "expected an event of type Ledger, found SegmentApplied"),
    ];
    for (bytes, expected) in cases {
        let error = codec.decode::<Ledger>(bytes).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(codec.decode::<SegmentApplied>(&ledger[..ledger.len() - 1]).is_err());
}
