//! What is set wrong is told in one sentence that names the setting, and ends with exit code 1.

use std::fs;

use super::cluster::{Cluster, Plan};

/// A setting that is wrong: what is changed, the command, and what must be named.
struct Case {
    what: &'static str,
    /// Lines of the configuration by their beginning, and what takes their place.
    lines: &'static [(&'static str, &'static str)],
    environment: &'static [(&'static str, &'static str)],
    command: &'static [&'static str],
    names: &'static [&'static str],
}

/// Where nobody listens.
const CASES: &[Case] = &[
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
        what: "another number of partitions",
        lines: &[("ledger.shards", "ledger.shards = 5")],
        environment: &[],
        command: &["process"],
        names: &["ledger.shards", "partitions"],
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
        lines: &[("location = \"s3://", "location = \"s3://no-such-bucket/ach\"")],
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

impl Case {
    /// Fails unless the command ends by itself, with 1, and names what it must in one sentence.
    fn assert_named(&self, cluster: &Cluster) {
        let path = cluster.path().join("batchless.toml");
        let text = fs::read_to_string(&path).unwrap();
        for (beginning, line) in self.lines {
            cluster.configure(beginning, &line.replace("POSTGRES", &cluster.postgres()));
        }
        let mut command = cluster.command(self.command);
        command.envs(self.environment.iter().copied());
        let run = cluster.ended(command);
        fs::write(path, text).unwrap();
        let errors: Vec<&str> = run.stderr.lines().filter(|it| !is_log(it)).collect();
        println!("{}: {}", self.what, errors.join("\n"));
        let is_named = self.names.iter().all(|name| errors.iter().any(|it| it.contains(name)));
        assert_eq!(
            (run.code, errors.len(), is_named),
            (Some(1), 1, true),
            "{}: {run:?}",
            self.what
        );
        assert!(!run.stderr.contains("not-this-one"), "{}: a secret is told", self.what);
    }
}

/// A line of the log begins with the time.
fn is_log(line: &str) -> bool {
    line.starts_with("20")
}

#[test]
fn what_is_set_wrong_is_named() {
    let _alone = super::alone();
    let cluster = Cluster::new(Plan { is_on_s3: true, ..Plan::shared() });
    for case in CASES {
        case.assert_named(&cluster);
    }
    println!("settings: {} wrong, {} named, exit code 1 each", CASES.len(), CASES.len());
}
