//! What the records of one event have in common.

use std::sync::Arc;

use expect_test::expect;
use ingest::format::{Encoding, Layout, Settings};

use crate::whole::{read, read_in_pieces, settings, text};

const LAYOUT: &str = r#"
layout = "bank"
title = "Movements and their notes"
revision = 1
network = "bank"
[file]
cut = "lines"
length = 30
encoding = "latin1"
control = "none"
[[record]]
name = "header"
role = "file_header"
when = { "1" = "H" }
fields = { batch = { at = "2-5", type = "number" } }
[[record]]
name = "movement"
role = "detail"
when = { "1" = "M" }
[record.fields]
batch = { at = "2-3", type = "number" }
code = { at = "4-5", type = "text" }
account = { at = "6-13", type = "digits" }
amount = { at = "14-20", type = "number", scale = 2 }
[[record]]
name = "note"
role = "detail"
when = { "1" = "N" }
[record.fields]
code = { at = "2-5", type = "text", justify = "right", fill = "0" }
account = { at = "6-13", type = "digits" }
[[event]]
of = "movement"
joined = [{ record = "note", repeats = true }]
same = { "movement.batch" = "header.batch", "note.code" = "code", "note.account" = "account" }
code = "{code}"
account = "bank:{account}"
amount = "amount"
currency = "EUR"
kind = "payment"
direction = "credit"
"#;

/// Of numbers the value is compared, of texts what their layout doesn't trim; of records that
/// repeat each one. Of an account's number nothing is told.
#[test]
fn what_differs_is_a_reject_that_names_both() {
    let layout = Some(Arc::new(Layout::parse(LAYOUT).unwrap()));
    let settings = Settings { layout, ..settings("bank", Encoding::Latin1) };
    let content = b"H0012\n\
        M12A1123456780000100\n\
        N00A112345678\n\
        N  A112345678\n\
        M13A1123456780000100\n\
        M1XA1123456780000100\n\
        M12A1123456780000100\n\
        N00A112345678\n\
        N00B112345678\n\
        M12A1123456780000100\n\
        N00A112345679\n\
        M12A1123456780000100\n\
        N    12345678\n";
    let whole = read(&settings, content);
    assert_eq!(read_in_pieces(&settings, content, &[3]), whole);
    expect![[r#"
        0 @6+49 line 2 A1 payment credit 100 EUR/2 bank:****
        1 @55+21 line 5 A1 rejected not_the_same: batch: expected 0012 as in the field batch of header, found 13 in movement; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        2 @76+21 line 6 A1 rejected not_digits: batch: expected digits, found a letter at position 2 of 2; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        3 @97+49 line 7 A1 rejected not_the_same: code: expected A1 as in the field code of movement, found 00B1 in note; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        4 @146+35 line 10 A1 rejected not_the_same: account: expected what stands in the field account of movement, found something else in note; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        5 @181+35 line 12 A1 rejected not_the_same: code: expected A1 as in the field code of movement, found a blank field in note; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        file without identifier
    "#]].assert_eq(&text(&whole));
}
