//! NACHA: one line a case.

use ingest::format::{Encoding, detect};

use crate::whole::{read, settings, text};

/// Totals and lines of a file under way.
struct File {
    lines: Vec<String>,
    count: u64,
    hash: u64,
    sums: [u64; 2],
}

/// An entry of an amount in cents, with its addenda.
fn entry(code: &str, amount: u64, addenda: &[&str]) -> Vec<String> {
    with("011401533", "0072", code, &format!("{amount:010}"), addenda)
}

fn with(rdfi: &str, account: &str, code: &str, amount: &str, addenda: &[&str]) -> Vec<String> {
    let indicator = u8::from(!addenda.is_empty());
    let name = "JANE DOE";
    let entry = format!(
        "6{code}{rdfi:9}{account:17}{amount:10}{:15}{name:22}  {indicator}091000010000001",
        ""
    );
    let mut lines = vec![entry];
    lines.extend(addenda.iter().map(|addenda| format!("7{addenda:<93}")));
    lines
}

/// A file of one batch with these entries, its totals as they should be.
fn file(class: &str, sec: &str, description: &str, entries: &[Vec<String>]) -> String {
    let company = if sec == "IAT" { "" } else { "ACME" };
    let mut file = File { lines: Vec::new(), count: 0, hash: 0, sums: [0, 0] };
    file.lines.push(format!("101 091000019 0910000192611220425A094101{:54}", ""));
    file.lines.push(format!(
        "5{class}{company:16}{:20}1234567890{sec}{description:10}      260722   1091000010000001",
        ""
    ));
    for lines in entries {
        let entry = &lines[0];
        file.count += u64::try_from(lines.len()).unwrap_or_default();
        file.hash += entry[3..11].parse::<u64>().unwrap_or_default();
        let amount = if sec == "ADV" { &entry[27..39] } else { &entry[29..39] };
        let is_credit = match (sec, &entry[2..3]) {
            ("ADV", digit) => "1357".contains(digit),
            (_, digit) => entry[1..3] != *"55" && "1234".contains(digit),
        };
        file.sums[usize::from(is_credit)] += amount.parse::<u64>().unwrap_or_default();
        file.lines.extend_from_slice(lines);
    }
    let File { mut lines, count, hash, sums: [debits, credits] } = file;
    let (batch, end) = if sec == "ADV" {
        (format!("{debits:020}{credits:020}{:19}", ""), format!("{debits:020}{credits:020}"))
    } else {
        (
            format!("{debits:012}{credits:012}1234567890{:25}", ""),
            format!("{debits:012}{credits:012}"),
        )
    };
    lines.push(format!("8{class}{count:06}{hash:010}{batch}091000010000001"));
    let blocks = (lines.len() + 1).div_ceil(10);
    lines.push(format!("9000001{blocks:06}{count:08}{hash:010}{end}"));
    lines.join("\n")
}

/// What a file of one batch reads as: its first line, without position and attributes.
fn first(content: &str) -> String {
    let text = text(&read(&settings("nacha", Encoding::Ascii), content.as_bytes()));
    let line = text.lines().next().unwrap_or_default();
    match line.split_once(" line 3 ") {
        Some((_, shown)) if shown.contains(" rejected ") => {
            shown.split(" rejected ").nth(1).unwrap_or_default().to_owned()
        }
        Some((_, shown)) => shown.split(" value=").next().unwrap_or_default().to_owned(),
        None => line.to_owned(),
    }
}

macro_rules! reads {
    ($($name:ident: $class:literal $sec:literal $description:literal $entry:expr => $expected:literal;)+) => {
        $( #[test] fn $name() {
            assert_eq!(first(&file($class, $sec, $description, &[$entry])), $expected);
        } )+
    };
}

const RETURN: &str = "99R01091000010000001      09100001";
const CHANGE: &str = "98C01091000010000001      091000019 1876543";

reads! {
    a_credit: "220" "PPD" "PAYROLL" entry("22", 124_050, &[]) => "22 payment credit 124050 USD/2 ach:****";
    a_debit: "225" "PPD" "RENT" entry("27", 5, &[]) => "27 payment debit 5 USD/2 ach:****";
    a_savings_credit: "200" "CCD" "PAYROLL" entry("32", 5, &["05TEXT"]) => "32 payment credit 5 USD/2 ach:****";
    a_ledger_debit: "200" "CCD" "X" entry("47", 5, &[]) => "47 payment debit 5 USD/2 ach:****";
    a_loan_credit: "200" "PPD" "X" entry("52", 5, &[]) => "52 payment credit 5 USD/2 ach:****";
    a_loan_reversal_is_a_debit: "200" "PPD" "X" entry("55", 5, &[]) => "55 reversal debit 5 USD/2 ach:****";
    a_returned_loan_reversal_is_a_debit: "200" "PPD" "X" entry("56", 5, &[RETURN]) => "56 return debit 5 USD/2";
    a_reversal_by_its_description: "200" "PPD" "REVERSAL" entry("27", 5, &[]) => "27 reversal debit 5 USD/2 ach:****";
    a_prenote_posts_nothing: "200" "PPD" "X" entry("23", 0, &[]) => "23 prenote none 0 USD/2 ach:****";
    a_zero_amount_posts_nothing: "200" "PPD" "X" entry("22", 0, &[]) => "22 payment none 0 USD/2 ach:****";
    a_zero_dollar_informs: "200" "CCD" "X" entry("24", 0, &["05TEXT"]) => "24 information none 0 USD/2 ach:****";
    a_returned_credit: "200" "PPD" "X" entry("21", 5, &[RETURN]) => "21 return credit 5 USD/2";
    a_returned_debit: "200" "PPD" "X" entry("26", 5, &[RETURN]) => "26 return debit 5 USD/2";
    a_dishonored_return_is_the_customer_s: "200" "PPD" "X" entry("26", 5, &["99R69091000010000001"]) => "26 return debit 5 USD/2 ach:****";
    a_return_that_was_not_asked_for_is_the_customer_s: "200" "PPD" "X" entry("26", 5, &["99R70091000010000001"]) => "26 return debit 5 USD/2 ach:****";
    a_contested_return_is_not: "200" "PPD" "X" entry("26", 5, &[RETURN, "99R69091000010000001", "99R71091000010000001"]) => "26 return debit 5 USD/2";
    a_refused_change_is_the_customer_s: "200" "COR" "X" entry("21", 0, &["98C61091000010000001"]) => "21 change none 0 USD/2 ach:****";
    a_change_moves_nothing: "200" "COR" "X" entry("21", 7, &[CHANGE]) => "21 change none 0 USD/2 control=\"7\"";
    a_tel_reversal_is_a_credit: "200" "TEL" "REVERSAL" entry("22", 5, &[]) => "22 reversal credit 5 USD/2 ach:****";
    an_advice_concerns_no_account: "280" "ADV" "X" with("011401533", "0072           00", "81", "0000000500", &[]) => "81 settlement credit 500 USD/2";
    zeros_of_an_account_are_kept: "200" "PPD" "X" with("011401533", "000000042", "22", "0000000500", &[]) => "22 payment credit 500 USD/2 ach:****0042";
}

macro_rules! rejects {
    ($($name:ident: $class:literal $sec:literal $description:literal $entry:expr => $expected:literal;)+) => {
        $( #[test] fn $name() {
            let good = entry("22", 1, &[]);
            let content = file($class, $sec, $description, &[$entry, good]);
            assert_eq!(first(&content), $expected);
            let whole = read(&settings("nacha", Encoding::Ascii), content.as_bytes());
            let whole = whole.unwrap_or_else(|refusal| panic!("{}", refusal.0));
            assert_eq!(whole.found.len(), 2);
            assert_eq!(whole.found[1].reject, None);
        } )+
    };
}

rejects! {
    a_letter_in_the_amount: "200" "PPD" "X" with("011401533", "0072", "22", "00001240X0", &[]) => "not_digits: amount: expected digits, found a letter at position 9 of 10; control None";
    an_unknown_code: "200" "PPD" "X" entry("20", 5, &[]) => "transaction_code: transaction code: expected a code of the rule book, found 20; control None";
    a_wrong_check_digit: "200" "PPD" "X" with("011401534", "0072", "22", "0000000005", &[]) => "check_digit: check digit: expected 3 for this receiving DFI, found 4; control Some(Control { debits: 0, credits: 5, unsigned: 0 })";
    a_letter_in_the_rdfi: "200" "PPD" "X" with("01140A533", "0072", "22", "0000000005", &[]) => "not_digits: receiving DFI identification: expected 8 digits, found a letter at position 6 of 8; control Some(Control { debits: 0, credits: 5, unsigned: 0 })";
    no_account: "200" "PPD" "X" with("011401533", "", "22", "0000000005", &[]) => "account_missing: DFI account number: expected an account number, found a blank field; control Some(Control { debits: 0, credits: 5, unsigned: 0 })";
    a_control_character: "200" "PPD" "X" with("011401533", "00\u{1}2", "22", "0000000005", &[]) => "not_text: DFI account number: expected characters of ascii, found a byte that is none in column 15; control Some(Control { debits: 0, credits: 5, unsigned: 0 })";
    money_in_a_prenote: "200" "PPD" "X" entry("23", 5, &[]) => "amount_in_prenote: amount: expected 0 in a prenote, found 5; control Some(Control { debits: 0, credits: 5, unsigned: 0 })";
    a_debit_among_credits: "220" "PPD" "X" entry("27", 5, &[]) => "side_not_in_service_class: transaction code: expected a side that service class 220 lets in, found a debit; control Some(Control { debits: 5, credits: 0, unsigned: 0 })";
    an_unknown_return: "200" "PPD" "X" entry("26", 5, &["99R96"]) => "return_reason: return reason code: expected R01 to R47, R50 to R53, R61 to R77 or R80 to R85, found R96; control Some(Control { debits: 5, credits: 0, unsigned: 0 })";
    an_unknown_change: "200" "PPD" "X" entry("21", 0, &["98C92"]) => "change_code: change code: expected C01 to C14 or C61 to C69, found C92; control Some(Control { debits: 0, credits: 0, unsigned: 0 })";
    a_return_without_reason: "200" "PPD" "X" entry("26", 5, &["05TEXT"]) => "reason_missing: addenda type code: expected an addenda 98 or 99 behind an entry that came back, found none; control Some(Control { debits: 5, credits: 0, unsigned: 0 })";
    an_unknown_addenda: "200" "PPD" "X" entry("22", 5, &["33"]) => "addenda_type: addenda type code: expected 02, 05, 10 to 18, 98 or 99, found 33; control Some(Control { debits: 0, credits: 5, unsigned: 0 })";
}

/// An IAT entry that states this many addenda and has these.
fn iat(stated: &str, types: &[&str]) -> Vec<String> {
    let mut lines =
        vec![format!("622011401533{stated:4}{:13}0000000005{:35}    1091000010000001", "", "0072")];
    lines.extend(types.iter().map(|kind| format!("7{kind}{:91}", "TEXT 123456789012")));
    lines
}

/// An entry of a class that counts its addenda.
fn counted(stated: &str) -> Vec<String> {
    let mut lines = entry("22", 5, &["05TEXT"]);
    lines[0].replace_range(54..58, stated);
    lines
}

/// An entry with this trace number.
fn traced(trace: &str) -> Vec<String> {
    let mut lines = entry("22", 5, &[]);
    lines[0].replace_range(79.., &format!("{trace:15}"));
    lines
}

const MANDATORY: [&str; 7] = ["10", "11", "12", "13", "14", "15", "16"];
const WITH_REMITTANCE: [&str; 8] = ["10", "11", "12", "13", "14", "15", "16", "17"];

reads! {
    an_international_entry: "200" "IAT" "X" iat("0007", &MANDATORY) => "22 payment credit 5 USD/2 ach:****";
    one_with_its_remittance_counted: "200" "IAT" "X" iat("0008", &WITH_REMITTANCE) => "22 payment credit 5 USD/2 ach:****";
    one_with_its_remittance_not_counted: "200" "IAT" "X" iat("0007", &WITH_REMITTANCE) => "22 payment credit 5 USD/2 ach:****";
    a_counted_entry: "200" "CTX" "X" counted("0001") => "22 payment credit 5 USD/2 ach:****";
}

/// The first entry is rejected for this, whatever follows it.
macro_rules! rejects_alone {
    ($($name:ident: $sec:literal $entry:expr => $expected:literal;)+) => {
        $( #[test] fn $name() {
            let shown = first(&file("200", $sec, "X", &[$entry]));
            assert_eq!(shown.split(';').next().unwrap_or_default(), $expected);
        } )+
    };
}

rejects_alone! {
    an_international_entry_that_miscounts: "IAT" iat("0099", &MANDATORY) => "addenda_count: number of addenda records: expected 7 addenda, found 99 stated";
    an_international_entry_without_a_count: "IAT" iat("", &MANDATORY) => "not_digits: number of addenda records: expected digits, found a blank field";
    an_international_entry_without_its_first_addenda: "IAT" iat("0006", &MANDATORY[1..]) => "addenda_missing: addenda type code: expected each of 10 to 16 behind an international entry, found no 10";
    an_international_entry_without_its_last_addenda: "IAT" iat("0006", &MANDATORY[..6]) => "addenda_missing: addenda type code: expected each of 10 to 16 behind an international entry, found no 16";
    a_count_that_is_blank: "CTX" counted("    ") => "not_digits: number of addenda records: expected digits, found a blank field";
    a_count_with_a_letter: "CTX" counted("0X0A") => "not_digits: number of addenda records: expected digits, found a letter at position 2 of 4";
    a_count_that_differs: "TRX" counted("0002") => "side_not_in_entry_class: transaction code: expected a debit in TRX, found a credit";
    a_count_that_is_another: "CTX" counted("0002") => "addenda_count: number of addenda records: expected 1 addenda, found 2 stated";
    no_trace_number: "PPD" traced("") => "trace_missing: trace number: expected a trace number, found a blank field";
}

#[test]
fn free_text_shows_no_long_number() {
    let company = file("200", "PPD", "X", &[entry("22", 5, &[])])
        .replacen("5200ACME            ", "5200AB 1234567890123", 1)
        .replacen("PPDX         ", "PPD1234567890", 1);
    let originator = file("200", "IAT", "X", &[iat("0007", &MANDATORY)]);
    let shown =
        |content: &str| text(&read(&settings("nacha", Encoding::Ascii), content.as_bytes()));
    let (company, originator) = (shown(&company), shown(&originator));
    assert!(company.contains("counterparty=\"AB ****0123\""), "{company}");
    assert!(company.contains("description=\"****7890\""), "{company}");
    assert!(originator.contains("counterparty=\"TEXT ****9012\""), "{originator}");
}

macro_rules! refuses {
    ($($name:ident: $change:expr => $expected:literal;)+) => {
        $( #[test] fn $name() {
            let content = file("200", "PPD", "X", &[entry("22", 5, &[]), entry("27", 7, &[])]);
            let change: fn(String) -> String = $change;
            assert_eq!(first(&change(content)), $expected);
        } )+
    };
}

refuses! {
    the_batch_credits_differ: |file| file.replacen("000000000005", "000000000006", 1) => "refused: record 2, line 5, byte 380, batch control: total credits: totals differ: expected 5 as counted, found 6 as stated";
    the_file_debits_differ: |file| swap(&file, "9000001", "000000000007", "000000000008") => "refused: record 2, line 6, byte 475, file control: total debits: totals differ: expected 7 as counted, found 8 as stated";
    the_hash_differs: |file| swap(&file, "9000001", "0002280306", "0002280307") => "refused: record 2, line 6, byte 475, file control: entry hash: totals differ: expected 2280306 as counted, found 2280307 as stated";
    the_blocks_differ: |file| file.replace("9000001000001", "9000001000002") => "refused: record 2, line 6, byte 475, file control: block count: totals differ: expected 1 as counted, found 2 as stated";
    no_file_control: |file| file[..474].to_owned() => "refused: record 2, line 6, byte 474, file control: truncated: expected a file control, found the end of the content";
    no_batch_control: |file| file[..379].to_owned() => "refused: record 2, line 5, byte 379, batch control: truncated: expected a batch control, found the end of the content";
    no_file_header: |file| file[95..].to_owned() => "refused: record 0, line 1, byte 0, file header: record type: file header missing: expected a file header (1) as the first record, found batch header";
    more_behind_the_end: |file| file + "\n5200" => "refused: record 2, line 7, byte 531, record type: after the file control: expected lines of nines after the file control, found another line";
    an_unknown_entry_class: |file| file.replace("PPDX", "PPXX") => "refused: record 0, line 2, byte 95, batch header: standard entry class code: field: expected a standard entry class, found PPX";
    advices_in_a_batch_of_payments: |file| file.replacen("5200", "5280", 1) => "refused: record 0, line 2, byte 95, batch header: service class code: field: expected 200, 220 or 225, found 280";
    payments_in_a_batch_of_advices: |file| file.replace("PPDX", "ADVX") => "refused: record 0, line 2, byte 95, batch header: service class code: field: expected 280 for ADV, found 200";
    a_date_that_is_none: |file| file.replacen("192611220425A", "1999999990425A", 1).replacen("0910000199", "091000019", 1) => "refused: record 0, line 1, byte 0, file header: file creation date: field: expected a date, YYMMDD, found 999999";
    a_description_of_zeros: |file| file.replace("PPDX   ", "PPD0000") => "refused: record 0, line 2, byte 95, batch header: company entry description: field: expected a text, found zeros only";
    another_batch_number_in_the_control: |file| swap(&file, "8200", "091000010000001", "091000010000002") => "refused: record 2, line 5, byte 380, batch control: batch number: field: expected 0000001 as in the batch header, found 0000002";
    more_behind_the_nines: |file| file + "\n" + &"9".repeat(94) + "XYZ" => "refused: record 2, line 7, byte 531, length: after the file control: expected lines of nines after the file control, found a line of nines with more behind column 94";
    zeros_behind_the_end: |file| file + "\n\0\0\0" => "refused: record 2, line 7, byte 531, record type: after the file control: expected lines of nines after the file control, found bytes of zero";
    a_byte_order_mark: |file| format!("\u{feff}{file}") => "refused: record 0, line 1, byte 0, file header: record type: file header missing: expected a file header (1) as the first record, found a byte order mark (EF BB BF)";
    no_bytes: |_| String::new() => "refused: empty: expected a nacha file, found no bytes";
    a_json: |_| String::from("{\"a\": 1}") => "refused: record 0, line 1, byte 0, file header: record type: file header missing: expected a file header (1) as the first record, found another record";
}

#[test]
fn what_resembles_a_file_is_told_from_what_does_not() {
    let whole = file("200", "PPD", "X", &[entry("22", 5, &[])]);
    let from = |line: usize| whole.lines().skip(line).collect::<Vec<_>>().join("\n");
    let detected = |content: &str| detect(content.as_bytes()).map(|found| found.format);
    for line in 0..5 {
        assert_eq!(detected(&from(line)), Some("nacha"), "from line {line}");
        let marked = format!("\u{feff}{}", from(line));
        assert_eq!(detected(&marked), Some("nacha"), "from line {line}, marked");
    }
    for other in ["", "hello, bank", "5 apples", "622 rue de la Paix", "{\"a\": 1}", "9,9,9"] {
        assert_eq!(detected(other), None, "{other}");
    }
}

#[test]
fn the_sign_that_ends_a_text_is_a_warning() {
    let content = file("200", "PPD", "X", &[entry("22", 5, &[])]) + "\r\n\u{1a}";
    let shown = text(&read(&settings("nacha", Encoding::Ascii), content.as_bytes()));
    let warning = shown.lines().last().unwrap_or_default();
    assert_eq!(
        warning,
        "warning: line 6, end of text: expected lines of nines after the file control, found the byte 1A"
    );
}

/// Replaces a text in the line that begins with another.
fn swap(file: &str, line: &str, from: &str, to: &str) -> String {
    let lines = file.lines().map(|text| match text.starts_with(line) {
        true => text.replacen(from, to, 1),
        false => text.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn line_ends_and_lost_blanks_change_nothing() {
    let content = file("200", "PPD", "X", &[entry("22", 5, &["05TEXT"]), entry("27", 7, &[])]);
    let settings = settings("nacha", Encoding::Ascii);
    let records = |content: &str| -> Vec<_> {
        let whole = read(&settings, content.as_bytes()).unwrap_or_else(|at| panic!("{}", at.0));
        whole.found.into_iter().map(|found| (found.draft.account, found.draft.control)).collect()
    };
    let expected = records(&content);
    let nines = "9".repeat(94);
    let padded = |line: &str| format!("{line:94}");
    let joined = |end: &str| content.lines().map(padded).collect::<Vec<_>>().join(end);
    for variant in [
        content.replace('\n', "\r\n"),
        content.replace('\n', "\r"),
        content.replace('\n', "\n\n"),
        joined(""),
        joined("  \n"),
        joined("") + &nines,
        format!("{content}\n{nines}\n{nines}\r\n\n"),
        content.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"),
    ] {
        assert_eq!(records(&variant), expected, "{variant:?}");
    }
}

#[test]
fn no_attribute_holds_the_account_or_the_name() {
    let change = "98C01091000010000001      091000019 1876543";
    let entry = with("011401533", "7654321987", "21", "0000000000", &[change]);
    let whole =
        read(&settings("nacha", Encoding::Ascii), file("200", "COR", "X", &[entry]).as_bytes());
    let shown = format!("{whole:?}{}", text(&whole));
    for secret in ["7654321987", "1876543", "JANE"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
