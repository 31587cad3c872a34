//! The main job on real engines: files in a bucket become balances, as they do on a laptop.

use std::fs;

use super::cluster::{Cluster, KEY, Plan};
use super::evidence::judge;
use super::state::State;
use crate::main_job::every_kind;
use crate::sender::Sent;
use crate::site::Site;

/// A cluster whose inboxes are in a bucket.
fn cluster() -> Cluster {
    Cluster::new(Plan { is_on_s3: true, ..Plan::shared() })
}

/// All files at once: every one is reconciled, `verify` finds nothing, and the audit by a
/// subscriber that is not ours agrees with what the files say.
#[test]
fn files_in_a_bucket_become_balances() {
    let _alone = super::alone();
    for seed in 1..=3 {
        let cluster = cluster();
        let observer = cluster.observer();
        let files = every_kind(seed);
        files.iter().for_each(|sent| cluster.drop_in(sent));
        let run = cluster.batchless(&["run", "--once"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let checks = cluster.assert_verified();
        let observed = observer.end();
        let messages = observed.messages;
        let report = judge(&cluster, &files, observed);
        assert!(report.is_clean(), "{:#?}", report.told);
        println!(
            "main job on engines: {} files from S3; {report}; {checks} checks, {messages} messages \
             read and decoded",
            files.len()
        );
    }
}

/// A laptop with the same ledger and key.
fn laptop(cluster: &Cluster) -> Site {
    let site = Site::new();
    let key: String = KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(site.path().join("ledger.key"), key).unwrap();
    let (name, shards) = (&cluster.name, cluster.plan.shards);
    let lines = format!(
        "data = \"data\"\nledger.name = \"{name}\"\nledger.shards = {shards}\n\
         ledger.file_partitions = 2\nledger.key_file = \"ledger.key\"\n"
    );
    site.configure("data = \"data\"\n", &lines);
    site
}

/// One file after the other, so that there is only one order: not an outcome and not a balance is
/// another on the engines than on a laptop.
#[test]
fn the_engines_and_a_laptop_come_to_the_same() {
    let _alone = super::alone();
    let cluster = cluster();
    let site = laptop(&cluster);
    let files = every_kind(5);
    for sent in &files {
        cluster.drop_in(sent);
        site.drop_in(sent);
        for run in [cluster.batchless(&["run", "--once"]), site.once()] {
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        }
    }
    let (on_engines, on_laptop) = (State::of_cluster(&cluster), State::of_site(&site));
    assert_eq!(on_engines.differences(&on_laptop), [] as [String; 0]);
    assert_eq!(on_engines.digest(), on_laptop.digest());
    assert_eq!(accounts(&cluster.list("accounts")), accounts(&site.list("accounts")));
    println!(
        "same digest: {} outcomes and {} rows on the engines and embedded, {}",
        on_engines.outcomes,
        on_engines.lines.len() - on_engines.outcomes,
        on_engines.digest()
    );

    // The control: one file more is another digest.
    let more = Sent::nacha("one-more.ach", 99, 1);
    site.drop_in(&more);
    assert_eq!(site.once().code, Some(0));
    assert_ne!(on_engines.digest(), State::of_site(&site).digest());
}

fn accounts(rows: &[serde_json::Value]) -> Vec<String> {
    let mut lines: Vec<String> = rows.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}
