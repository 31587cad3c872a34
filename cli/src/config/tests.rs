//! What a file, the environment and flags may say, and how a slip is answered.

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
    assert_eq!((feed.name.as_str(), feed.folder.as_path()), ("ach-in", Path::new("inbox")));
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
        ("nacha", "natcha", "b.toml, line 9: format: expected one of nacha, ipm, found `natcha`"),
        (
            "[[feed]]",
            "[feed]",
            "b.toml, line 6: expected a feed as a table `[[feed]]`, found `[feed]`",
        ),
        (
            "\"inbox\"",
            "\"s3://b\"",
            "feed 1: location: s3:// is not supported yet; give a folder, as a path or as file:///…",
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
