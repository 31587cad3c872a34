//! What is set wrong is told in one sentence that names the setting, and ends with exit code 1.

use std::fs;

use super::cluster::{Cluster, Plan};
use crate::batchless::Run;

/// A setting that is wrong: what is changed, the command, and what must be named.
pub(crate) struct Case<'a> {
    pub(crate) what: &'a str,
    /// Lines of the configuration by their beginning, and what takes their place.
    pub(crate) lines: &'a [(&'a str, &'a str)],
    pub(crate) environment: &'a [(&'a str, &'a str)],
    pub(crate) command: &'a [&'a str],
    pub(crate) names: &'a [&'a str],
}

/// Where nobody listens.
const CASES: &[Case<'_>] = &[
    // Before there is a ledger: later its own number of shards is what counts.
    Case {
        what: "another number of partitions",
        lines: &[("ledger.shards", "ledger.shards = 5")],
        environment: &[],
        command: &["process"],
        names: &["ledger.shards"],
    },
    Case {
        what: "the store's password",
        lines: &[],
        environment: &[("BATCHLESS_STORE_PASSWORD", "not-this-one")],
        command: &["process"],
        names: &["store.password"],
    },
    Case {
        what: "the store's port",
        lines: &[("store.location", "store.location = \"postgres://batchless@127.0.0.1:9/any\"")],
        environment: &[],
        command: &["process"],
        names: &["store.location"],
    },
    Case {
        what: "the store's host",
        lines: &[(
            "store.location",
            "store.location = \"postgres://batchless@nowhere.invalid:5432/any\"\nstore.allow_clear = true",
        )],
        environment: &[],
        command: &["process"],
        names: &["store.location"],
    },
    Case {
        what: "the store's database",
        lines: &[(
            "store.location",
            "store.location = \"postgres://batchless@POSTGRES/no_such_database\"",
        )],
        environment: &[],
        command: &["process"],
        names: &["store.location"],
    },
    Case {
        what: "TLS to a store without",
        lines: &[("ledger.file_partitions", "ledger.file_partitions = 2\nstore.tls = true")],
        environment: &[],
        command: &["process"],
        names: &["store.tls"],
    },
    Case {
        what: "the broker's port",
        lines: &[("topics.location", "topics.location = \"kafka://127.0.0.1:9\"")],
        environment: &[],
        command: &["process"],
        names: &["topics.location"],
    },
    Case {
        what: "the broker's host",
        lines: &[(
            "topics.location",
            "topics.location = \"kafka://nowhere.invalid:9092\"\ntopics.allow_clear = true",
        )],
        environment: &[],
        command: &["process"],
        names: &["topics.location"],
    },
    Case {
        what: "TLS to a broker without",
        lines: &[("ledger.file_partitions", "ledger.file_partitions = 2\ntopics.tls = true")],
        environment: &[],
        command: &["process"],
        names: &["topics.tls"],
    },
    Case {
        what: "the registry's port",
        lines: &[("topics.registry", "topics.registry = \"http://127.0.0.1:9/apis\"")],
        environment: &[],
        command: &["process"],
        names: &["topics.registry"],
    },
    Case {
        what: "a prefix without topics",
        lines: &[("topics.prefix", "topics.prefix = \"nobody.\"")],
        environment: &[],
        command: &["process"],
        names: &["topics create", "nobody."],
    },
    Case {
        what: "a bucket that is not there",
        lines: &[(
            "encoding = \"cp500\"",
            "encoding = \"cp500\"\n[[feed]]\nname = \"more\"\nformat = \"nacha\"\n\
             location = \"s3://no-such-bucket/more\"",
        )],
        environment: &[],
        command: &["watch"],
        names: &["location", "no-such-bucket"],
    },
    Case {
        what: "the key of the bucket",
        lines: &[],
        environment: &[("AWS_SECRET_ACCESS_KEY", "not-this-one")],
        command: &["watch"],
        names: &["AWS_SECRET_ACCESS_KEY"],
    },
];

impl Case<'_> {
    /// What is not as it must be, if anything: the command ends by itself, with 1, and names what
    /// it must in one sentence.
    pub(crate) fn off(&self, cluster: &Cluster) -> Option<String> {
        let path = cluster.path().join("batchless.toml");
        let text = fs::read_to_string(&path).unwrap();
        for (beginning, line) in self.lines {
            cluster.configure(beginning, &line.replace("POSTGRES", &cluster.postgres()));
        }
        let mut command = cluster.command(self.command);
        command.envs(self.environment.iter().copied());
        let run = cluster.ended(command);
        fs::write(path, text).unwrap();
        off(self.what, &run, self.names)
    }
}

/// What is off with how a run has ended: it must be with 1, and these be named in one sentence.
pub(crate) fn off(what: &str, run: &Run, names: &[&str]) -> Option<String> {
    let errors: Vec<&str> = run.stderr.lines().filter(|it| !is_log(it)).collect();
    let told = errors.join("\n");
    println!("{what}: {told}");
    assert!(!run.stderr.contains("not-this-one"), "{what}: a secret is told");
    let is_named = names.iter().all(|name| told.contains(name));
    let is_off = (run.code, errors.len(), is_named) != (Some(1), 1, true);
    is_off.then(|| format!("{what}: {:?}, {names:?} in {told}", run.code))
}

/// A line of the log begins with the time.
fn is_log(line: &str) -> bool {
    line.starts_with("20")
}

#[test]
fn what_is_set_wrong_is_named() {
    let cluster = Cluster::new(Plan { is_on_s3: true, ..Plan::shared() });
    let off: Vec<String> = CASES.iter().filter_map(|case| case.off(&cluster)).collect();
    assert!(off.is_empty(), "{off:#?}");
    println!("settings: {} wrong, {} named, exit code 1 each", CASES.len(), CASES.len());
}
