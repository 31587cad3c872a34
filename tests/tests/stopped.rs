//! Stopped at any moment and started again, it goes on where it was, and each record counts once.

use crate::sender::{Dice, Sent};
use crate::site::{Site, Working, wait_until};

/// Twelve good files of both formats, four of them again under other names, four bad ones.
fn twenty_files(seed: u64) -> (Vec<Sent>, Vec<Sent>) {
    let mut dice = Dice::new(seed);
    let mut good = Vec::new();
    for number in 0..6 {
        let (base, size) = (seed * 100 + number, 50 + dice.below(1_500));
        good.push(Sent::nacha(&format!("payments-{number}.ach"), base, size));
        good.push(Sent::ipm(&format!("cards-{number}.ipm"), base, size));
    }
    let torn = |sent: &Sent, name: &str| sent.cut(name, sent.bytes.len() / 2);
    let mut all = good.clone();
    all.extend([
        good[0].renamed("again-0.ach"),
        good[2].gzipped("again-1.ach.gz"),
        good[1].renamed("again-0.ipm"),
        good[3].gzipped("again-1.ipm.gz"),
        torn(&Sent::nacha("", seed * 100 + 50, 300), "torn.ach"),
        torn(&Sent::ipm("", seed * 100 + 50, 300), "torn.ipm"),
        Sent { feed: "ach", ..Sent::ipm("cards-among.ach", seed * 100 + 51, 100) },
        Sent { feed: "cards", name: "empty.ipm".to_owned(), bytes: Vec::new() },
    ]);
    dice.shuffle(&mut all);
    (good, all)
}

/// How many files are reconciled, as far as the names go.
fn reconciled(site: &Site) -> usize {
    site.states().iter().filter(|(_, state)| state == "reconciled").count()
}

/// Waits until each has come to an end: the good ones, or of twins one, are reconciled; a copy is
/// a duplicate; the rest is refused.
fn wait_until_all_ended(site: &Site, working: &Working, files: usize) {
    let ended = || {
        let states = site.states();
        let is_end = |state: &str| ["reconciled", "duplicate", "refused"].contains(&state);
        states.len() == files && states.iter().all(|(_, state)| is_end(state))
    };
    wait_until("all files are at an end", ended, || {
        format!("{:?}\n{}", site.states(), working.said())
    });
}

/// Twenty files in an order of chance while `run` goes on, which is stopped six times: three by
/// SIGTERM, three by kill -9, each when some more files are done and others are under way.
#[test]
fn twenty_files_in_any_order_while_it_is_stopped_and_started() {
    for seed in [1, 2] {
        let (good, mut waiting) = twenty_files(seed);
        let site = Site::new();
        let mut working = site.start();
        let mut dropped = Vec::new();
        for stop in 0..6 {
            let some = waiting.split_off(waiting.len() - 3);
            for sent in &some {
                site.drop_in(sent);
            }
            dropped.extend(some);
            // A copy that was dropped before its original stands for it.
            let names = |sent: &Sent| good.iter().any(|good| good.name == sent.name);
            let originals = dropped.iter().filter(|sent| names(sent)).count();
            let enough = originals.saturating_sub(2);
            wait_until(
                "some are done",
                || reconciled(&site) >= enough,
                || format!("{:?}\n{}", site.states(), working.said()),
            );
            if stop % 2 == 0 {
                working.terminate();
            } else {
                working.kill();
            }
            working = site.start();
        }
        for sent in &waiting {
            site.drop_in(sent);
        }
        wait_until_all_ended(&site, &working, 20);
        assert!(!working.said().contains("panicked"), "{}", working.said());
        working.terminate();
        assert_eq!(site.differences(&good), [] as [String; 0]);
        assert_eq!(reconciled(&site), good.len(), "{:?}", site.states());
        let verify = site.batchless(&["verify", "--data", "data"]);
        assert_eq!(verify.code, Some(0), "{}{}", verify.stdout, verify.stderr);
    }
}

/// A file of 100,000 records of each format, killed while it is verified, published at several
/// points, and applied.
#[test]
fn a_large_file_survives_being_killed_at_many_points() {
    let files = [Sent::nacha("large.ach", 61, 100_000), Sent::ipm("large.ipm", 61, 100_000)];
    let site = Site::with(&files);
    let mut under_way = 0;
    // At the first it is only just seen; the last is when all is published and some is applied.
    for published in [-1, 0, 10_000, 40_000, 70_000, 95_000, 100_000] {
        let working = site.start();
        let progress = || {
            let row = site.file("large.ach");
            row.map(|row| (row["state"].clone(), row["published"].as_i64().unwrap_or_default()))
        };
        let is_so = || progress().is_some_and(|(_, count)| count >= published);
        wait_until("it is so far", is_so, || working.said());
        working.kill();
        let state = progress().map(|(state, _)| state);
        under_way += usize::from(state != Some("reconciled".into()));
    }
    assert!(under_way >= 3, "killed {under_way} times before the end: too few to show anything");
    let working = site.start();
    wait_until_all_ended(&site, &working, files.len());
    assert!(!working.said().contains("panicked"), "{}", working.said());
    working.terminate();
    site.assert_whole(&files);
}
