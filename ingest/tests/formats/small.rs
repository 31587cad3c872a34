//! Small layouts, each with content that is wrong or odd in one way, and what is read of it.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::path::Path;
use std::sync::Arc;

use expect_test::{Expect, expect};
use ingest::format::{Encoding, Explain, Layout, Posted, Settings};

use crate::whole::{read, read_in_pieces, settings, text};

const TOP: &str = "title = \"t\"\nrevision = 1\nnetwork = \"t\"\nlayout = \"small\"\n";

fn layout(text: &str) -> Arc<Layout> {
    Arc::new(Layout::parse(&format!("{TOP}{text}")).unwrap())
}

/// The settings of a feed by a layout of these lines.
pub(crate) fn of(text: &str, posted: Posted) -> Settings {
    let layout = layout(text);
    let encoding = layout.encoding();
    Settings { layout: Some(layout), posted, ..settings("small", encoding) }
}

pub(crate) fn check(settings: &Settings, content: &[u8], expected: Expect) {
    let whole = read(settings, content);
    assert_eq!(read_in_pieces(settings, content, &[1]), whole);
    expected.assert_eq(&text(&whole));
}

const SIGNED: &str = r#"
[file]
cut = "rows"
separator = ";"
header = true
encoding = "latin1"
control = "none"
[[record]]
name = "row"
role = "detail"
[record.fields]
account = { at = "account", type = "text", blank = "reject" }
billed = { at = "billed", type = "decimal", scale = 2, blank = "zero" }
amount = { at = "amount", type = "decimal", scale = 2 }
[[event]]
of = "row"
code = "x"
account = "a:{account}"
kind = "payment"
direction = "sign"
amount = { billing = "billed", transaction = "amount" }
currency = "EUR"
"#;

/// The sign of what is posted is the direction; two amounts of two signs are a reject.
#[test]
fn the_sign_is_that_of_the_amount_that_is_posted() {
    let rows = b"account;billed;amount\nA1;;-50.00\nA2;10.00;-70.00\nA3;-10.00;-70.00\n";
    check(
        &of(SIGNED, Posted::Billing),
        rows,
        expect![[r#"
        0 @22+11 line 2 x payment none 0 EUR/2 a:****
        1 @33+16 line 3 x rejected two_signs: amount: expected the sign of billed, found the other one; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        2 @49+17 line 4 x payment debit 1000 EUR/2 a:**** control="-1000"
        file without identifier
    "#]],
    );
    check(
        &of(SIGNED, Posted::Transaction),
        rows,
        expect![[r#"
        0 @22+11 line 2 x payment debit 5000 EUR/2 a:**** control="0"
        1 @33+16 line 3 x rejected two_signs: billed: expected the sign of amount, found the other one; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        2 @49+17 line 4 x payment debit 7000 EUR/2 a:**** control="-1000"
        file without identifier
    "#]],
    );
}

const COLUMNS: &str = r#"
[file]
cut = "rows"
separator = ";"
header = true
encoding = "latin1"
control = "none"
[[record]]
name = "row"
role = "detail"
[record.fields]
account = { at = "account", type = "text", blank = "reject" }
date = { at = "date", type = "date", as = "DD/MM/YY", blank = "none" }
text = { at = "text", type = "text" }
debit = { at = "debit", type = "decimal", scale = 2, blank = "zero" }
credit = { at = "credit", type = "decimal", scale = 2, blank = "zero" }
[[event]]
of = "row"
code = "x"
account = "a:{account}"
kind = "payment"
direction = { credit = "credit", debit = "debit" }
currency = "EUR"
value_date = "date"
counterparty = "text"
"#;

/// A row with a cell more or less has its amounts below other names; blank ones at its end harm
/// nothing. A date is all that stands in its cell.
#[test]
fn a_row_has_as_many_cells_as_there_are_names() {
    let rows = b"account;date;text;debit;credit\n\
        A1;22/07/26;SHOP;100.00;\n\
        A1;22/07/26;SHOP;100.00;;;\n\
        A1;22/07/26;SHOP;EXTRA;;100.00\n\
        A1;22/07/26;SHOP;;;;100.00\n\
        A1;22/07/26;100.00;\n\
        A1;22/07/2026;SHOP;100.00;\n\
        A1;22/07/26 ;SHOP;100.00;\n";
    check(
        &of(COLUMNS, Posted::Billing),
        rows,
        expect![[r#"
            0 @31+25 line 2 x payment debit 10000 EUR/2 a:**** value="2026-07-22" counterparty="SHOP"
            1 @56+27 line 3 x payment debit 10000 EUR/2 a:**** value="2026-07-22" counterparty="SHOP"
            2 @83+31 line 4 x rejected record_length: record: expected 5 fields, as many as there are names of columns, found 6 fields; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
            3 @114+27 line 5 x rejected record_length: record: expected 5 fields, as many as there are names of columns, found 7 fields; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
            4 @141+20 line 6 x rejected record_length: record: expected 5 fields, as many as there are names of columns, found 4 fields; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
            5 @161+27 line 7 x rejected not_a_date: date: expected a date or time as DD/MM/YY, found 22/07/2026; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
            6 @188+26 line 8 x payment debit 10000 EUR/2 a:**** value="2026-07-22" counterparty="SHOP"
            file without identifier
        "#]],
    );
    check(
        &of(COLUMNS, Posted::Billing),
        b"\n\n\n",
        expect![[r#"
        refused: record 0, line 4, byte 3, column names: truncated: expected a row of the names of columns, found the end of the content
    "#]],
    );
}

const LINES: &str = r#"
[file]
control = "none"
cut = "lines"
length = 26
encoding = "latin1"
[[record]]
name = "page"
role = "skipped"
when = { "1" = "S" }
fields = { sum = { at = "2-11", type = "number", scale = 2 } }
[[record]]
name = "row"
role = "detail"
when = { "1" = "D" }
[record.fields]
account = { at = "2-9", type = "digits" }
shop = { at = "10-15", type = "digits" }
amount = { at = "16-26", type = "number", scale = 2, sign = "leading_separate" }
[[event]]
of = "row"
code = "x"
account = "a:{account}"
kind = "payment"
direction = "sign"
amount = "amount"
currency = "EUR"
reference = "{shop}"
[[total]]
name = "sum"
stated = "page.sum"
scope = "file"
sums = "row.amount"
"#;

/// A sum that a record between the details states is of what is before it, and what follows must
/// not be left out of it. Of what may be below zero, a part that can't be read may make it larger.
#[test]
fn a_sum_that_is_stated_before_the_last_record_covers_all_or_refuses() {
    let settings = of(LINES, Posted::Billing);
    let first = "D12345678000001+0000010000\n";
    let covered = format!("{first}S0000010000\n");
    check(
        &settings,
        covered.as_bytes(),
        expect![[r#"
        0 @0+27 line 1 x payment credit 10000 EUR/2 a:**** reference="000001"
        file without identifier
        total sum: 10000 seen 10000
    "#]],
    );
    check(
        &settings,
        format!("{covered}D12345678000001+0000090000\n").as_bytes(),
        expect![[r#"
        refused: record 2, line 4, byte 66, page: sum: totals differ: expected 100000 as counted, found 10000 as stated
    "#]],
    );
    let both = format!("{covered}D12345678000001-0000001000\nS0000009000\n");
    check(
        &settings,
        both.as_bytes(),
        expect![[r#"
        0 @0+27 line 1 x payment credit 10000 EUR/2 a:**** reference="000001"
        1 @39+27 line 3 x payment debit 1000 EUR/2 a:**** control="-1000" reference="000001"
        file without identifier
        total sum: 9000 seen 9000
    "#]],
    );
    let damaged = format!("{first}D12345678000001-000000X000\nS0000005000\n");
    check(
        &settings,
        damaged.as_bytes(),
        expect![[r#"
        0 @0+27 line 1 x payment credit 10000 EUR/2 a:**** reference="000001"
        1 @27+27 line 2 x rejected not_digits: amount: expected digits, found a letter at position 7 of 10; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        file without identifier
        total sum: 5000 seen 10000 unproven
    "#]],
    );
}

/// Of what accounts are made of, a reject shows nothing, however short it is; of another code all.
#[test]
fn a_short_account_number_is_masked() {
    let settings = of(LINES, Posted::Billing);
    let rows = b"D1234X678000001+0000010000\nD1234567800X001+0000010000\n";
    check(
        &settings,
        rows,
        expect![[r#"
        0 @0+27 line 1 x rejected not_digits: account: expected digits, found a letter at position 5 of 8; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        1 @27+27 line 2 x rejected not_digits: shop: expected digits, found 00X001; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        file without identifier
        warning: line 3, sum: total not filled in
    "#]],
    );

    let mut explain = Explain::new(settings.layout.as_ref().unwrap(), &settings);
    let content = b"D12345678000001+0000010000\nD1234X678000001+X556737586\nS0000010000\n";
    let mut draft = ingest::format::Draft::new("check", "small");
    let mut shown = String::new();
    for _ in 0..3 {
        for field in explain.step(content, &mut draft).units.iter().flat_map(|unit| &unit.fields) {
            shown += &format!("{} [{}] {:?}\n", field.name, field.found, field.value);
        }
    }
    expect![[r#"
        account [****] Ok("****")
        shop [000001] Ok("000001")
        amount [+0000010000] Ok("100.00")
        account [****] Err("not digits: expected digits")
        shop [000001] Ok("000001")
        amount [+X****7586] Err("not digits: expected digits")
        sum [0000010000] Ok("100.00")
    "#]]
    .assert_eq(&shown);
}

const PACKED: &str = r#"
[file]
cut = "fixed"
length = 12
encoding = "cp037"
control = "none"
[[record]]
name = "row"
role = "detail"
[record.fields]
account = { at = "1-8", type = "digits" }
amount = { at = "9-12", type = "packed", scale = 2, blank = "zero" }
[[event]]
of = "row"
code = "x"
account = "a:{account}"
kind = "payment"
direction = "credit"
amount = "amount"
currency = "EUR"
"#;

/// Blanks of either page are nothing; digits that lack their sign, and low values, are no number.
#[test]
fn a_packed_number_is_blank_only_where_it_is_blanks() {
    let amounts: [[u8; 4]; 7] = [
        [0x40; 4],
        [0x20; 4],
        [0; 4],
        [0, 0, 0x20, 0x40],
        [0, 0, 0x20, 0],
        [0x40, 0x20, 0, 0x20],
        [0, 0, 0x12, 0x3c],
    ];
    let rows: Vec<u8> =
        amounts.iter().flat_map(|amount| [0xf1; 8].into_iter().chain(*amount)).collect();
    check(
        &of(PACKED, Posted::Billing),
        &rows,
        expect![[r#"
        0 @0+12 x payment none 0 EUR/2 a:****
        1 @12+12 x payment none 0 EUR/2 a:****
        2 @24+12 x rejected number_sign: amount: expected a sign in the last half byte, found low values; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        3 @36+12 x rejected number_sign: amount: expected a sign in the last half byte, found a digit; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        4 @48+12 x rejected number_sign: amount: expected a sign in the last half byte, found a digit; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        5 @60+12 x rejected number_sign: amount: expected a sign in the last half byte, found a digit; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        6 @72+12 x payment credit 123 EUR/2 a:****
        file without identifier
    "#]],
    );
}

/// A dispute of a purchase of December, and nothing billed: it was last December, and what is
/// posted is what the purchase was for.
#[test]
fn what_base2_leaves_out_is_taken_from_what_it_says() {
    let header = format!("{:76}001", "9046500026203");
    let sale = "15004000000000000002000   04900006203000000000019900000011201\
        000000000000986000000012345986SHOP";
    let trailer =
        |head: &str, transactions: &str| format!("{head:74}{transactions:27}000000000012345");
    let nothing = "0000000026203000000000000000000000000001000001000000000002";
    let batch = trailer(&format!("91{nothing}"), "000000002");
    let file = trailer(&format!("92{}3", nothing.trim_end_matches('2')), "000000003");
    let content = [header.as_str(), sale, &batch, &file].join("\n");
    check(
        &settings("base2", Encoding::Latin1),
        content.as_bytes(),
        expect![[r#"
        0 @80+96 line 2 15 chargeback credit 12345 BRL/2 card:****0002 transaction=12345 BRL billing=12345 BRL occurred="2025-12-01T00:00:00" reference="04900006203000000000019" counterparty="SHOP" acquirer="90000001"
        file 465000/2026-07-22/001
        total monetary transactions of the batch: 1 seen 1
        total transactions of the batch: 2 seen 2
        total records of the batch: 2 seen 2
        total source amount of the batch: 12345 seen 12345
        total destination amount of the batch: 0 seen 0
        total batches of the file: 1 seen 1
        total monetary transactions of the file: 1 seen 1
        total transactions of the file: 3 seen 3
        total records of the file: 3 seen 3
        total source amount of the file: 12345 seen 12345
        total destination amount of the file: 0 seen 0
    "#]],
    );
}

/// A sample of a built-in layout with one text for another in it.
fn changed(format: &str, sample: &str, from: &str, to: &str) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("sample-files");
    let content = std::fs::read(folder.join(format).join(sample)).unwrap();
    let content: String = content.into_iter().map(char::from).collect();
    let content = content.replacen("\r\n", "\n", usize::MAX);
    assert!(content.contains(from), "{from} in {sample}");
    let settings = settings(format, Encoding::Latin1);
    let whole = read(&settings, content.replacen(from, to, 1).as_bytes());
    whole.map(|_| ()).map_err(|refusal| refusal.0.to_string())
}

/// Counts that PayPal states cover every row, and CNAB's operation says which totals there are.
#[test]
fn what_would_leave_totals_out_refuses_the_file() {
    for (format, sample, from, to, expected) in [
        ("paypal_stl", "one-section.csv", "\"FF\",3", "\"FF\",3", None),
        ("paypal_stl", "one-section.csv", "\"FF\",3", "\"FF\",4", Some("totals differ")),
        ("paypal_stl", "one-section.csv", "\"FF\",3", "\"FF\"", Some("record length")),
        ("cnab240", "titles.ret", "0010001", "0010001", None),
        ("cnab240", "titles.ret", "00100011T", "00100011 ", Some("unknown record")),
        ("cnab240", "payments.ret", "00100011C", "00100011E", Some("unknown record")),
    ] {
        let found = changed(format, sample, from, to).err().unwrap_or_default();
        assert_eq!(found.is_empty(), expected.is_none(), "{from} as {to}: {found}");
        assert!(found.contains(expected.unwrap_or_default()), "{from} as {to}: {found}");
    }
}
