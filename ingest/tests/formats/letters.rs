//! Letters beyond ASCII: of names, of words that decide, of accounts and of names of columns.

use expect_test::expect;
use ingest::format::{Encoding, Posted, Settings};

use crate::small::{check, of};
use crate::whole::{read, settings, text};

const LETTERS: &str = r#"
[file]
cut = "rows"
separator = ";"
header = true
encoding = "utf8"
control = "none"
[[record]]
name = "booking"
role = "detail"
when = { "Vorgang" = "Überweisung" }
[record.fields]
account = { at = "Konto", type = "text", blank = "reject" }
name = { at = "Empfänger", type = "text" }
mark = { at = "Schlüssel", type = "text" }
amount = { at = "Betrag", type = "decimal", scale = 2 }
[[event]]
of = "booking"
code = "Ü"
account = "a:{account}"
kind = "payment"
direction = { by = "mark", credit = "für", debit = "über" }
amount = "amount"
currency = "EUR"
counterparty = "name"
"#;

/// The same rows in two pages say the same; of what is no UTF-8 a name shows where it is.
#[test]
fn letters_are_those_of_the_page() {
    let rows = "Konto;Vorgang;Empfänger;Schlüssel;Betrag\n\
        A1;Überweisung;Møller;für;1.00\n\
        A1;Überweisung;Bäcker 4111111111111111;über;2.00\n";
    let utf8 = of(LETTERS, Posted::Billing);
    let latin1 = Settings { encoding: Encoding::Latin1, ..utf8.clone() };
    let in_latin1: Vec<u8> = rows.chars().map(|letter| u8::try_from(letter).unwrap()).collect();
    let shown = |settings: &Settings, content: &[u8]| {
        let text = text(&read(settings, content));
        // What stands behind the place of each.
        text.lines()
            .map(|line| line.split_once(" line ").unwrap_or((line, "")).1)
            .collect::<String>()
    };
    assert_eq!(shown(&utf8, rows.as_bytes()), shown(&latin1, &in_latin1));

    let beyond = "A1;Überweisung;Łukasz 5 €;für;3.00\n";
    let broken = b"A1;\xc3\x9cberweisung;M\xf8ller;f\xc3\xbcr;4.00\n";
    let content = [b"\xef\xbb\xbf", rows.as_bytes(), beyond.as_bytes(), broken].concat();
    check(
        &utf8,
        &content,
        expect![[r#"
            0 @46+34 line 2 Ü payment credit 100 EUR/2 a:**** counterparty="Møller"
            1 @80+52 line 3 Ü payment debit 200 EUR/2 a:**** counterparty="Bäcker ****1111"
            2 @132+40 line 4 Ü payment credit 300 EUR/2 a:**** counterparty="Łukasz 5 €"
            3 @172+33 line 5 Ü rejected not_text: name: expected characters of utf8, found a byte that is none in column 3; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
            file without identifier
        "#]],
    );
}

/// Columns are bytes, so lines and blocks have a page of one byte a character.
#[test]
fn utf8_is_a_page_for_rows() {
    for (format, is_one) in
        [("cnab240", true), ("nacha", true), ("ipm", true), ("paypal_stl", false)]
    {
        let why = settings(format, Encoding::Utf8).misfit();
        assert_eq!(why.is_some(), is_one, "{format}: {why:?}");
        assert!(settings(format, Encoding::Latin1).misfit().is_none());
    }
}

/// Two accounts whose letters nobody can read are not one account.
#[test]
fn an_account_is_text_of_the_page() {
    let utf8 = of(LETTERS, Posted::Billing);
    let rows = "Konto;Vorgang;Empfänger;Schlüssel;Betrag\n\
        Ä1;Überweisung;Bäcker;für;5.00\nÖ1;Überweisung;Bäcker;für;7.00\n";
    let broken = rows.replace("Ä1", "_1").into_bytes();
    let broken: Vec<u8> =
        broken.into_iter().map(|byte| if byte == b'_' { 0xc4 } else { byte }).collect();
    check(
        &utf8,
        &broken,
        expect![[r#"
            0 @43+34 line 2 Ü rejected not_text: account: expected characters of utf8, found a byte that is none in column 1; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
            1 @77+35 line 3 Ü payment credit 700 EUR/2 a:**** counterparty="Bäcker"
            file without identifier
        "#]],
    );
    // In ASCII neither letter is one.
    let ascii = Settings { encoding: Encoding::Ascii, ..utf8 };
    check(
        &ascii,
        rows.as_bytes(),
        expect![[r#"
        0 @43+35 line 2 Ü rejected not_text: account: expected characters of ascii, found a byte that is no character at position 1 of 3; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        1 @78+35 line 3 Ü rejected not_text: account: expected characters of ascii, found a byte that is no character at position 1 of 3; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        file without identifier
    "#]],
    );
}

/// Words and names of columns may have letters that ISO 8859-1 has not; a column that has no name
/// is none of theirs.
#[test]
fn a_name_beyond_latin1_is_compared_whole() {
    let layout = LETTERS.replace("für", "Wpłata").replace("Betrag", "Сумма");
    let utf8 = of(&layout, Posted::Billing);
    let names = "Konto;Vorgang;Empfänger;Schlüssel;Сумма";
    let row = "A1;Überweisung;Łukasz;Wpłata;9.00";
    check(
        &utf8,
        format!("{names};\n{row};\n").as_bytes(),
        expect![[r#"
        0 @48+38 line 2 Ü payment credit 900 EUR/2 a:**** counterparty="Łukasz"
        file without identifier
    "#]],
    );
    check(
        &utf8,
        format!("{};\n{row};5.00\n", names.replace("Сумма", "Summe")).as_bytes(),
        expect![[r#"
            refused: record 0, line 1, byte 0, Сумма: column missing: expected a column of this name, found none
        "#]],
    );
    let other = row.replace("Wpłata", "Wyplata");
    check(
        &utf8,
        format!("{names}\n{other}\n").as_bytes(),
        expect![[r#"
        0 @47+37 line 2 Ü rejected unknown_direction: mark: expected Wpłata or über, found Wyplata; control Some(Control { debits: 0, credits: 0, unsigned: 0 })
        file without identifier
    "#]],
    );
}
