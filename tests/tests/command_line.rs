//! The command line as scripts rely on it: exit codes, what goes to which stream, and the keys of
//! JSON output, which are a contract.

mod generate;
mod layouts;
mod orders;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::batchless::{self, Run};
use crate::sender::{Payments, Sent};
use crate::site::Site;

const DATA: &[&str] = &["--data", "demo/data", "--output", "json"];

/// A directory in which the demo has run and was kept.
fn demo() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let run = batchless::run(folder.path(), &["demo", "--keep", "demo"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    folder
}

fn list(folder: &Path, command: &[&str]) -> Run {
    batchless::run(folder, &[command, DATA].concat())
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Keys in alphabetical order, as JSON objects are compared.
fn sorted(keys: &str) -> Vec<&str> {
    let mut keys: Vec<&str> = keys.split_whitespace().collect();
    keys.sort_unstable();
    keys
}

/// What scripts read: these keys, each in every object. Adding one is compatible and changes this
/// test; renaming or removing one breaks whoever reads it.
#[test]
fn the_keys_of_json_output_are_these() {
    let folder = demo();
    for (command, expected) in [
        (
            "accounts",
            "account label owner state currency exponent debits_minor credits_minor balance_minor \
             version",
        ),
        (
            "files",
            "file_id feed name state reason size_bytes records published applied rejected reversed \
             duplicates_recognised totals control_totals work answers resubmits",
        ),
        ("rejects", "file_id index byte_offset line reason field expected found detail"),
        ("verify", "check ok expected found"),
    ] {
        let run = list(folder.path(), &[command]);
        assert_eq!(run.code, Some(0), "{command}: {run:?}");
        let objects = run.objects();
        assert!(!objects.is_empty(), "{command}");
        for object in &objects {
            assert_eq!(keys(object), sorted(expected), "{command}");
        }
    }
    let files = list(folder.path(), &["files"]).objects();
    let reconciled = files.iter().find(|file| file["state"] == "reconciled").unwrap();
    let total = sorted("currency exponent debits_minor credits_minor");
    assert_eq!(keys(&reconciled["totals"][0]), total);
    let control = sorted("name claimed seen proven");
    assert_eq!(keys(&reconciled["control_totals"][0]), control);
}

/// The demo's own claims: every state is there, and the balances of all accounts sum to zero.
#[test]
fn the_demo_ends_well_and_its_balances_sum_to_zero() {
    let folder = demo();
    let mut states: Vec<String> = list(folder.path(), &["files"])
        .objects()
        .iter()
        .map(|file| file["state"].as_str().unwrap().to_owned())
        .collect();
    states.sort();
    assert_eq!(states, ["duplicate", "reconciled", "reconciled", "reconciled", "refused"]);
    let mut sums = std::collections::BTreeMap::<String, i64>::new();
    for account in list(folder.path(), &["accounts"]).objects() {
        let currency = account["currency"].as_str().unwrap().to_owned();
        *sums.entry(currency).or_default() += account["balance_minor"].as_i64().unwrap();
    }
    assert_eq!(
        sums.into_iter().collect::<Vec<_>>(),
        [("BRL".to_owned(), 0), ("USD".to_owned(), 0)]
    );
}

/// One record end to end, and the same events by `parse` with the ledger's key.
#[test]
fn a_record_is_shown_end_to_end_and_parse_agrees() {
    let folder = demo();
    let run = list(folder.path(), &["records", "payments.ach", "0"]);
    let [way] = &run.objects()[..] else { panic!("one object: {run:?}") };
    assert_eq!(way["event"]["index"], 0);
    assert_eq!(way["outcomes"][0]["kind"], "applied");
    assert_eq!(way["outcomes"][0]["legs"].as_array().unwrap().len(), 2);

    let rejected = list(folder.path(), &["records", "payments.ach", "22"]).objects();
    assert_eq!(rejected[0]["event"], Value::Null);
    assert_eq!(rejected[0]["reject"]["field"], "check digit");

    let mut published = list(folder.path(), &["records", "payments.ach"]).objects();
    published.sort_by_key(|event| event["index"].as_i64());
    let parse = ["parse", "demo/ach/payments.ach", "--data", "demo/data"];
    let mut parsed = batchless::run(folder.path(), &parse).objects();
    assert_eq!(published.len(), 394);
    for (published, parsed) in published.iter().zip(&mut parsed) {
        // A feed is not part of what a file is.
        parsed["feed"] = published["feed"].clone();
        assert_eq!(published, parsed);
    }
}

/// Events on standard output, what came of the file on standard error; without a ledger nothing is
/// said that only a ledger knows.
#[test]
fn parse_keeps_events_and_verdict_apart() {
    let folder = demo();
    let file = "demo/ach/payments.ach";
    let run = batchless::run(folder.path(), &["parse", file, "--verdict-json"]);
    assert_eq!(run.code, Some(3), "six records are rejected");
    let events = run.objects();
    assert_eq!(events.len(), 394);
    for key in ["file_id", "account", "sequence"] {
        assert!(events.iter().all(|event| event[key] == Value::Null), "{key}");
    }
    let (last, rejects) = run.stderr.trim_end().rsplit_once('\n').map(|(a, b)| (b, a)).unwrap();
    assert_eq!(rejects.lines().filter(|line| line.starts_with("rejected: ")).count(), 6);
    let verdict: Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&verdict["verdict"], &verdict["records"], &verdict["rejects"]),
        (&"verified".into(), &400.into(), &6.into())
    );

    let quiet = batchless::run(folder.path(), &["parse", file, "--output", "none"]);
    assert_eq!((quiet.code, quiet.stdout.as_str()), (Some(3), ""));
    let torn = batchless::run(folder.path(), &["parse", "demo/ach/torn.ach", "--output", "none"]);
    assert_eq!(torn.code, Some(3));
    assert!(torn.stderr.contains("refused: "), "{}", torn.stderr);
}

/// What was typed wrong ends with 2, what can't be done with 1, each with one sentence.
#[test]
fn exit_codes_tell_usage_from_failure() {
    let folder = demo();
    for (arguments, code, words) in [
        (&[][..], 2, "Usage: batchless"),
        (&["fils"], 2, "files"),
        (&["parse", "x", "--format", "swift"], 1, "x can't be read"),
        (&["parse", "demo/ach/torn.ach", "--format", "swift"], 2, "expected one of nacha, ipm"),
        (&["parse", "nowhere.ach"], 1, "nowhere.ach can't be read"),
        (&["parse", "demo"], 1, "demo is a folder"),
        (
            &["generate", "--format", "swift"],
            2,
            "expected one of nacha, ipm, cnab240, cnab400, base2, base2_itf, adyen_settlement, \
             paypal_stl, statement_csv, found \"swift\"",
        ),
        (&["generate", "--format", "nacha", "--records", "0"], 2, "records: expected 1 to"),
        (&["generate", "--format", "nacha", "--date", "2026-02-30"], 2, "a day of the calendar"),
        (&["generate", "--format", "nacha", "nowhere/a.ach"], 1, "nowhere/a.ach can't be written"),
        (&["records", "none.ach", "--data", "demo/data"], 1, "no file is called none.ach"),
        (&["records", "cards.ipm", "300", "--data", "demo/data"], 1, "records 0 to 299"),
        (
            &["accounts", "show", "clearing:ach#99", "--data", "demo/data"],
            1,
            "no account clearing:ach#99",
        ),
        (&["accounts", "show", "card:1", "--data", "demo/data"], 2, "use --number"),
        (
            &["accounts", "show", "--number", "card:4111 1111 1111 1111", "--data", "demo/data"],
            2,
            "8 to 19 digits without blanks",
        ),
        (
            &["accounts", "show", "--number", "ach:990000661:1000000005", "--data", "demo/data"],
            2,
            "check digit",
        ),
        (
            &["parse", "demo/ach/torn.ach", "--data", "demo/data", "--feed", "ahc"],
            2,
            "expected one of ach, cards",
        ),
        (&["parse", "demo/ach/torn.ach", "--feed", "ach"], 2, "--data"),
        (&["parse", "-", "--data", "demo/data"], 2, "standard input is there once"),
        (&["demo", "--keep", "demo"], 2, "demo is there already"),
        (&["run", "--once"], 2, "no feed is configured"),
        (
            &["run", "--inbox", "demo", "--format", "nacha", "--data", "demo/x"],
            1,
            "lies in the inbox",
        ),
    ] {
        let run = batchless::run(folder.path(), arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(words), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
}

/// An account is found by its number, which is not repeated, and by nothing else.
#[test]
fn an_account_is_found_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = folder.path().join("in");
    fs::create_dir(&inbox).unwrap();
    let file = ["generate", "--format", "ipm", "--records", "1", "in/one.ipm"];
    assert_eq!(batchless::run(folder.path(), &file).code, Some(0));
    let run = ["run", "--inbox", "in", "--format", "ipm", "--data", "data", "--once"];
    assert_eq!(batchless::run(folder.path(), &run).code, Some(0));
    // The number stands in the file: DE 2 with its length before it.
    let bytes = fs::read(inbox.join("one.ipm")).unwrap();
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let digits =
        |at: usize| text.get(at..at + 16).filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    let found = text.match_indices("16").filter_map(|(at, _)| digits(at + 2)).any(|number| {
        let number = format!("card:{number}");
        let show = ["accounts", "show", "--number", &number];
        let shown = list_data(folder.path(), &show);
        assert!(!shown.stdout.contains(&number) && !shown.stderr.contains(&number), "{shown:?}");
        shown.code == Some(0)
    });
    assert!(found, "no number of the file is an account");
}

/// A number typed in a wrong place, in whatever command, is not repeated; the label may be.
#[test]
fn a_card_number_that_is_typed_is_never_repeated() {
    let folder = demo();
    let data = ["--data", "demo/data"];
    for arguments in [
        &["accounts", "show", "card:4111111111111111"][..],
        &["accounts", "show", "4111 1111 1111 1111"],
        &["accounts", "show", "--number", "4111111111111111"],
        &["accounts", "show", "--number", "card:4111111111111111"],
        &["accounts", "show", "--number", "card:4111 1111 1111 1111"],
        &["accounts", "4111111111111111"],
        &["files", "show", "4111111111111111"],
        &["rejects", "show", "4111-1111-1111-1111"],
        &["verify", "card:4111111111111111"],
        &["records", "payments.ach", "4111111111111111"],
        &["reverse", "4111 1111 1111 1111"],
        &["hold", "4111111111111111"],
        &["accept", "4111111111111111"],
        &["replay", "payments.ach", "--execute", "4111111111111111"],
        &["accounts", "freeze", "card:4111111111111111"],
        &["accounts", "unfreeze", "--number", "4111111111111111"],
        &["accounts", "import", "4111111111111111"],
    ] {
        let run = batchless::run(folder.path(), &[arguments, &data].concat());
        assert!(matches!(run.code, Some(1 | 2)), "{arguments:?}: {run:?}");
        let said = format!("{}{}", run.stdout, run.stderr);
        let digits: String = said.chars().filter(char::is_ascii_digit).collect();
        assert!(!digits.contains("41111111"), "{arguments:?}: {said}");
        assert!(!said.is_empty(), "{arguments:?}");
    }
}

/// `--data`, `--output` and `--limit` hold before `show` as behind it: a ledger in `./data` is not
/// what is asked, and a table is not what is printed.
#[test]
fn flags_hold_before_and_behind_show() {
    let site = Site::with(&[Sent::nacha("decoy.ach", 5, 3)]);
    assert_eq!(site.once().code, Some(0));
    let kept = site.batchless(&["demo", "--keep", "demo"]);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    for (command, name) in
        [("files", "payments.ach"), ("rejects", "payments.ach"), ("accounts", "clearing:ach#1")]
    {
        let before = site.batchless(&[&[command], DATA, &["show", name]].concat());
        let behind = site.batchless(&[&[command, "show", name], DATA].concat());
        let apart =
            site.batchless(&[command, "--output", "json", "show", name, "--data", "demo/data"]);
        assert_eq!(before.code, Some(0), "{command}: {before:?}");
        assert!(!before.objects().is_empty(), "{command}");
        assert_eq!(before.stdout, behind.stdout, "{command}");
        assert_eq!(before.stdout, apart.stdout, "{command}");
    }
    let of_decoy = site.batchless(&["files", "show", "payments.ach"]);
    assert_eq!(of_decoy.code, Some(1), "{of_decoy:?}");

    let limited = |arguments: &[&str]| {
        let all = [&["accounts", "--data", "demo/data"], arguments].concat();
        site.batchless(&all).stdout.lines().filter(|line| line.starts_with("applied ")).count()
    };
    assert_eq!(limited(&["--limit", "1", "show", "clearing:ach#1"]), 1);
    assert_eq!(limited(&["show", "clearing:ach#1", "--limit", "2"]), 2);
}

const MOSTLY_BAD: &[u8] = include_bytes!("../../sample-files/rejects/nacha/sixty-percent-bad.ach");

fn dropped(name: &str, bytes: &[u8]) -> Sent {
    Sent { name: name.to_owned(), feed: "ach", bytes: bytes.to_vec() }
}

/// What was refused or held is found by its name: state, reason, counts and its first rejects.
#[test]
fn what_is_refused_or_held_is_shown_with_its_reason_and_rejects() {
    let site = Site::with(&[Sent::nacha("first.ach", 20, 30), dropped("bad.ach", MOSTLY_BAD)]);
    assert_eq!(site.once().code, Some(3));
    let mut twin = Payments::drawn(20, 31);
    twin.entries[7].spoilt = Some((12, 'X'));
    site.drop_in(&dropped("twin.ach", &twin.bytes()));
    assert_eq!(site.once().code, Some(3));
    for (name, state, records, rejected, named, words, code) in [
        ("bad.ach", "refused", 40, 24, 10, "too many bad records", 3),
        ("twin.ach", "held", 31, 1, 1, "identifier", 0),
    ] {
        let row = site.file(name).unwrap();
        assert_eq!(row["state"], state, "{row}");
        assert_eq!(
            (&row["records"], &row["rejected"], &row["published"]),
            (&records.into(), &rejected.into(), &0.into()),
            "{row}"
        );
        let shown = site.batchless(&["files", "show", name, "--data", "data"]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(shown.stdout.contains(words), "{}", shown.stdout);
        let lines = shown.stdout.lines().filter(|line| line.starts_with("rejected "));
        assert_eq!(lines.count(), named, "{}", shown.stdout);

        let flags = ["--data", "data", "--output", "json"];
        let rejects = site.batchless(&[&["rejects", "show", name], &flags[..]].concat());
        assert_eq!(rejects.code, Some(0), "{rejects:?}");
        assert!(rejects.stderr.contains(words), "{}", rejects.stderr);
        let objects = rejects.objects();
        assert_eq!(objects.len(), named, "{rejects:?}");
        for object in &objects {
            assert!(object["line"].is_i64() && object["field"].is_string(), "{object}");
        }

        let verify = site.batchless(&[&["verify", name], &flags[..]].concat());
        assert_eq!(verify.code, Some(code), "{verify:?}");
        assert!(verify.stdout.contains(words), "{}", verify.stdout);
        let lines = verify.stderr.lines().filter(|line| line.starts_with("rejected: record "));
        assert_eq!(lines.count(), named, "{}", verify.stderr);
    }
    let records = site.batchless(&["records", "bad.ach", "--data", "data"]);
    assert_eq!(records.code, Some(1), "{records:?}");
    assert!(records.stderr.contains("refused: too many bad records"), "{}", records.stderr);
    // All of the ledger is well: nothing of either was published.
    assert_eq!(site.batchless(&["verify", "--data", "data"]).code, Some(0));
}

/// `parse` with a feed refuses what `run` refuses, in the same words; without one it takes the
/// defaults, and names what is empty or damaged as such.
#[test]
fn parse_gives_the_verdict_of_run() {
    let good = Sent::nacha("good.ach", 40, 30);
    let packed = good.gzipped("");
    let ebcdic = include_bytes!("../../sample-files/nacha/payments-cp037.ach");
    let cases = [
        (dropped("bad.ach", MOSTLY_BAD), "too many bad records"),
        (dropped("cp037.ach", ebcdic), "wrong encoding"),
        (dropped("empty.ach", b""), "no bytes"),
        (dropped("nothing.ach.gz", &dropped("", b"").gzipped("").bytes), "no bytes"),
        (dropped("head.ach.gz", &packed.bytes[..5]), "container truncated"),
        (dropped("cut.ach.gz", &packed.bytes[..packed.bytes.len() / 2]), "container truncated"),
        (good.cut("torn.ach", 95 * 20 + 7), "byte"),
    ];
    let site = Site::new();
    cases.iter().for_each(|(sent, _)| site.drop_in(sent));
    site.drop_in(&good);
    assert_eq!(site.once().code, Some(3));
    let verdict = |name: &str, flags: &[&str]| {
        let file = format!("ach/{name}");
        let parse = ["parse", &file, "--output", "none", "--verdict-json"];
        let run = site.batchless(&[&parse[..], flags].concat());
        let last = run.stderr.lines().last().unwrap_or_default();
        let verdict: Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        (run.code, verdict)
    };
    for (sent, words) in &cases {
        let row = site.file(&sent.name).unwrap();
        assert_eq!(row["state"], "refused", "{row}");
        assert!(row["reason"].as_str().unwrap().contains(words), "{row}");
        let (code, as_feed) = verdict(&sent.name, &["--data", "data", "--feed", "ach"]);
        assert_eq!((code, &as_feed["verdict"]), (Some(3), &"refused".into()), "{as_feed}");
        assert_eq!(as_feed["reason"], row["reason"], "{}", sent.name);
        // The page of a feed is told by nothing else than the feed, or by who asks.
        let flags = if *words == "wrong encoding" { &["--encoding", "ascii"][..] } else { &[] };
        let (code, alone) = verdict(&sent.name, flags);
        assert_eq!((code, &alone["verdict"]), (Some(3), &"refused".into()), "{alone}");
        let reason = alone["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{}: {reason}", sent.name);
    }
    let (code, as_feed) = verdict(&good.name, &["--data", "data", "--feed", "ach"]);
    assert_eq!((code, &as_feed["verdict"]), (Some(0), &"verified".into()), "{as_feed}");
    // Neither is a content of no byte waited for when the ledger wants its digest.
    assert_eq!(verdict("empty.ach", &["--data", "data"]).1["verdict"], "refused");
}

/// The help says that events come before the verdict, and which exit code tells.
#[test]
fn the_help_of_parse_says_that_events_come_before_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let help = batchless::run(folder.path(), &["parse", "--help"]);
    let words = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("what was printed of it before is not to be used"), "{words}");
    assert!(words.contains("3 refused"), "{words}");
}

/// A record that was read and can't be applied has a code in `found` and a sentence in `detail`.
#[test]
fn a_reject_of_the_store_has_a_code_and_a_sentence() {
    let site = Site::new();
    site.drop_in(&Sent::nacha("a.ach", 50, 5));
    let run = [
        "run",
        "--inbox",
        "ach",
        "--format",
        "nacha",
        "--data",
        "data",
        "--once",
        "--unknown-accounts",
        "reject",
    ];
    assert_eq!(site.batchless(&run).code, Some(3));
    let rejects = site.list("rejects");
    assert!(!rejects.is_empty());
    for reject in &rejects {
        assert_eq!(
            (&reject["reason"], &reject["found"]),
            (&"account_unknown".into(), &"account_unknown".into())
        );
        assert!(reject["detail"].as_str().unwrap().contains("known accounts only"), "{reject}");
        assert_eq!(reject["byte_offset"], Value::Null);
    }
    // Those that can't be read have no more to say than position, field, expected and found.
    let unread = list(demo().path(), &["rejects"]).objects();
    assert!(!unread.is_empty());
    for reject in &unread {
        assert_eq!(reject["detail"], Value::Null, "{reject}");
        assert!(reject["byte_offset"].is_i64() && reject["found"].is_string(), "{reject}");
    }
}

fn list_data(folder: &Path, command: &[&str]) -> Run {
    batchless::run(folder, &[command, &["--data", "data", "--output", "json"]].concat())
}

/// The README's examples do what they say: the quick start runs, the configuration can be used.
#[test]
fn the_examples_of_the_readme_run() {
    let readme = include_str!("../../README.md");
    let start = readme.split("## Quick start").nth(1).unwrap();
    let block = |language: &str, nth: usize| {
        let fence = format!("```{language}\n");
        start.split(&fence).nth(nth).unwrap().split("```").next().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut ran = 0;
    for line in block("", 1).lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match &words[..] {
            ["mkdir", name] => fs::create_dir(folder.path().join(name)).unwrap(),
            ["batchless", arguments @ ..] => {
                let run = batchless::run(folder.path(), arguments);
                assert!(matches!(run.code, Some(0 | 3)), "{line}: {run:?}");
                ran += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(ran >= 7, "{ran} commands");
    fs::write(folder.path().join("batchless.toml"), block("toml", 1)).unwrap();
    for name in ["inbox/ach", "inbox/cards"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let check = ["config", "check", "--config", "batchless.toml"];
    assert_eq!(batchless::run(folder.path(), &check).code, Some(0));
}
