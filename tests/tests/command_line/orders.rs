//! The commands that change something, as scripts rely on them: plans and tokens, answers, keys and
//! exit codes. What they do to balances under crashes is shown elsewhere.

use std::fs;

use serde_json::Value;

use super::{keys, sorted};
use crate::batchless::{self, Run};
use crate::sender::{Payments, Sent};
use crate::site::{Site, wait_until};

const DATA: &[&str] = &["--data", "data", "--output", "json"];

const PLAN: &str = "action file_id name state first_index last_index indices records done_before \
                    accounts totals token";
const ANSWER: &str = "command_id action file_id name state outcome detail by why";

/// A site with a file of thirty payments, reconciled.
fn site() -> Site {
    let site = Site::with(&[Sent::nacha("a.ach", 41, 30)]);
    assert_eq!(site.once().code, Some(0));
    site
}

fn ask(site: &Site, command: &[&str]) -> Run {
    site.batchless(&[command, DATA].concat())
}

/// The one object that a command prints, which ends with this code.
fn one(site: &Site, command: &[&str], code: i32) -> Value {
    let run = ask(site, command);
    assert_eq!(run.code, Some(code), "{command:?}: {run:?}");
    let objects = run.objects();
    let [object] = &objects[..] else { panic!("one object: {run:?}") };
    object.clone()
}

fn token(plan: &Value) -> &str {
    plan["token"].as_str().unwrap()
}

/// Executes what a command plans.
fn execute(site: &Site, command: &[&str]) -> Value {
    let plan = one(site, command, 0);
    assert_eq!(keys(&plan), sorted(PLAN), "{command:?}");
    one(site, &[command, &["--execute", token(&plan)]].concat(), 0)
}

/// The balance of every account that has one, by name.
fn balances(site: &Site) -> Vec<(String, i64)> {
    let rows = site.list("accounts");
    let text = |row: &Value| row["account"].as_str().unwrap().to_owned();
    rows.iter().map(|row| (text(row), row["balance_minor"].as_i64().unwrap())).collect()
}

/// The second plan is the first one; nothing is done until the token is given, once however often
/// it is; and after that there is nothing left to undo.
#[test]
fn a_plan_does_nothing_and_its_token_does_it_once() {
    let site = site();
    let before = balances(&site);
    let undo = ["reverse", "a.ach", "--records", "3..7"];
    let plan = one(&site, &undo, 0);
    assert_eq!(plan, one(&site, &undo, 0), "planning twice changes nothing");
    assert_eq!((&plan["records"], &plan["done_before"]), (&5.into(), &0.into()));
    assert_eq!(balances(&site), before);

    let execute =
        [&undo[..], &["--execute", token(&plan), "--by", "ops", "--why", "test"]].concat();
    let answer = one(&site, &execute, 0);
    assert_eq!(keys(&answer), sorted(ANSWER));
    assert_eq!(
        (&answer["outcome"], &answer["by"], &answer["why"]),
        (&"done".into(), &"ops".into(), &"test".into())
    );
    assert_eq!(answer["command_id"], plan["token"]);
    let after = balances(&site);
    assert_ne!(after, before);
    assert_eq!(
        one(&site, &execute, 0)["detail"],
        answer["detail"],
        "it is followed, not done again"
    );
    assert_eq!(balances(&site), after);
    let again = ask(&site, &undo);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("nothing to undo"), "{}", again.stderr);

    // One that overlaps says how much is left, and is another plan than before.
    let rest = one(&site, &["reverse", "a.ach"], 0);
    assert_eq!((&rest["records"], &rest["done_before"]), (&25.into(), &5.into()));
    let row = site.file("a.ach").unwrap();
    assert_eq!((&row["reversed"], &row["work"]), (&5.into(), &Value::Null));
    assert_eq!(row["answers"][0]["command_id"], plan["token"]);
}

/// A token of a plan that is no longer what would be done is refused, and changes nothing.
#[test]
fn a_token_is_refused_once_its_plan_has_changed() {
    let site = site();
    let stale = one(&site, &["reverse", "a.ach"], 0);
    execute(&site, &["reverse", "a.ach", "--record", "0"]);
    let before = balances(&site);
    let refused = ask(&site, &["reverse", "a.ach", "--execute", token(&stale)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("is not what would be done now"), "{}", refused.stderr);
    assert_eq!(balances(&site), before);
    assert_eq!(site.file("a.ach").unwrap()["answers"].as_array().unwrap().len(), 1);
}

/// A list of files is undone together, whatever the order in which they are named; where one of
/// them can't be, none is.
#[test]
fn files_are_undone_together_or_not_at_all() {
    let site = site();
    site.drop_in(&Sent::nacha("b.ach", 42, 20));
    assert_eq!(site.once().code, Some(0));
    let both = ask(&site, &["reverse", "a.ach", "b.ach"]).objects();
    assert_eq!(both.len(), 2);
    assert_eq!(both, ask(&site, &["reverse", "b.ach", "a.ach"]).objects());

    execute(&site, &["reverse", "b.ach"]);
    let refused = ask(&site, &["reverse", "a.ach", "b.ach", "--execute", token(&both[0])]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(site.file("a.ach").unwrap()["reversed"], 0);

    site.drop_in(&Sent::nacha("c.ach", 43, 20));
    assert_eq!(site.once().code, Some(0));
    let plan = ask(&site, &["reverse", "c.ach", "a.ach"]).objects();
    let done = ask(&site, &["reverse", "a.ach", "c.ach", "--execute", token(&plan[0])]);
    assert_eq!((done.code, done.objects().len()), (Some(0), 2), "{done:?}");
    let ids: Vec<Value> = done.objects().iter().map(|it| it["command_id"].clone()).collect();
    assert_ne!(ids[0], ids[1], "each file has a command of its own");
    assert!(balances(&site).iter().all(|(_, minor)| *minor == 0));
}

/// Each way to select what is published again; what was applied is recognised and changes nothing.
#[test]
fn a_replay_selects_by_record_byte_and_offset() {
    let site = site();
    let before = balances(&site);
    let ways = one(&site, &["records", "a.ach", "12"], 0);
    let byte = (ways["bytes"]["byte_offset"].as_i64().unwrap() + 1).to_string();
    let (partition, offset) =
        (ways["partition"].as_i64().unwrap(), ways["offset"].as_i64().unwrap());
    let offsets = format!("{partition}:{offset}..{offset}");
    for (flags, first, last) in [
        (&[][..], 0, 29),
        (&["--records", "4..6"], 4, 6),
        (&["--from-byte", &byte], 12, 29),
        (&["--offsets", &offsets], 12, 12),
    ] {
        let command = [&["replay", "a.ach"], flags].concat();
        let plan = one(&site, &command, 0);
        assert_eq!(
            (&plan["first_index"], &plan["last_index"]),
            (&first.into(), &last.into()),
            "{plan}"
        );
        assert_eq!(plan["records"], last - first + 1);
        let recognised =
            |site: &Site| site.file("a.ach").unwrap()["duplicates_recognised"].as_i64();
        let known = recognised(&site).unwrap();
        let answer = execute(&site, &command);
        assert_eq!((&answer["outcome"], &answer["state"]), (&"done".into(), &"reconciled".into()));
        assert_eq!(recognised(&site), Some(known + last - first + 1), "{answer}");
    }
    assert_eq!(balances(&site), before);
    let way = one(&site, &["records", "a.ach", "12"], 0);
    assert_eq!(way["again"].as_array().unwrap().len(), 3, "{way}");
}

/// What one record shows: its bytes and what they say today, its event, what undid it. Once the
/// object is gone it says so, and shows the rest.
#[test]
fn a_record_is_shown_with_its_bytes_and_what_undid_it() {
    let site = site();
    execute(&site, &["reverse", "a.ach", "--record", "5"]);
    let way = one(&site, &["records", "a.ach", "5"], 0);
    let expected =
        "bytes fields partition offset again event reject outcomes reversals resubmissions";
    assert_eq!(keys(&way), sorted(expected));
    assert_eq!(
        (&way["bytes"]["state"], &way["bytes"]["differs"]),
        (&"read".into(), &Value::Array(vec![]))
    );
    assert_eq!(way["fields"], way["event"]);
    let kinds: Vec<&Value> =
        way["outcomes"].as_array().unwrap().iter().map(|it| &it["kind"]).collect();
    assert_eq!(kinds, ["applied", "reversed"]);
    assert_eq!(way["outcomes"][1]["number_reversed"], way["outcomes"][0]["number"]);
    assert_eq!(way["reversals"][0]["action"], "reverse");

    fs::remove_file(site.path().join("ach/a.ach")).unwrap();
    let way = one(&site, &["records", "a.ach", "5"], 0);
    assert_eq!((&way["bytes"]["state"], &way["fields"]), (&"gone".into(), &Value::Null));
    assert!(way["event"]["account"].is_string());
    let shown = site.batchless(&["records", "a.ach", "5"]);
    assert!(shown.stdout.contains("the bytes are gone"), "{}", shown.stdout);
}

/// The same content is taken again on purpose only: from an object that does not stand in the
/// ledger. Then its name is two files', and a command wants the id.
#[test]
fn accepting_takes_a_content_again_and_names_are_told_by_ids() {
    let site = site();
    let before = balances(&site);
    let refused = |why: &str| {
        let run = ask(&site, &["accept", "a.ach"]);
        assert!(run.code == Some(1) && format!("{run:?}").contains(why), "{run:?}");
    };
    refused("this object is in the ledger");
    execute(&site, &["reverse", "a.ach"]);
    let answer = one(&site, &["accept", "a.ach"], 0);
    assert_eq!(answer["outcome"], "done");
    assert_eq!(balances(&site), before);
    refused("this object is in the ledger");
    let shown = ask(&site, &["files", "show", "a.ach"]).objects();
    assert_eq!(shown.len(), 2);
    let ambiguous = ask(&site, &["reverse", "a.ach"]);
    assert_eq!(ambiguous.code, Some(1), "{ambiguous:?}");
    for row in &shown {
        let id = row["file_id"].as_str().unwrap();
        assert!(ambiguous.stderr.contains(id), "{}", ambiguous.stderr);
        if row["state"] != "reversed" {
            execute(&site, &["reverse", id]);
        }
    }
    assert!(balances(&site).iter().all(|(_, minor)| *minor == 0));
}

/// A frozen account rejects; after it is unfrozen its records are resubmitted, and applied once.
#[test]
fn a_frozen_account_rejects_and_what_it_rejected_is_resubmitted() {
    let site = site();
    let before = balances(&site);
    let accounts = site.list("accounts");
    let customer = accounts.iter().find(|row| row["owner"] == "customer").unwrap();
    let id = customer["account"].as_str().unwrap();
    let frozen = one(&site, &["accounts", "freeze", id], 0);
    assert_eq!(keys(&frozen), sorted("account label state outcome detail command_id"));
    assert_eq!((&frozen["state"], &frozen["outcome"]), (&"frozen".into(), &"changed".into()));
    site.drop_in(&Sent::nacha("a.ach", 41, 30).renamed("again.ach"));
    assert_eq!(site.once().code, Some(3));
    let accepted = one(&site, &["accept", "again.ach"], 0);
    let file = accepted["detail"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    let rejects = ask(&site, &["rejects", "show", &file]).objects();
    assert!(!rejects.is_empty());
    let index = rejects[0]["index"].to_string();

    // Still frozen: it is rejected again, which is said, and may be tried again.
    let resubmit = ["rejects", "resubmit", &file, &index];
    let plan = one(&site, &resubmit, 0);
    for _ in 0..2 {
        let run = ask(&site, &[&resubmit[..], &["--execute", token(&plan)]].concat());
        assert_eq!((run.code, &run.objects()[0]["outcome"]), (Some(3), &"done".into()), "{run:?}");
        let said = "1 resubmitted record: 0 applied, 1 rejected again";
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    let open = one(&site, &["accounts", "unfreeze", id], 0);
    assert_eq!(open["state"], "open");
    let all = ["rejects", "resubmit", &file];
    let answer = execute(&site, &all);
    assert_eq!(answer["outcome"], "done", "{answer}");
    for command in [&resubmit[..], &all] {
        let run = ask(&site, command);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains("resubmitted"), "{}", run.stderr);
    }
    let way = one(&site, &["records", &file, &index], 0);
    let attempts = way["resubmissions"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{way}");
    assert_eq!((&attempts[0]["rejected"], &attempts[1]["applied"]), (&1.into(), &1.into()));
    // Undoing the file leaves them, and says so.
    let plan = ask(&site, &["reverse", &file]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    let applied = rejects.len();
    assert_eq!(plan.stderr.matches("was resubmitted and is applied").count(), applied, "{plan:?}");
    let rows = site.list("files");
    let tries: Vec<&Value> = rows.iter().filter(|row| row["resubmits"].is_object()).collect();
    assert_eq!(tries.len(), rejects.len() + 1);
    assert!(tries.iter().all(|row| row["resubmits"]["file_id"] == file.as_str()), "{tries:?}");

    // While they stand the content is not taken again: they would be posted twice.
    execute(&site, &["reverse", &file]);
    let refused = ask(&site, &["accept", "again.ach"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
    let stand = format!("{applied} resubmitted record");
    assert!(refused.stderr.contains(&stand), "{}", refused.stderr);
    let remedy = refused.stderr.split('`').nth(1).unwrap();
    let remedy: Vec<&str> = remedy.strip_prefix("batchless ").unwrap().split(' ').collect();
    assert_eq!(remedy.len(), 1 + applied, "{remedy:?}");
    let plans = ask(&site, &remedy).objects();
    let run = ask(&site, &[&remedy[..], &["--execute", token(&plans[0])]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(balances(&site), before);
    one(&site, &["accept", "again.ach"], 0);
    let doubled: Vec<_> = before.iter().map(|(name, minor)| (name.clone(), minor * 2)).collect();
    assert_eq!(balances(&site), doubled);
}

/// A token stands for one answer, also for a failure: it says how to try again.
#[test]
fn what_failed_is_planned_again() {
    let site = site();
    let replay = ["replay", "a.ach"];
    let plan = one(&site, &replay, 0);
    let (object, beside) = (site.path().join("ach/a.ach"), site.path().join("away"));
    fs::rename(&object, &beside).unwrap();
    let executed = [&replay[..], &["--execute", token(&plan)]].concat();
    let first = ask(&site, &executed);
    fs::rename(&beside, &object).unwrap();
    for run in [first, ask(&site, &executed)] {
        assert_eq!(run.code, Some(1), "{run:?}");
        let words = "plan it again without --execute to try again";
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    assert_eq!(execute(&site, &replay)["outcome"], "done");
}

/// A store that is lost is named, with what makes it again, and what is on the log is shown still.
#[test]
fn a_store_that_is_missing_is_named() {
    let site = site();
    let before = balances(&site);
    for name in ["accounts.db", "accounts.db-wal", "accounts.db-shm"] {
        let _ = fs::remove_file(site.data().join(name));
    }
    for command in [&["accounts"][..], &["verify"], &["reverse", "a.ach"]] {
        let run = ask(&site, command);
        assert_eq!(run.code, Some(1), "{command:?}: {run:?}");
        assert!(run.stderr.contains("accounts.db is missing"), "{}", run.stderr);
        assert!(run.stderr.contains("`batchless run --once`"), "{}", run.stderr);
    }
    assert_eq!(ask(&site, &["files"]).code, Some(0));
    assert_eq!(site.once().code, Some(0));
    assert_eq!(balances(&site), before);
}

/// Whoever reads the output may have seen enough: that is no failure.
#[test]
fn a_closed_pipe_ends_quietly() {
    let site = site();
    let records = [&["records", "a.ach"][..], DATA].concat();
    assert!(site.batchless(&records).stdout.len() > 8_192, "more than is written at once");
    for output in ["json", "table"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = batchless::command(site.path());
        command.args(["records", "a.ach", "--data", "data", "--output", output]);
        let run = command.stdout(writer).output().unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!((run.status.code(), said.as_str()), (Some(0), ""));
    }
}

/// Accounts are imported whole or not at all, and no line is repeated; what is left behind is
/// scanned for the number.
#[test]
fn accounts_are_imported_after_every_line_was_checked() {
    let site = site();
    let number = Payments::drawn(1, 44).entries[0].account.clone();
    let number = number.trim();
    let (good, bad) = (site.path().join("good.csv"), site.path().join("bad.csv"));
    let lines = format!("number,state\nmerchant:SHOP 1,frozen\nach:011401533:{number},closed\n");
    fs::write(&good, &lines).unwrap();
    fs::write(&bad, format!("{lines}card:{number}x,open\n")).unwrap();
    let before = site.list("accounts");
    let refused = ask(&site, &["accounts", "import", "bad.csv"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("bad.csv: line 4: number: expected"), "{}", refused.stderr);
    assert!(!refused.stderr.contains(number), "{}", refused.stderr);
    assert_eq!(site.list("accounts"), before);
    let mut after = Vec::new();
    for _ in 0..2 {
        let imported = one(&site, &["accounts", "import", "good.csv"], 0);
        assert_eq!(keys(&imported), sorted("accounts open frozen closed"));
        assert_eq!(
            (&imported["accounts"], &imported["frozen"], &imported["closed"]),
            (&2.into(), &1.into(), &1.into())
        );
        let found = site.list("accounts");
        assert!(after.is_empty() || after == found, "{found:?}");
        after = found;
    }
    assert!(after.len() > before.len());
    let shop = ["accounts", "show", "--number", "merchant:SHOP 1"];
    assert_eq!(one(&site, &shop, 0)["state"], "frozen");
    let account = format!("ach:011401533:{number}");
    let closed = ask(&site, &["accounts", "show", "--number", &account]);
    assert_eq!(closed.objects()[0]["state"], "closed", "{closed:?}");
    // What is closed stays closed, and says so; what is asked for beside it is done.
    for (word, state) in [("freeze", "frozen"), ("unfreeze", "open")] {
        let both = ["accounts", word, "--number", &account, "--number", "merchant:SHOP 1"];
        let refused = ask(&site, &both);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("a closed account stays closed"), "{refused:?}");
        assert_eq!(refused.objects().len(), 1, "{refused:?}");
        assert_eq!(one(&site, &shop, 0)["state"], state);
        let closed = ask(&site, &["accounts", "show", "--number", &account]);
        assert_eq!(closed.objects()[0]["state"], "closed", "{closed:?}");
    }
    fs::remove_file(good).unwrap();
    fs::remove_file(bad).unwrap();
}

/// A command beside a run is taken by it, and answered.
#[test]
fn a_command_works_beside_a_run() {
    let site = site();
    let run = site.start();
    wait_until("the run has started", || run.has_started(), || run.said());
    let accounts = site.list("accounts");
    let customer = accounts.iter().find(|row| row["owner"] == "customer").unwrap();
    let frozen = one(&site, &["accounts", "freeze", customer["account"].as_str().unwrap()], 0);
    assert_eq!(frozen["state"], "frozen");
    let answer = execute(&site, &["reverse", "a.ach"]);
    assert_eq!((&answer["outcome"], &answer["state"]), (&"done".into(), &"reversed".into()));
    run.terminate();
    assert!(balances(&site).iter().all(|(_, minor)| *minor == 0));
}

/// What was typed wrong ends with 2; what is refused ends with 1, says why, and changes nothing.
#[test]
fn what_can_not_be_done_is_refused_with_its_reason() {
    let site = site();
    let other = "0".repeat(32);
    for (arguments, code, words) in [
        (&["reverse"][..], 2, "<FILES>"),
        (&["reverse", "a.ach", "b.ach", "--record", "1"], 2, "are of one file"),
        (&["reverse", "a.ach", "--record", "-1"], 2, "-1"),
        (&["reverse", "a.ach", "--records", "7..3"], 2, "expected two numbers"),
        (&["reverse", "a.ach", "--record", "1", "--records", "1..2"], 2, "cannot be used with"),
        (&["reverse", "a.ach", "--record", "30"], 1, "records 0 to 29"),
        (&["reverse", "a.ach", "--execute", "xyz"], 2, "32 hexadecimal digits"),
        (&["reverse", "a.ach", "--execute", &other], 1, "is not what would be done now"),
        (&["reverse", "none.ach"], 1, "no file is called none.ach"),
        (&["reverse", "c0ffee"], 1, "an id is named by its first 8 digits or more"),
        (&["replay", "a.ach", "--records", "1..2", "--from-byte", "4"], 2, "cannot be used with"),
        (&["replay", "a.ach", "--offsets", "1..2"], 2, "3:1200..1250"),
        (&["replay", "a.ach", "--offsets", "0:900..901"], 1, "has no event at offsets"),
        (&["replay", "a.ach", "--from-byte", "99999999"], 1, "ends behind byte"),
        (&["rejects", "resubmit", "a.ach"], 1, "nothing to resubmit"),
        (&["rejects", "resubmit", "a.ach", "3"], 1, "record 3 of a.ach was not rejected"),
        (&["accept", "none.ach"], 1, "no object is called none.ach"),
        (&["hold"], 2, "<FILE>"),
        (&["accounts", "freeze"], 2, "<ACCOUNT>"),
        (&["accounts", "freeze", "clearing:ach#1"], 2, "a house account"),
        (&["accounts", "freeze", "--number", "card:12"], 2, "8 to 19 digits"),
        (&["accounts", "unfreeze", "--number", "merchant:NOWHERE"], 1, "no account"),
        (&["accounts", "import"], 2, "<CSV>"),
        (&["accounts", "import", "none.csv"], 1, "none.csv: it can't be read"),
    ] {
        let run = site.batchless(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {run:?}");
        assert!(run.stderr.contains(words), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
    // These reach the owner, whose answer stays in the row.
    for (action, words) in [
        ("hold", "all of it is published"),
        ("release", "it is not held"),
        ("cancel", "`batchless reverse` undoes it"),
    ] {
        let run = ask(&site, &[action, "a.ach"]);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains(words), "{}", run.stderr);
        assert_eq!(run.objects()[0]["outcome"], "refused");
    }
    let row = site.file("a.ach").unwrap();
    assert_eq!((&row["state"], &row["reversed"]), (&"reconciled".into(), &0.into()));
    assert_eq!(row["answers"].as_array().unwrap().len(), 3);
}
