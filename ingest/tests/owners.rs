//! Both owners of ingest over the memory log: from a dropped object to a reconciled file, with
//! every publish failing once in each of its ways.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "owners/house.rs"]
mod house;
#[path = "owners/shards.rs"]
mod shards;
#[path = "owners/commands.rs"]
mod commands;
#[path = "owners/leaving.rs"]
mod leaving;
#[path = "owners/headers.rs"]
mod headers;
#[path = "owners/controls.rs"]
mod controls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ingest::feed::Config;
use ingest::format::{Encoding, Framing, Side};
use ingest::roll::Roll;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::Topic;
use schemas::file::FileState;

use house::{Fault, House};

/// What became of each object, by its name.
fn states(roll: &Roll) -> BTreeMap<&str, String> {
    roll.arrivals.values().map(|row| (row.object.as_str(), row.state.to_string())).collect()
}

/// A NACHA file of one batch: credits and debits in turn, over a hundred accounts. `modifier` makes
/// its own identifier.
fn nacha(records: u64, modifier: char) -> Vec<u8> {
    let mut lines = vec![
        format!(
            "101 091000019 0910000192611220425{modifier}094101{:23}{:23}{:8}",
            "BANK", "BANK", ""
        ),
        format!(
            "5200{:16}{:20}1234567890PPD{:10}{:6}260722{:3}1091000010000001",
            "PAYROLL CO", "", "PAYROLL", "", ""
        ),
    ];
    let (mut debits, mut credits) = (0, 0);
    for entry in 0..records {
        let amount = 100 + entry % 1_000;
        let code = if entry % 2 == 0 { 22 } else { 27 };
        *(if code == 22 { &mut credits } else { &mut debits }) += amount;
        let account = format!("{}", 9_000_000_000 + entry % 100);
        let trace = format!("09100001{entry:07}");
        let name = "JANE DOE";
        lines.push(format!("6{code}091000019{account:17}{amount:010}{:15}{name:22}  0{trace}", ""));
    }
    let hash = (9_100_001 * records) % 10_000_000_000;
    let totals = format!("{hash:010}{debits:012}{credits:012}");
    lines.push(format!("8200{records:06}{totals}1234567890{:25}091000010000001", ""));
    let blocks = (lines.len() + 1).div_ceil(10);
    lines.push(format!("9000001{blocks:06}{records:08}{totals}{:39}", ""));
    while lines.len() % 10 != 0 {
        lines.push("9".repeat(94));
    }
    lines.iter().for_each(|line| assert_eq!(line.len(), 94, "{line}"));
    (lines.join("\n") + "\n").into_bytes()
}

#[tokio::test(start_paused = true)]
async fn every_publish_may_fail_in_any_way_and_each_record_is_there_once() {
    let large = nacha(25_000, 'A');
    let small = nacha(7, 'B');
    for fault in [Fault::Retry, Fault::Indefinite, Fault::Fenced] {
        for at in 1.. {
            let mut house = House::new(fault, at);
            house.put("large.ach", large.clone()).await;
            house.put("small.ach", small.clone()).await;
            house.start();
            let roll = house.settled().await;
            house.stop().await;
            for file in roll.files.values() {
                assert_eq!(file.state, FileState::RECONCILED, "{fault:?} at {at}: {file:?}");
            }
            assert_eq!(roll.files.len(), 2);
            let ids = house.ids(Topic::Records).await;
            let records = ids.iter().filter(|id| !id.contains("closed")).count();
            let unique: std::collections::BTreeSet<_> = ids.iter().collect();
            assert_eq!((records, unique.len()), (25_007, ids.len()), "{fault:?} at {at}");
            if house.log.left.load(Ordering::SeqCst) > 0 {
                // The control: there were so many publishes, and each of them has failed once.
                assert!(at > 8, "only {at} publishes");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_file_gets_its_answer_and_only_good_ones_are_published() {
    let good = nacha(30, 'A');
    let mut unbalanced = nacha(30, 'C');
    let at = unbalanced.len() - 950 + 30;
    unbalanced[at] ^= 1;
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", good.clone()).await;
    house.put("a-again.ach", good.clone()).await;
    house.put("b-same-identifier.ach", nacha(31, 'A')).await;
    house.put("c-unbalanced.ach", unbalanced).await;
    house.put("d-torn.ach", good[..good.len() / 2].to_vec()).await;
    house.put("e-garbage.ach", b"hello, bank".to_vec()).await;
    house.put("f-unfinished.ach.part", good.clone()).await;
    house.start();
    let roll = house.settled().await;
    let found = states(&roll);
    // Which of two equal ones is verified first is open: the other is the duplicate.
    let twins = [found["a.ach"].as_str(), found["a-again.ach"].as_str()];
    assert!(twins == ["verified", "duplicate"] || twins == ["duplicate", "verified"], "{twins:?}");
    let of_a = ["verified", "held"];
    assert!(of_a.contains(&found["b-same-identifier.ach"].as_str()), "{found:?}");
    for refused in ["c-unbalanced.ach", "d-torn.ach", "e-garbage.ach"] {
        assert_eq!(found[refused], "refused", "{refused}");
    }
    assert_eq!(found.len(), 6);
    let held = roll.files.values().filter(|file| file.state == FileState::HELD).count();
    assert_eq!((held, roll.files.len()), (1, 2), "one of two with the same identifier is held");
    let published: i64 = roll.files.values().map(|file| file.checkpoint.published).sum();
    let ids = house.ids(Topic::Records).await;
    let records = ids.iter().filter(|id| !id.contains("closed")).count();
    assert_eq!(i64::try_from(records).unwrap(), published);

    // Nothing changes by looking again, also after a restart.
    house.stop().await;
    house.start();
    house.put("g.ach", good).await;
    let roll = house.settled().await;
    assert_eq!(states(&roll)["g.ach"], "duplicate");
    assert_eq!(house.ids(Topic::Records).await, ids);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_whose_object_is_gone_fails_and_goes_on_under_any_name() {
    let bytes = nacha(30, 'A');
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", bytes.clone()).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.store.delete(&Path::from("a.ach")).await.unwrap();
    house.start_publishing();
    let failed = |roll: &Roll| roll.files.values().any(|file| file.state == FileState::FAILED);
    let roll = house.until(failed).await;
    let reason = roll.files.values().next().unwrap().reason.as_ref().unwrap().to_string();
    assert!(reason.contains("object gone") && reason.contains("same bytes"), "{reason}");
    assert_eq!(house.ids(Topic::Records).await.len(), 0);

    house.put("other-name.ach", bytes).await;
    let done = |roll: &Roll| roll.files.values().all(|file| file.state == FileState::RECONCILED);
    house.until(done).await;
    house.stop().await;
}

/// Another feed's object is none that a failed file may go on with: it stays a duplicate, and a run
/// that is to end does.
#[tokio::test(start_paused = true)]
async fn bytes_of_another_feed_do_not_keep_a_failed_file_waiting() {
    let bytes = nacha(30, 'A');
    let mut house = House::new(Fault::Retry, 0);
    let (bucket, other) = ingest::bucket::Bucket::memory();
    let mut config = Config::clone(&house.config);
    let name = "other".to_owned();
    config.feeds.push(ingest::feed::Feed { name, bucket, ..config.feeds[0].clone() });
    house.config = config.into();
    house.put("a.ach", bytes.clone()).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    other.put(&Path::from("b.ach"), bytes.into()).await.unwrap();
    house.until(|roll| states(roll).get("b.ach").is_some_and(|state| state == "duplicate")).await;
    house.store.delete(&Path::from("a.ach")).await.unwrap();
    house.start_publishing();
    let failed = |roll: &Roll| roll.files.values().any(|file| file.state == FileState::FAILED);
    let seen = |roll: &Roll| {
        let row = roll.arrivals.values().find(|row| row.object == "b.ach");
        row.map(|row| row.updated_at)
    };
    let before = seen(&house.until(failed).await);
    let settled = tokio::time::timeout(std::time::Duration::from_secs(600), house.settled()).await;
    assert!(settled.is_ok(), "a run that is to end would not");
    // Thirty looks later nobody has looked at its bytes again.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(seen(&house.until(failed).await), before);
    house.stop().await;
}

/// What the former owner of the feed sent is not to be seen at first: the next one waits for it, or
/// it would take a file of the same identifier for the first.
#[tokio::test(start_paused = true)]
async fn what_was_sent_is_known_before_anything_else_is_decided() {
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", nacha(30, 'A')).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.stop().await;
    house.log.hides_commands.store(40, Ordering::SeqCst);
    house.put("b.ach", nacha(31, 'A')).await;
    house.start_watching();
    let roll = house.until(|roll| states(roll).get("b.ach").is_some_and(|b| b != "seen")).await;
    assert_eq!(house.log.hides_commands.load(Ordering::SeqCst), 0, "{roll:?}");
    house.until(|roll| states(roll).get("b.ach").is_some_and(|state| state == "held")).await;
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_is_published_only_under_the_settings_that_it_was_verified_under() {
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", nacha(30, 'A')).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.stop().await;

    let original = Arc::clone(&house.config);
    let mut changed = Config::clone(&original);
    changed.feeds[0].settings.side = Side::Acquirer;
    house.config = Arc::new(changed);
    house.start_publishing();
    let held = |roll: &Roll| roll.files.values().any(|file| file.state == FileState::HELD);
    let roll = house.until(held).await;
    let reason = roll.files.values().next().unwrap().reason.as_ref().unwrap().to_string();
    assert!(reason.starts_with("settings changed"), "{reason}");
    house.stop().await;
    assert_eq!(house.ids(Topic::Records).await.len(), 0);

    // A run that is to end does not take it for ended: under these settings it goes on by itself.
    house.config = original;
    house.start_publishing();
    let roll = house.settled().await;
    assert!(roll.files.values().all(|file| file.state == FileState::RECONCILED));
    house.stop().await;
}

/// The messages of an IPM file whose own identifier is this number's, without their terminator.
fn ipm(file_number: u32, records: u64) -> Vec<u8> {
    let plan = ingest::generate::Plan {
        format: "ipm".to_owned(),
        encoding: Encoding::Ascii,
        framing: Framing::Vbs,
        records,
        accounts: 5,
        seed: 1,
        bad_per_million: 0,
        file_number,
        date: schemas::Date::new(2026, 7, 22).unwrap(),
    };
    let mut bytes = Vec::new();
    ingest::generate::generate(&plan, &mut bytes).unwrap();
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// An object of two logical files bears two identifiers: whichever comes again alone, or behind
/// one that is new, is not posted twice.
#[tokio::test(start_paused = true)]
async fn a_file_is_held_where_any_of_its_identifiers_came_before() {
    let mut house = House::new(Fault::Retry, 0);
    let mut config = Config::clone(&house.config);
    config.feeds[0].settings.format = "ipm".to_owned();
    house.config = Arc::new(config);
    let ended = |files: &[Vec<u8>]| [files.concat(), vec![0; 4]].concat();
    house.put("a-both.ipm", ended(&[ipm(1, 5), ipm(2, 5)])).await;
    house.start();
    house.settled().await;
    house.put("b-second.ipm", ended(&[ipm(2, 5)])).await;
    house.settled().await;
    house.stop().await;
    house.start();
    house.put("c-new-and-second.ipm", ended(&[ipm(3, 5), ipm(2, 5)])).await;
    house.put("d-new.ipm", ended(&[ipm(4, 5)])).await;
    let roll = house.settled().await;
    house.stop().await;
    let found = states(&roll);
    assert_eq!(
        ["a-both.ipm", "b-second.ipm", "c-new-and-second.ipm", "d-new.ipm"].map(|key| &found[key]),
        ["verified", "held", "held", "verified"]
    );
    for row in roll.arrivals.values().filter(|row| row.state.as_str() == "held") {
        let reason = row.reason.as_ref().unwrap().to_string();
        assert!(reason.contains("found `0022607220000001294000002`, as in file "), "{reason}");
    }
    let records = house.ids(Topic::Records).await;
    assert_eq!(records.iter().filter(|id| !id.contains("closed")).count(), 15);
}

/// The sender puts the same bytes again, under the same name, while the file is under way: what was
/// a duplicate then has what the file misses.
#[tokio::test(start_paused = true)]
async fn bytes_delivered_again_in_flight_let_the_file_go_on() {
    let bytes = nacha(30, 'A');
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", bytes.clone()).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.put("a.ach", bytes).await;
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "duplicate")).await;
    // The version that was verified is gone, and the one that is there was a duplicate.
    house.start_publishing();
    let done = |roll: &Roll| roll.files.values().any(|file| file.state == FileState::RECONCILED);
    house.until(done).await;
    house.stop().await;
    assert_eq!(house.ids(Topic::Records).await.len(), 30 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_serial_feed_sends_in_order_and_lets_in_what_its_failed_file_misses() {
    let first = nacha(30, 'A');
    let mut house = House::new(Fault::Retry, 0);
    let mut config = Config::clone(&house.config);
    config.feeds[0].serial = true;
    house.config = Arc::new(config);
    house.put("day-1.ach", first.clone()).await;
    house.put("day-2.ach", nacha(5, 'B')).await;
    house.start_watching();
    let seen = |roll: &Roll| states(roll).get("day-1.ach").is_some_and(|state| state == "verified");
    house.until(seen).await;
    house.store.delete(&Path::from("day-1.ach")).await.unwrap();
    house.start_publishing();
    house.until(|roll| roll.files.values().any(|file| file.state == FileState::FAILED)).await;
    house.put("day-1-again.ach", first).await;
    let done = |roll: &Roll| {
        roll.files.len() == 2 && roll.files.values().all(|file| file.state == FileState::RECONCILED)
    };
    let roll = house.until(done).await;
    house.stop().await;
    let ended = |name: &str| {
        let file = roll.files.values().find(|file| file.object == name).unwrap();
        (file.arrived_at, file.updated_at)
    };
    let (day_1, day_2) = (ended("day-1-again.ach"), ended("day-2.ach"));
    assert!(day_1.1 < day_2.0, "the second is sent after the first has ended: {day_1:?} {day_2:?}");
}
