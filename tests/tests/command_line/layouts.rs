//! A layout that can't be used: told at the start, in one sentence, before anything is made.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::batchless::{self, Run};

/// What describes the feed's files. Its layout is in line 6.
const CONFIG: &str = "\
data = \"data\"

[[feed]]
name = \"harbour\"
location = \"inbox\"
layout = \"own.toml\"
";

const LAYOUT: &str = include_str!("../../../sample-files/layouts/harbour.toml");

const MOVEMENTS: &str = include_str!("../../../sample-files/layouts/harbour/movements.txt");

/// One line on standard error, which has these words; code 2, and nothing else.
fn assert_told(run: &Run, words: &[&str]) {
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    let mut rest = run.stderr.as_str();
    for word in words {
        let Some((_, behind)) = rest.split_once(word) else { panic!("{word}: {}", run.stderr) };
        rest = behind;
    }
}

/// The commands that begin with the configuration.
fn runs(folder: &Path) -> Vec<Run> {
    let commands = [&["run", "--once"][..], &["watch"], &["config", "check"]];
    let commands = commands.map(|command| [command, &["--config", "batchless.toml"]].concat());
    commands.map(|command| batchless::run(folder, &command)).into()
}

#[test]
fn a_feed_whose_layout_cannot_be_used_is_told_with_key_file_and_place() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.toml");
    fs::create_dir(folder.path().join("inbox")).unwrap();
    fs::write(folder.path().join("batchless.toml"), CONFIG).unwrap();
    let told = |words: &[&str]| {
        let begin = ["batchless: feed harbour: batchless.toml, line 6: layout: ", "own.toml"];
        for run in runs(folder.path()) {
            assert_told(&run, &[&begin[..], words].concat());
        }
        assert!(!folder.path().join("data").exists());
    };

    told(&[" can't be read: No such file"]);

    fs::create_dir(&own).unwrap();
    told(&[" can't be read: Is a directory"]);
    fs::remove_dir(&own).unwrap();

    fs::write(&own, b"layout = \"own\"\ntitle = \"Banco de Am\xe9rica\"\n").unwrap();
    told(&[", line 2: expected text in UTF-8"]);

    fs::write(&own, "layout = \"own\"\ntitle = Harbour\n").unwrap();
    told(&[", line 2, column ", "expected TOML, found "]);

    let line = 1 + LAYOUT.lines().position(|line| line.starts_with("length")).unwrap();
    let place = format!(", line {line}, column ");
    fs::write(&own, LAYOUT.replacen("length", "lenght", 1)).unwrap();
    told(&[&place, "did you mean \"length\"?"]);

    let twice = LAYOUT.replacen("length", "lenght", 1).replacen("\"digits\"", "\"digit\"", 1);
    fs::write(&own, twice).unwrap();
    told(&[&place, " more: batchless layout check ", "own.toml)"]);
}

/// The same where flags describe the feed.
#[test]
fn a_layout_of_a_flag_is_told_with_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("inbox")).unwrap();
    fs::write(folder.path().join("inbox/one.txt"), "H").unwrap();
    for command in [
        &["run", "--once", "--data", "data", "--inbox", "inbox", "--layout", "none.toml"][..],
        &["parse", "inbox/one.txt", "--layout", "none.toml"],
    ] {
        let run = batchless::run(folder.path(), command);
        assert_told(&run, &["batchless: ", "--layout: none.toml can't be read: No such file"]);
    }
}

/// UTF-8 has no columns of bytes: who says it of lines is told so, with the line that says it.
#[test]
fn a_page_that_a_format_cannot_be_in_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("inbox")).unwrap();
    let config = CONFIG.replace("layout = \"own.toml\"", "format = \"nacha\"\nencoding = \"utf8\"");
    fs::write(folder.path().join("batchless.toml"), config).unwrap();
    for run in runs(folder.path()) {
        let begin =
            "batchless: feed harbour: batchless.toml, line 7: encoding: utf8 is a page for rows";
        assert_told(&run, &[begin, "nacha", "latin1"]);
    }
    let generate = ["generate", "--format", "cnab240", "--records", "1", "--encoding", "utf8", "x"];
    let run = batchless::run(folder.path(), &generate);
    assert_told(&run, &["batchless: encoding: utf8 is a page for rows", "cnab240"]);
}

/// A folder whose file was read by its own layout, and applied.
fn applied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("inbox")).unwrap();
    fs::write(folder.path().join("own.toml"), LAYOUT).unwrap();
    fs::write(folder.path().join("inbox/one.txt"), MOVEMENTS).unwrap();
    fs::write(folder.path().join("batchless.toml"), CONFIG).unwrap();
    let run = batchless::run(folder.path(), &["run", "--once", "--config", "batchless.toml"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    folder
}

/// An account that a layout names is found by what the layout writes, and by no other scheme.
#[test]
fn an_account_of_a_layout_is_found_by_its_number() {
    let folder = applied();

    let movements = MOVEMENTS.lines().filter(|line| line.starts_with('D'));
    let numbers: BTreeSet<&str> = movements.map(|line| line[3..15].trim()).collect();
    assert!(!numbers.is_empty());
    for number in numbers {
        let typed = format!("harbour:{number}");
        let arguments = ["accounts", "show", "--number", &typed, "--output", "json"];
        let run = batchless::run(folder.path(), &arguments);
        assert_eq!(run.code, Some(0), "{run:?}");
        let id = run.objects()[0]["account"].as_str().unwrap().to_owned();
        assert!(id.starts_with("harbour:") && !id.contains(number), "{id}");
    }
    let run = batchless::run(folder.path(), &["accounts", "show", "--number", "harbor:1"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("no account harbor:"), "{run:?}");
    // Who makes accounts is held to the schemes that files have.
    fs::write(folder.path().join("made.csv"), "number\nharbor:1\n").unwrap();
    let import = ["accounts", "import", "made.csv", "--by", "ana", "--why", "new"];
    let run = batchless::run(folder.path(), &import);
    assert!(run.code != Some(0) && run.stderr.contains("expected one of card, ach"), "{run:?}");
}

/// What a layout read stays readable by it: the data directory keeps it.
#[test]
fn a_layout_that_was_moved_stops_no_command() {
    let folder = applied();

    fs::remove_file(folder.path().join("own.toml")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    for part in ["data", "inbox"] {
        fs::rename(folder.path().join(part), elsewhere.path().join(part)).unwrap();
    }
    let files = batchless::run(elsewhere.path(), &["files", "--output", "json"]);
    assert_eq!(files.objects()[0]["state"], "reconciled", "{files:?}");
    // The bytes of a record are read by the layout again.
    let record = ["records", "one.txt", "0", "--output", "json"];
    let record = batchless::run(elsewhere.path(), &record);
    assert_eq!(record.objects()[0]["bytes"]["state"], "read", "{record:?}");
    let verified = batchless::run(elsewhere.path(), &["verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}
