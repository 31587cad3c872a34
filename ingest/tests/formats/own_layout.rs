//! A layout of somebody's own: `docs/formats/layouts.md` writes it, and needs no code for it.

#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::expect_file;
use ingest::format::{Encoding, Explain, Layout, Settings, Step, built_in, names};

use crate::whole::{read, read_in_pieces, settings, text};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("sample-files/layouts")
}

fn harbour() -> Arc<Layout> {
    let text = std::fs::read_to_string(folder().join("harbour.toml")).unwrap();
    Arc::new(Layout::parse(&text).unwrap())
}

fn of(layout: &Arc<Layout>) -> Settings {
    Settings { layout: Some(Arc::clone(layout)), ..settings(layout.name(), Encoding::Latin1) }
}

/// The sample reads as it is written beside it, and each broken one as its name says, whole and in
/// pieces of any size. `UPDATE_EXPECT=1` writes anew what stands beside them.
#[test]
fn files_of_a_made_up_bank_are_read_by_its_layout() {
    let settings = of(&harbour());
    for (name, is_read, is_whole) in [
        ("movements.txt", true, true),
        ("letter-in-amount.txt", true, false),
        ("totals-differ.txt", false, false),
        ("torn.txt", false, false),
        ("unknown-record.txt", false, false),
    ] {
        let path = folder().join("harbour").join(name);
        let content = std::fs::read(&path).unwrap();
        let whole = read(&settings, &content);
        for size in [1, 5, 1_000] {
            assert_eq!(read_in_pieces(&settings, &content, &[size]), whole, "{name} by {size}");
        }
        let rejects = whole.as_ref().map(|whole| whole.found.iter().any(|f| f.reject.is_some()));
        assert_eq!(rejects.is_ok(), is_read, "{name}");
        assert_eq!(rejects == Ok(false), is_whole, "{name}");
        expect_file![format!("{}.expected", path.display())].assert_eq(&text(&whole));
    }
}

/// Nothing of a number that may be an account's is in what `layout check` shows.
#[test]
fn a_sample_is_explained_unit_by_unit_without_account_numbers() {
    let layout = harbour();
    let content = std::fs::read(folder().join("harbour/movements.txt")).unwrap();
    let mut explain = Explain::new(&layout, &of(&layout));
    let mut draft = ingest::format::Draft::new("check", "harbour");
    let mut records = Vec::new();
    let mut shown = String::new();
    loop {
        let explained = explain.step(&content, &mut draft);
        records.extend(explained.units.iter().map(|unit| (unit.line.unwrap(), unit.record)));
        shown.push_str(&format!("{:?}", explained.units));
        if explained.step.unwrap() == Step::End {
            break;
        }
    }
    let names: Vec<Option<&str>> = records.iter().map(|(_, name)| *name).collect();
    let [header, movement, note, trailer] = ["header", "movement", "note", "trailer"].map(Some);
    let expected =
        [header, movement, movement, note, note, movement, movement, movement, note, trailer];
    assert_eq!(names, expected);
    let lines: Vec<i64> = records.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, (1..=10).collect::<Vec<i64>>());
    assert!(shown.contains("****0301"), "{shown}");
    for number in ["700100200301", "700100200455", "4000 0012 3456 7899"] {
        assert!(!shown.contains(number), "{number}");
    }
}

/// A verdict is bound to the whole text of a layout: any change makes other settings of it. What a
/// format without a layout is bound to stays as it was.
#[test]
fn every_change_of_a_layout_is_another_setting() {
    let layout = harbour();
    let changed = Arc::new(Layout::parse(&format!("{}\n", layout.text())).unwrap());
    assert_ne!(of(&layout).digest(), of(&changed).digest());
    let raised = layout.text().replace("revision = 1", "revision = 2");
    let raised = Arc::new(Layout::parse(&raised).unwrap());
    let revision = |layout: &Arc<Layout>| ingest::format::revision(&of(layout)).unwrap();
    assert_eq!(revision(&raised), revision(&layout) + 1);
    // A built-in layout is the same, named or given.
    for name in names() {
        let named = settings(name, Encoding::Latin1);
        let given = Settings { layout: built_in(name), ..named.clone() };
        assert_eq!(named.digest(), given.digest(), "{name}");
    }
}

/// The recipe of CONTRIBUTING for a format: its layout is a text, and its line in the table is all
/// the code. So whatever the text of a built-in one does, the same text does as one's own.
#[test]
fn a_built_in_layout_is_no_more_than_its_text() {
    let samples = folder().parent().unwrap().to_path_buf();
    let mut read_both = 0;
    for name in names().iter().filter(|name| built_in(name).is_some()) {
        let own = Arc::new(Layout::parse(built_in(name).unwrap().text()).unwrap());
        let Ok(entries) = std::fs::read_dir(samples.join(name)) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "expected") {
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            let named = settings(name, own.encoding());
            let given = Settings { layout: Some(Arc::clone(&own)), ..named.clone() };
            assert_eq!(read(&named, &content), read(&given, &content), "{path:?}");
            read_both += 1;
        }
    }
    assert!(read_both > 0, "no sample of a built-in layout");
}

/// Without a trailer the last line has to have its end, unless the layout says otherwise.
#[test]
fn the_end_of_the_last_line_is_asked_for_as_the_layout_says() {
    let text = built_in("adyen_settlement").unwrap().text().to_owned();
    let sample = folder().parent().unwrap().join("adyen_settlement/batch-238.csv");
    let content = std::fs::read(sample).unwrap();
    for (said, is_read) in [("", false), ("ended = true\n", false), ("ended = false\n", true)] {
        let text = text.replacen("header = true\n", &format!("header = true\n{said}"), 1);
        let settings = of(&Arc::new(Layout::parse(&text).unwrap()));
        assert!(read(&settings, &content).is_ok(), "{said}");
        assert_eq!(read(&settings, content.trim_ascii_end()).is_ok(), is_read, "{said}");
    }
}

/// A code of a cell is as long as the file makes it: a number that may be an account's is masked.
#[test]
fn no_number_of_an_account_is_written_as_a_code() {
    let text = "layout = \"rows\"\ntitle = \"Rows\"\nrevision = 1\nnetwork = \"none\"\n\
                [file]\ncut = \"rows\"\nseparator = \";\"\nheader = false\n\
                encoding = \"latin1\"\ncontrol = \"none\"\n\
                [[record]]\nname = \"row\"\nrole = \"detail\"\n[record.fields]\n\
                code = { at = 1, type = \"text\" }\n\
                [[event]]\nof = \"row\"\ncode = \"{code}\"\nkind = \"information\"\n";
    let settings = of(&Arc::new(Layout::parse(text).unwrap()));
    let whole = read(&settings, b"TAR\n4556737586899855\n").unwrap();
    let codes: Vec<&str> = whole.found.iter().map(|f| f.draft.record.code.as_str()).collect();
    assert_eq!((codes[0], codes[1].contains("455673758689")), ("TAR", false), "{codes:?}");
}
