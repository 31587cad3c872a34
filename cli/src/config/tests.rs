//! What a file, the environment and flags may say, and how a slip is answered.

use std::path::Path;

use super::*;

const GOOD: &str = "\
data = \"d\"

[ledger]
shards = 8

[[feed]]
name = \"ach-in\"
location = \"inbox\"
format = \"nacha\"
";

fn config(text: &str) -> anyhow::Result<Config> {
    Config::new(Said::from_file("b.toml", text)?)
}

#[test]
fn a_file_says_what_differs_from_the_defaults() {
    let config = config(GOOD).unwrap();
    assert_eq!(config.data, Path::new("d"));
    assert_eq!(config.ledger.shards, (8, true));
    assert_eq!(config.ledger.name, ("main".to_owned(), false));
    let [feed] = config.feeds.as_slice() else { panic!("one feed") };
    assert_eq!((feed.name.as_str(), &feed.place), ("ach-in", &Place::Folder("inbox".into())));
    assert_eq!((feed.encoding.as_str(), feed.look_every_ms), ("ascii", 500));
}

#[test]
fn a_slip_is_answered_with_its_line_and_what_was_meant() {
    for (from, to, expected) in [
        (
            "shards",
            "shrads",
            "b.toml, line 4: unknown key `ledger.shrads`; did you mean `ledger.shards`?",
        ),
        ("format", "fromat", "b.toml, line 9: unknown key `fromat`; did you mean `format`?"),
        (
            "[ledger]",
            "[leger]",
            "b.toml, line 3: unknown key `leger`; see `batchless config schema`",
        ),
        ("data", "colour", "b.toml, line 1: unknown key `colour`; see `batchless config schema`"),
        (
            "8",
            "0",
            "b.toml, line 4: ledger.shards: expected a whole number from 1 to 1024, found `0`",
        ),
        ("8", "\"8\"", "b.toml, line 4: ledger.shards: expected a value without quotation marks"),
        (
            "8",
            "1.5",
            "b.toml, line 4: ledger.shards: expected a whole number from 1 to 1024, found a value of type float",
        ),
        ("nacha", "natcha", "b.toml, line 9: format: expected one of nacha, ipm, cnab240"),
        (
            "format = \"nacha\"",
            "",
            "feed ach-in: format is missing; give it a value, or name a layout",
        ),
        (
            "\"nacha\"",
            "\"nacha\"\nlayout = \"no.toml\"",
            "feed ach-in: b.toml, line 10: layout: it stands in place of a format; leave out the format",
        ),
        (
            "format = \"nacha\"",
            "layout = \"/nowhere/no.toml\"",
            "feed ach-in: b.toml, line 9: layout: /nowhere/no.toml can't be read: No such file",
        ),
        (
            "[[feed]]",
            "[feed]",
            "b.toml, line 6: expected a feed as a table `[[feed]]`, found `[feed]`",
        ),
        (
            "\"inbox\"",
            "\"ftp://b\"",
            "feed ach-in: location: expected a folder, as a path or as file:///…, or s3://BUCKET/PREFIX, found ftp://",
        ),
        (
            "\"inbox\"",
            "\"inbox\"\nafter = \"archive\"",
            "feed ach-in: archive_to is missing; say where `after` moves objects to",
        ),
        (
            "\"inbox\"",
            "\"inbox\"\narchive_to = \"done\"",
            "feed ach-in: archive_to: it is of no use without after = \"archive\"",
        ),
        ("name = \"ach-in\"\n", "", "feed 1: name is missing; give it a value"),
        ("data =", "data", "b.toml, line 1: "),
    ] {
        let error = config(&GOOD.replacen(from, to, 1)).map(drop).unwrap_err();
        let found = format!("{error:#}");
        assert!(found.starts_with(expected), "{to}: {found}");
    }
}

#[test]
fn the_environment_overrides_the_file_and_is_held_to_the_same_table() {
    let with = |name: &str, value: &str| {
        let mut said = Said::from_file("b.toml", GOOD).unwrap();
        said.take_environment([(name.to_owned(), value.to_owned())])?;
        Config::new(said)
    };
    assert_eq!(with("BATCHLESS_LEDGER_SHARDS", "64").unwrap().ledger.shards, (64, true));
    assert_eq!(
        with("BATCHLESS_FEED_ACH_IN_LOOK_EVERY_MS", "10").unwrap().feeds[0].look_every_ms,
        10
    );
    assert_eq!(with("HOME", "/root").unwrap().ledger.shards, (8, true));
    for (name, value, expected) in [
        ("BATCHLESS_LEDGER_SHRADS", "1", "did you mean BATCHLESS_LEDGER_SHARDS?"),
        (
            "BATCHLESS_LEDGER_SHARDS",
            "x",
            "environment BATCHLESS_LEDGER_SHARDS: ledger.shards: expected",
        ),
        ("BATCHLESS_FEED_OTHER_SERIAL", "true", "no such key"),
    ] {
        let found = format!("{:#}", with(name, value).map(drop).unwrap_err());
        assert!(found.contains(expected), "{name}: {found}");
    }
}

#[test]
fn what_is_kept_reads_back_as_what_it_was() {
    let first = config(GOOD).unwrap();
    let again = config(&first.to_toml(false)).unwrap();
    assert_eq!(again.feeds, first.feeds);
    assert_eq!(again.data, first.data);
    assert_eq!(again.to_toml(false), first.to_toml(false));
}

/// A layout's page is not taken for a default when what is kept is read again.
#[test]
fn a_layout_keeps_its_page() {
    for (format, page) in [("base2_itf", "cp500"), ("adyen_settlement", "latin1")] {
        let said = config(&GOOD.replace("nacha", format)).unwrap();
        let kept = config(&said.to_toml(false)).unwrap();
        let found = [&said, &kept].map(|config| config.feeds[0].encoding.clone());
        assert_eq!(found, [page, page], "{format}");
    }
}

#[test]
fn two_feeds_of_one_name_are_refused() {
    let feed = &GOOD[GOOD.find("[[feed]]").unwrap()..];
    let found = format!("{:#}", config(&format!("{GOOD}\n{feed}")).map(drop).unwrap_err());
    assert!(found.contains("two feeds are called ach-in"), "{found}");
}

#[test]
fn the_schema_is_a_file_of_its_own_defaults() {
    let said = Said::from_file("schema", &schema()).unwrap();
    for key in KEYS {
        let found = said.whole.get(key).map(|value| value.text);
        assert_eq!(found.as_deref(), key.default, "{}", key.name);
    }
    assert_eq!(said.feeds.len(), 1);
}

/// What a server's configuration may say, and the setting that is named where it may not.
#[test]
fn a_location_is_taken_apart_and_a_slip_is_named_by_its_key() {
    let kafka = |lines: &str| config(&format!("[topics]\nlocation = \"kafka://{lines}\n"));
    let TopicsConfig::Kafka(found) = kafka("localhost:9092,127.0.0.1:9093\"").unwrap().topics
    else {
        panic!("expected Kafka")
    };
    assert_eq!(found.brokers, "localhost:9092,127.0.0.1:9093");
    assert_eq!((found.prefix.as_str(), found.tls, found.registry), ("batchless.", false, None));
    for (lines, expected) in [
        ("localhost\"", "topics.location: expected kafka://HOST:PORT"),
        ("me:secret@localhost:9092\"", "topics.location: expected kafka://HOST:PORT"),
        ("kafka.bank:9092\"", "topics.location: kafka.bank is beyond this machine"),
        ("localhost:9092,10.0.0.1:9092\"", "topics.location: 10.0.0.1 is beyond this machine"),
        ("localhost:9092\"\nsasl = \"PLAIN\"", "topics.sasl and topics.user: give both"),
        ("localhost:9092\"\ntls_key_file = \"k\"", "topics.tls_certificate_file and"),
        ("localhost:9092\"\nregistry = \"localhost\"", "topics.registry: expected http://"),
        ("localhost:9092\"\nregistry = \"http://r/\"", "topics.registry: r is beyond"),
        (
            "localhost:9092\"\nregistry = \"http://u:secret@localhost/\"",
            "topics.registry: expected",
        ),
    ] {
        let found = format!("{:#}", kafka(lines).map(drop).unwrap_err());
        assert!(found.starts_with(expected), "{lines}: {found}");
        assert!(!found.contains("secret"), "{found}");
    }
    for lines in [
        "kafka.bank:9092\"\ntls = true",
        "kafka.bank:9092\"\nallow_clear = true\nregistry = \"http://registry:8081\"",
        "kafka.bank:9092\"\ntls = true\nregistry = \"https://registry\"",
    ] {
        assert!(kafka(lines).is_ok(), "{lines}");
    }
    let store = |lines: &str| config(&format!("[store]\nlocation = \"{lines}\n"));
    let StoreConfig::Postgres(found) = store("postgres://me@localhost/bank\"").unwrap().store
    else {
        panic!("expected PostgreSQL")
    };
    assert_eq!((found.user.as_str(), found.port, found.tls.is_some()), ("me", 5432, false));
    for (lines, expected) in [
        ("sqlite://x\"", "store.location: "),
        ("postgres://me:secret@localhost/bank\"", "store.location: expected postgres://"),
        ("postgres://me@db.bank/bank\"", "store.location: db.bank is beyond this machine"),
    ] {
        let found = format!("{:#}", store(lines).map(drop).unwrap_err());
        assert!(found.starts_with(expected), "{lines}: {found}");
        assert!(!found.contains("secret"), "{found}");
    }
    assert!(store("postgres://me@db.bank/bank\"\ntls = true").is_ok());
    assert!(store("postgres://me@db.bank/bank\"\nallow_clear = true").is_ok());
}

#[test]
fn a_secret_comes_from_a_file_or_the_environment_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "of the file\n").unwrap();
    let text = format!("[store]\npassword_file = \"{}\"\n", file.display());
    let mut said = Said::from_file("b.toml", &text).unwrap();
    let reveal = |config: &Config| {
        config.secret("store.password").unwrap().map(|secret| secret.reveal().to_owned())
    };
    assert_eq!(reveal(&Config::new(said.clone()).unwrap()).as_deref(), Some("of the file"));
    let variable = ("BATCHLESS_STORE_PASSWORD".to_owned(), "of the environment".to_owned());
    said.take_environment([variable]).unwrap();
    let config = Config::new(said).unwrap();
    assert_eq!(reveal(&config).as_deref(), Some("of the environment"));
    for shown in [config.to_toml(true), config.to_toml(false), format!("{config:?}")] {
        assert!(!shown.contains("of the environment"), "{shown}");
    }
    assert!(config.to_toml(true).contains("# password = ****  # environment BATCHLESS_STORE"));

    for (line, expected) in [
        (
            "[store]\npassword = \"x\"",
            "b.toml, line 2: store.password: a secret does not stand here",
        ),
        ("ledger.key = \"x\"", "b.toml, line 1: ledger.key: a secret does not stand here"),
    ] {
        let found = format!("{:#}", Said::from_file("b.toml", line).unwrap_err());
        assert!(found.starts_with(expected), "{found}");
    }
}

const COMPOSE: &str = include_str!("../../../docker-compose.yml");
const ENGINES: &str = include_str!("../../../engines/batchless.toml");

/// The variables that docker-compose.yml sets for us: a line each, `NAME: value`, where a secret is
/// taken from the environment.
fn composed() -> Vec<(String, String)> {
    let variable = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        let is_ours = name.starts_with("BATCHLESS_") || name.starts_with("AWS_");
        let value = value.trim_matches('"');
        let secret = value.strip_prefix("${").map(|_| "f".repeat(64));
        is_ours.then(|| (name.to_owned(), secret.unwrap_or_else(|| value.to_owned())))
    };
    COMPOSE.lines().filter_map(variable).collect()
}

/// The README, the scripts and compose speak of one configuration, and nothing that compose says
/// beside it is unknown to us or would be refused at the start.
#[test]
fn compose_runs_the_configuration_of_the_readme() {
    let readme = include_str!("../../../README.md");
    assert!(readme.contains(&format!("```toml\n{ENGINES}```\n")), "README.md has another one");
    assert!(COMPOSE.contains("- ./engines/batchless.toml:/etc/batchless/batchless.toml:ro\n"));

    let alone = Config::new(Said::from_file("batchless.toml", ENGINES).unwrap()).unwrap();
    assert!(!alone.needs_data(), "{alone:?}");
    let variables = composed();
    let told = |name: &str| {
        let found = variables.iter().find(|(it, _)| it == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(told("BATCHLESS_CONFIG"), Some("/etc/batchless/batchless.toml"));
    let mut said = Said::from_file("batchless.toml", ENGINES).unwrap();
    said.take_environment(variables.clone()).unwrap();
    let config = Config::new(said).unwrap();
    let (TopicsConfig::Kafka(kafka), StoreConfig::Postgres(store)) =
        (&config.topics, &config.store)
    else {
        panic!("expected servers: {config:?}")
    };
    assert!(crate::data::configured_key(&config).unwrap().is_some());
    assert!(config.secret("store.password").unwrap().is_some());
    // Each host is a service of that name.
    let (registry, _) = kafka.registry.as_ref().unwrap();
    let s3 = told("AWS_ENDPOINT_URL").unwrap();
    for host in [
        kafka.brokers.split(':').next().unwrap(),
        registry.trim_start_matches("http://").split(':').next().unwrap(),
        store.host.as_str(),
        s3.trim_start_matches("http://").split(':').next().unwrap(),
    ] {
        assert!(COMPOSE.contains(&format!("\n  {host}:\n    image: ")), "no service {host}");
    }
    for feed in &config.feeds {
        let Place::S3 { bucket, prefix } = &feed.place else { panic!("expected S3: {feed:?}") };
        assert!(COMPOSE.contains(&format!("/data/buckets/{bucket} ")), "no bucket {bucket}");
        ingest::bucket::Bucket::s3(bucket, prefix, variables.clone()).unwrap();
    }
}
