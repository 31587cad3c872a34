//! What is a layout, and what is told of a text that is none.

use expect_test::expect_file;

use crate::format::Layout;
use crate::format::layout::model::{FieldRef, Place, Role, Tested};

/// Lines of forty characters: a header, movements with a note behind some of them, a trailer.
const TEXT: &str = r#"layout = "savings"
title = "Savings bank, movements"
revision = 1
network = "savings"

[file]
cut = "lines"
length = 40
encoding = "latin1"
identifier = ["header.number"]

[[record]]
name = "header"
role = "file_header"
when = { "1" = "H" }
[record.fields]
number = { at = "2-7", type = "number" }
date = { at = "8-15", type = "date", as = "YYYYMMDD" }

[[record]]
name = "foreign"
like = "movement"
when = { "1" = "M", "2" = "F" }
[record.fields]
currency = { at = "36-38", type = "text" }

[[record]]
name = "movement"
role = "detail"
when = { "1" = "M" }
[record.fields]
code = { at = "3-4", type = "digits" }
account = { at = "5-14", type = "digits" }
amount = { at = "15-25", type = "number", scale = 2 }
day = { at = "26-29", type = "date", as = "MMDD", near = "header.date" }
side = { at = "30", type = "text" }

[[record]]
name = "note"
role = "detail"
when = { "1" = "N" }
[record.fields]
text = { at = "2-40", type = "text" }

[[record]]
name = "trailer"
role = "file_trailer"
when = { "1" = "T" }
[record.fields]
records = { at = "2-7", type = "number" }
sum = { at = "8-20", type = "number", scale = 2 }

[[event]]
of = "movement"
joined = [{ record = "note", repeats = true }]
code = "{code}"
account = "savings:{account}"
amount = "amount"
currency = "EUR"
value_date = "day"
counterparty = "note.text"
[[event.case]]
when = { code = ["01", "02"] }
kind = "payment"
direction = { by = "side", credit = "C", debit = "D" }
[[event.case]]
kind = "information"

[[total]]
name = "records"
stated = "trailer.records"
scope = "file"
counts = "records"

[[total]]
name = "sum"
stated = "trailer.sum"
scope = "file"
sums = "movement.amount"
claims = "unsigned"
"#;

/// What of the text is changed, into what: a mistake each, and what is told of it stands in
/// `mistakes.txt`.
const CHANGES: &[(&str, &str)] = &[
    ("length = 40", "lenght = 40"),
    ("network = \"savings\"\n", ""),
    ("revision = 1", r#"revision = "1""#),
    (r#"layout = "savings""#, r#"layout = "nacha""#),
    (r#"cut = "lines""#, r#"cut = "line""#),
    (r#"cut = "lines""#, r#"cut = "rows""#),
    ("length = 40", r#"separator = ";""#),
    (r#"encoding = "latin1""#, r#"encoding = "utf8""#),
    (r#"encoding = "latin1""#, r#"encoding = "utf-16""#),
    (r#"["header.number"]"#, r#"["trailer.sum"]"#),
    (r#"name = "note""#, r#"name = "movement""#),
    (r#"name = "note""#, r#"name = "No te""#),
    (r#"like = "movement""#, r#"like = "movemnt""#),
    (r#"role = "file_trailer""#, r#"role = "trailer""#),
    (r#"role = "file_trailer""#, r#"role = "batch_trailer""#),
    (r#"when = { "1" = "N" }"#, r#"when = { "1" = "NN" }"#),
    (r#"when = { "1" = "N" }"#, r#"when = { "41" = "N" }"#),
    (r#"when = { "1" = "N" }"#, r#"when = { "1" = 1 }"#),
    (r#"when = { "1" = "N" }"#, r#"when = { header.date = "N" }"#),
    (r#"when = { "1" = "N" }"#, r#"when = { "1" = "M" }"#),
    (r#"when = { "1" = "N" }"#, r#"when = { txt = "N" }"#),
    (r#""2-40""#, r#""2-41""#),
    (r#""2-40""#, r#""40-2""#),
    (r#""2-40""#, r#""0-40""#),
    (r#""2-40""#, r#""two""#),
    (r#""5-14""#, r#""4-14""#),
    (r#"at = "2-40", type = "text""#, r#"at = "2-40""#),
    (r#"at = "2-40", type = "text""#, r#"at = "2-40", type = "txt""#),
    (r#"at = "30", type = "text""#, r#"at = "30", type = "text", scale = 2"#),
    (r#"as = "MMDD""#, r#"as = "MMDDYY""#),
    (r#"as = "MMDD""#, r#"as = "MMD""#),
    (r#"as = "MMDD""#, r#"as = "HHMM""#),
    (r#", near = "header.date""#, ""),
    (r#"near = "header.date""#, r#"near = "trailer.sum""#),
    (r#"of = "movement""#, r#"of = "header""#),
    (r#"of = "movement""#, r#"of = ["movement", "note"]"#),
    (r#"near = "header.date""#, r#"near = "header.number""#),
    (r#"record = "note""#, r#"record = "header""#),
    ("joined = [{ record = \"note\", repeats = true }]\n", ""),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = { \"note.text\" = \"sid\" }\n"),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = { \"header.number\" = \"amount\" }\n"),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = { \"side\" = \"note.text\" }\n"),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = { \"note.text\" = \"amount\" }\n"),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = { \"side\" = \"side\" }\n"),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = {}\n"),
    (r#"claims = "unsigned""#, "direction = \"debit\"\nclaims = \"credits\""),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = { note.text = \"side\" }\n"),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = { day = \"header.date\" }\n"),
    ("of = \"movement\"\n", "of = \"movement\"\nsame = { amount = \"header.number\" }\n"),
    (r#""savings:{account}""#, r#""{account}""#),
    (r#""savings:{account}""#, r#""northgate:{account}""#),
    (r#""savings:{account}""#, r#""bank_1:{account}""#),
    ("account = \"savings:{account}\"\n", ""),
    (r#"kind = "payment""#, r#"kind = "settlement""#),
    (r#""savings:{account}""#, r#""savings:{acount}""#),
    (r#""savings:{account}""#, r#""savings:{account""#),
    (r#"amount = "amount""#, r#"amount = "code""#),
    (r#"amount = "amount""#, r#"amount = "trailer.sum""#),
    (r#""15-25", type = "number", scale = 2"#, r#""15-25", type = "number""#),
    ("amount = \"amount\"\n", ""),
    (r#"currency = "EUR""#, r#"currency = "EURO""#),
    (r#"value_date = "day""#, r#"value_date = "side""#),
    (r#"kind = "payment""#, r#"kind = "payments""#),
    ("kind = \"payment\"\n", ""),
    (r#"credit = "C", "#, ""),
    ("when = { code = [\"01\", \"02\"] }\n", ""),
    ("when = { code = [\"01\", \"02\"] }\n", "when = { \"3-4\" = \"01\" }\n"),
    (r#"stated = "trailer.records""#, r#"stated = "movement.amount""#),
    (r#"counts = "records""#, r#"counts = "record""#),
    (r#"counts = "records""#, "counts = \"records\"\nsums = \"movement.amount\""),
    (r#"sums = "movement.amount""#, r#"sums = "movement.code""#),
    (r#"sums = "movement.amount""#, r#"sums = "*.amuont""#),
    (r#""8-20", type = "number", scale = 2"#, r#""8-20", type = "number", scale = 3"#),
    (r#"name = "sum""#, r#"name = "records""#),
    ("[file]", "[file"),
    ("revision = 1", "revision = 1\nrevision = 2"),
    // What reads, posts or counts something else than it seems to.
    (r#"like = "movement""#, "like = \"movement\"\nrole = \"skipped\""),
    (r#"at = "36-38", type = "text" }"#, FOREIGN_AMOUNT),
    (r#""savings:{account}""#, r#""savings:{note.text}""#),
    (r#"amount = "amount""#, r#"amount = "note.text""#),
    (r#"code = "{code}""#, r#"code = "{note.text}""#),
    (r#""15-25", type = "number""#, r#""15-20", type = "packed""#),
    (r#"credit = "C", debit = "D""#, r#"credit = ["C", "D"], debit = "D""#),
    (r#"credit = "C", debit = "D""#, r#"credit = [], debit = "D""#),
    (r#"by = "side", credit = "C", debit = "D""#, r#"credit = "amount", debit = "amount""#),
    (r#"counts = "records""#, "counts = \"records\"\ndirection = \"debit\""),
    (r#"counts = "records""#, "counts = \"batches\"\nof = \"note\""),
    (r#"sums = "movement.amount""#, "sums = \"movement.amount\"\nof = \"movement\""),
    (r#"sums = "movement.amount""#, r#"sums = ["movement.amount", "*.amount"]"#),
    (r#"sums = "movement.amount""#, DIFFERENCE),
    (r#"stated = "trailer.sum""#, "is = 0\nzero_is_blank = true"),
    (r#"claims = "unsigned""#, CLAIMED_TWICE),
    ("[[total]]", "[[sequence]]\nfield = \"header.number\"\nscope = \"batch\"\n\n[[total]]"),
    (r#"role = "file_trailer""#, r#"role = "skipped""#),
    // A word that says that nothing proves the file, beside what does.
    ("length = 40", "length = 40\ncontrol = \"none\""),
];

const FOREIGN_AMOUNT: &str =
    "at = \"36-38\", type = \"text\" }\namount = { at = \"15-25\", type = \"number\" }";

const DIFFERENCE: &str =
    "sums = \"movement.amount\"\nby = \"absolute_difference\"\ndirection = \"debit\"\nplus = 1";

const CLAIMED_TWICE: &str = r#"claims = "unsigned"

[[total]]
name = "again"
stated = "trailer.sum"
scope = "file"
sums = "movement.amount"
claims = "unsigned"
"#;

/// Rows without anything that proves them.
const ROWS: &str = r#"layout = "rows"
title = "Rows"
revision = 1
network = "rows"

[file]
cut = "rows"
separator = ";"
decimal = ","
thousands = "."
header = true
encoding = "latin1"
control = "none"

[[record]]
name = "row"
role = "detail"
[record.fields]
account = { at = "Account", type = "text", blank = "reject" }
amount = { at = "Amount", type = "decimal", scale = 2 }

[[event]]
of = "row"
code = "row"
kind = "payment"
direction = "sign"
account = "rows:{account}"
amount = "amount"
currency = "EUR"
"#;

const CHANGES_OF_ROWS: &[(&str, &str)] = &[
    (r#"separator = ";""#, r#"separator = "\"""#),
    (r#"separator = ";""#, r#"separator = "1""#),
    (r#"separator = ";""#, "separator = \";\"\nquote = \"\\n\""),
    (r#"decimal = ",""#, r#"decimal = "0""#),
    (r#"decimal = ",""#, r#"decimal = ".""#),
    (r#"thousands = ".""#, r#"thousands = "-""#),
    (r#"thousands = ".""#, r#"thousands = "\"""#),
    (r#"at = "Amount""#, r#"at = "Account""#),
    (r#"type = "decimal", scale = 2"#, r#"type = "packed", scale = 2"#),
    ("control = \"none\"\n", ""),
];

#[test]
fn names_lead_to_places() {
    let layout = Layout::parse(TEXT).unwrap();
    assert_eq!((layout.name, layout.length, layout.families), ("savings", 40, 4));
    let roles: Vec<Role> = layout.records.iter().map(|record| record.role).collect();
    let (header, detail, trailer) = (Role::FileHeader, Role::Detail, Role::FileTrailer);
    assert_eq!(roles, [header, detail, detail, detail, trailer]);
    // What is like another is of its family, and has its fields under the same numbers.
    let [foreign, movement] = [&layout.records[1], &layout.records[2]];
    assert_eq!((foreign.family, foreign.begins), (movement.family, Some(0)));
    assert_eq!(foreign.tests[1].of, Tested::Place(Place::Columns(2, 2)));
    let amount = FieldRef { family: movement.family, field: 2 };
    assert_eq!(layout.field(1, amount), layout.field(2, amount));
    assert_eq!(layout.field(2, amount).unwrap().place, Place::Columns(15, 25));
    let currency = FieldRef { family: movement.family, field: 5 };
    assert_eq!(layout.field(1, currency).unwrap().name, "currency");
    assert_eq!(layout.field(2, currency), None);
    // A case has what its event says.
    let case = &layout.events[0].cases[0];
    assert_eq!(case.tests[0].values, [b"01", b"02"]);
    assert_eq!(case.money.as_ref().unwrap().amount, Some(amount));
    assert_eq!(layout.totals[1].stated.len(), 1);
    assert_eq!(layout.digest.len(), 64);
}

#[test]
fn a_mistake_is_told_by_place_and_remedy() {
    let mut told = String::new();
    let rows = CHANGES_OF_ROWS.iter().map(|change| (ROWS, change));
    for (text, (from, to)) in CHANGES.iter().map(|change| (TEXT, change)).chain(rows) {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let mistakes = Layout::parse(&changed).err().unwrap_or_default();
        assert!(!mistakes.is_empty(), "{from} -> {to}");
        told.push_str(&format!("{:?} -> {to:?}\n", from.lines().next().unwrap_or_default()));
        for mistake in mistakes {
            told.push_str(&format!("  {mistake}\n"));
        }
    }
    expect_file!["mistakes.txt"].assert_eq(&told);
}

/// Of content that may be lines, packed and binary numbers may be there, and may not be read.
#[test]
fn what_a_line_end_may_cut_is_not_referred_to() {
    let text = TEXT.replace("cut = \"lines\"", "cut = \"lines_or_fixed\"");
    let number = r#"number = { at = "2-7", type = "number" }"#;
    let check = "check = { at = \"16-17\", type = \"binary\" }";
    let text = text.replace(number, &format!("{number}\n{check}"));
    assert!(Layout::parse(&text).is_ok());
    let named = text.replace("[\"header.number\"]", "[\"header.check\"]");
    let [mistake] = Layout::parse(&named).unwrap_err().try_into().unwrap();
    assert!(mistake.expected.contains("a field of characters"), "{mistake}");
}

#[test]
fn mistakes_are_told_all_at_once() {
    let text = TEXT
        .replace("at = \"2-7\", type", "at = \"7-2\", type")
        .replace("like = \"movement\"", "like = \"movemnt\"")
        .replace("{code}", "{coda}")
        .replace("currency = \"EUR\"", "currency = \"Eur\"")
        .replace("kind = \"information\"", "kind = \"info\"")
        .replace("scope = \"file\"\nsums", "scope = \"batch\"\nsums");
    let mistakes = Layout::parse(&text).unwrap_err();
    let lines: Vec<usize> = mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [17, 22, 50, 56, 59, 67, 75, 77, 78]);
}

#[test]
fn a_layout_that_proves_nothing_may_say_so() {
    let bare = TEXT.split("[[total]]").next().unwrap();
    let [mistake] = Layout::parse(bare).unwrap_err().try_into().unwrap();
    assert!(mistake.expected.contains("by which a file proves that it is whole"), "{mistake}");
    // Nor does a number that runs to wherever the file was cut off prove anything.
    let number = format!("{bare}[[sequence]]\nfield = \"header.number\"\n");
    let [mistake] = Layout::parse(&number).unwrap_err().try_into().unwrap();
    assert_eq!(mistake.found, "others only", "{mistake}");
    let to_the_end = number.replace("[\"header.number\"]", "[\"header.date\"]");
    let to_the_end =
        to_the_end.replace("\"header.number\"", "[\"header.number\", \"trailer.records\"]");
    assert!(Layout::parse(&to_the_end).is_ok());
    let said = bare.replace("length = 40", "length = 40\ncontrol = \"none\"");
    assert!(Layout::parse(&said).unwrap().totals.is_empty());
}
