//! Measures encoding and decoding of one `ClearingRecord`, by our codec and by apache-avro.
//!
//! `cargo run --release -p schemas --example codec`; the figures are in
//! `docs/adr/0007-avro-codec.md`. Each line is the best of five runs, so that what else the machine
//! does counts least.

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::hint::black_box;
use std::time::Instant;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use schemas::codec::{Codec, Event};
use schemas::record::{Amount, Attributes};
use schemas::{ClearingRecord, Currency, Date, Direction, FileId, Kind, LocalTime};

const EVENTS: u32 = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let event = presentment()?;
    let codec = Codec::built_in();
    let schema = Schema::parse_str(ClearingRecord::TYPE.schema_text())?;
    let framed = codec.encode(&event)?;
    let body = framed.get(5..).unwrap_or_default();
    println!("ClearingRecord: 24 fields, {} bytes of Avro body", body.len());

    let mut encoder = codec.encoder::<ClearingRecord>();
    let mut buffer = Vec::new();
    measure("encode, our codec (serde_avro_fast, its buffers kept)", || {
        buffer.clear();
        encoder.encode(black_box(&event), &mut buffer)?;
        Ok(())
    })?;
    measure("encode, apache-avro: to_value, resolve, write", || {
        let value = apache_avro::to_value(black_box(&event))?.resolve(&schema)?;
        black_box(GenericDatumWriter::builder(&schema).build()?.write_value_to_vec(value)?);
        Ok(())
    })?;
    let writer = GenericDatumWriter::builder(&schema).build()?;
    measure("encode, apache-avro: serde straight to bytes", || {
        black_box(writer.write_ser_to_vec(black_box(&event))?);
        Ok(())
    })?;
    measure("decode, our codec", || {
        black_box(codec.decode::<ClearingRecord>(black_box(&framed))?);
        Ok(())
    })?;
    let reader = GenericDatumReader::builder(&schema).build()?;
    measure("decode, apache-avro: to a Value", || {
        black_box(reader.read_value(&mut black_box(body))?);
        Ok(())
    })?;
    Ok(())
}

fn measure(
    what: &str,
    mut once: impl FnMut() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut best_ns = u128::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        for _ in 0..EVENTS {
            once()?;
        }
        best_ns = best_ns.min(began.elapsed().as_nanos() / u128::from(EVENTS));
    }
    println!("{what:<56} {best_ns:>7} ns an event");
    Ok(())
}

/// A presentment as the reader of IPM files makes it: three amounts, six attributes.
fn presentment() -> Result<ClearingRecord, Box<dyn std::error::Error>> {
    let date = Date::new(2026, 3, 14).ok_or("a date")?;
    let mut attributes = Attributes::default();
    for (name, value) in [
        ("acquirer", "005899"),
        ("approval_code", "A17F3C"),
        ("function_code", "200"),
        ("mcc", "5411"),
        ("merchant", "000001234567890"),
        ("processing_code", "000000"),
    ] {
        attributes.set(name, value);
    }
    let amount = |role: &str, amount_minor, currency| Amount {
        role: role.to_owned().into(),
        amount_minor,
        currency,
        exponent: 2,
    };
    let brl = Currency::from_letters("BRL").ok_or("a currency")?;
    Ok(ClearingRecord {
        file_id: FileId([0x5f; 16]),
        index: 123_456,
        sequence: 7_890,
        byte_offset: 41_234_567,
        byte_length: 334,
        line: None,
        feed: "mastercard-brazil".to_owned(),
        format: "ipm".to_owned(),
        code: "1240/200".to_owned(),
        kind: Kind::PRESENTMENT,
        direction: Direction::DEBIT,
        account: Some("card:000102030405060708090a0b0c0d0e0f".parse()?),
        account_label: Some("****0012".to_owned()),
        network: "mastercard".to_owned(),
        amount_minor: 12_345,
        currency: Some(brl),
        exponent: 2,
        amounts: vec![
            amount("transaction", 2_345, Currency::USD),
            amount("reconciliation", 2_345, Currency::USD),
            amount("billing", 12_345, brl),
        ],
        control_amount: Some(2_345),
        occurred_at: LocalTime::new(date, 10, 11, 12),
        value_date: Some(date),
        reference: Some("05413335325000000000011".to_owned()),
        counterparty: Some("PADARIA CENTRAL SAO PAULO BRA".to_owned()),
        attributes,
    })
}
