//! Every key of the configuration, in one table: what it is, what it may be, what it is otherwise.
//!
//! The file, the environment and the flags all go through it, and so does `config schema`.

use ingest::format::{Encoding, Framing, Posted, Side, names};

/// What a key may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text but an empty one.
    Text,
    /// A name: letters, digits, `-`, `_` and `.`, at most 64.
    Name,
    /// A path; a relative one is taken from the working directory.
    Path,
    /// A path; a relative one is taken from the folder of the configuration file.
    Beside,
    /// A whole number from the first to the second, both included.
    Number(u64, u64),
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Words(&'static [&'static str]),
    /// The name of a format.
    Format,
    /// What nobody else may know: never in a file of the configuration, never printed, never kept.
    Secret,
}

/// A key: everything that is known about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Its name, with a dot between the section and the rest.
    pub(crate) name: &'static str,
    /// What it may be.
    pub(crate) kind: Kind,
    /// What it is where nobody says; none where somebody must, or where it may be left out.
    pub(crate) default: Option<&'static str>,
    /// What it does.
    pub(crate) meaning: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    meaning: &'static str,
) -> Key {
    Key { name, kind, default, meaning }
}

/// The keys of the whole.
pub(crate) const KEYS: &[Key] = &[
    key(
        "data",
        Kind::Path,
        Some("data"),
        "the data directory, where log or store is embedded: those, the key and this configuration",
    ),
    key(
        "ledger.name",
        Kind::Name,
        Some("main"),
        "the ledger's name, part of every file's id; fixed when the ledger is made",
    ),
    key(
        "ledger.shards",
        Kind::Number(1, 1024),
        Some("16"),
        "how many shards the accounts are spread over; fixed when the ledger is made",
    ),
    key(
        "ledger.file_partitions",
        Kind::Number(1, 64),
        Some("4"),
        "how many owners of files there may be; fixed when the ledger is made",
    ),
    key(
        "ledger.key_file",
        Kind::Path,
        None,
        "the file with the ledger's key, 64 hexadecimal digits; needed where log or store is a server, otherwise `key` in the data directory, drawn when that is made",
    ),
    key("ledger.key", Kind::Secret, None, "the ledger's key itself"),
    key(
        "topics.location",
        Kind::Text,
        Some("embedded"),
        "where the topics are: embedded, or kafka://HOST:PORT,HOST:PORT",
    ),
    key(
        "topics.prefix",
        Kind::Name,
        Some("batchless."),
        "stands before the names of topics, groups and writers on Kafka",
    ),
    key(
        "topics.registry",
        Kind::Text,
        None,
        "the schema registry (http:// or https://, the path of Confluent's API included); otherwise events have the fixed ids of the built-in schemas",
    ),
    key("topics.registry_user", Kind::Text, None, "the user of the registry"),
    key("topics.registry_password_file", Kind::Path, None, "the file with that user's password"),
    key("topics.registry_password", Kind::Secret, None, "that password itself"),
    key("topics.tls", Kind::Flag, Some("false"), "whether Kafka is spoken to through TLS"),
    key(
        "topics.tls_ca_file",
        Kind::Path,
        None,
        "the certificates (PEM) of whoever vouches for Kafka and for the registry; otherwise those that the system trusts",
    ),
    key(
        "topics.tls_certificate_file",
        Kind::Path,
        None,
        "our own certificate (PEM), where Kafka asks for one",
    ),
    key("topics.tls_key_file", Kind::Path, None, "the key (PEM) of our own certificate"),
    key(
        "topics.sasl",
        Kind::Words(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]),
        None,
        "how `topics.user` signs in to Kafka; otherwise nobody signs in",
    ),
    key("topics.user", Kind::Text, None, "the user of Kafka"),
    key("topics.password_file", Kind::Path, None, "the file with that user's password"),
    key("topics.password", Kind::Secret, None, "that password itself"),
    key(
        "topics.allow_clear",
        Kind::Flag,
        Some("false"),
        "whether Kafka and the registry may be spoken to without TLS beyond this machine",
    ),
    key(
        "topics.replication",
        Kind::Number(1, 15),
        None,
        "how many copies `topics create` asks for; otherwise as the broker has it",
    ),
    key(
        "topics.retention_days",
        Kind::Number(1, 36_500),
        None,
        "how long records and rejects are kept; otherwise for ever",
    ),
    key(
        "topics.session_timeout_ms",
        Kind::Number(1_000, 1_800_000),
        Some("10000"),
        "after how long without a word its work is given to other processes",
    ),
    key(
        "topics.transaction_timeout_ms",
        Kind::Number(1_000, 900_000),
        Some("10000"),
        "after how long Kafka gives up a publish whose process has died in its middle",
    ),
    key(
        "topics.chunk_records",
        Kind::Number(1, 100_000),
        Some("5000"),
        "how many records of a file are published together",
    ),
    key(
        "store.location",
        Kind::Text,
        Some("embedded"),
        "where accounts are: embedded, or postgres://USER@HOST:PORT/DATABASE, behind which ?schema=NAME may stand for another schema than `batchless`",
    ),
    key("store.password_file", Kind::Path, None, "the file with the password of the store's user"),
    key("store.password", Kind::Secret, None, "that password itself"),
    key("store.tls", Kind::Flag, Some("false"), "whether PostgreSQL is spoken to through TLS"),
    key(
        "store.tls_ca_file",
        Kind::Path,
        None,
        "the certificates (PEM) of whoever vouches for PostgreSQL; otherwise those that the system trusts",
    ),
    key(
        "store.allow_clear",
        Kind::Flag,
        Some("false"),
        "whether PostgreSQL may be spoken to without TLS beyond this machine",
    ),
    key(
        "log.format",
        Kind::Words(&["text", "json"]),
        Some("text"),
        "how log lines are written to standard error",
    ),
    key(
        "log.filter",
        Kind::Text,
        Some("info"),
        "which log lines: a level, or `target=level` with commas",
    ),
    key(
        "stop.grace_seconds",
        Kind::Number(1, 3600),
        Some("30"),
        "how long work in hand may take to end after a signal",
    ),
];

/// The keys of a feed, in a table `[[feed]]` each.
pub(crate) const FEED_KEYS: &[Key] = &[
    key("name", Kind::Name, None, "its name, part of every event"),
    key(
        "location",
        Kind::Text,
        None,
        "where objects arrive: a folder, as a path or as file:///…, or s3://BUCKET/PREFIX",
    ),
    key(
        "after",
        Kind::Words(&["keep", "archive", "delete"]),
        Some("keep"),
        "what becomes of an object whose file is reconciled",
    ),
    key(
        "archive_to",
        Kind::Text,
        None,
        "where `after = \"archive\"` moves it: a location of the same kind, not within the feed's own",
    ),
    key("format", Kind::Format, None, "the format of its files"),
    key(
        "layout",
        Kind::Beside,
        None,
        "the file of a layout that describes its files, in place of a format",
    ),
    key(
        "encoding",
        Kind::Words(Encoding::WORDS),
        None,
        "the page that text is written in; where nobody says, its layout's own, else ascii",
    ),
    key(
        "framing",
        Kind::Words(Framing::WORDS),
        Some("auto"),
        "how messages are laid into the file; formats of lines ignore it",
    ),
    key(
        "side",
        Kind::Words(Side::WORDS),
        Some("issuer"),
        "whose customers the accounts are: it decides what a record does to them",
    ),
    key(
        "posted_amount",
        Kind::Words(Posted::WORDS),
        Some("billing"),
        "which amount of a record is posted, where the format has several",
    ),
    key(
        "unknown_accounts",
        Kind::Words(&["open", "reject"]),
        Some("open"),
        "what a record for an account that is not there does",
    ),
    key(
        "serial",
        Kind::Flag,
        Some("false"),
        "whether a file waits until the former one of the feed has ended",
    ),
    key(
        "arrived",
        Kind::Words(&["two_looks", "marker"]),
        Some("two_looks"),
        "when an object has arrived: unchanged in two looks, or `<name>.done` is there",
    ),
    key(
        "look_every_ms",
        Kind::Number(10, 3_600_000),
        None,
        "how long between two looks; otherwise 500 in a folder, 5000 on S3",
    ),
    key(
        "reject_limit_percent",
        Kind::Number(0, 100),
        Some("50"),
        "more bad records than this refuse the file",
    ),
    key(
        "reject_limit_records_min",
        Kind::Number(1, 1_000_000_000),
        Some("20"),
        "in files of fewer records the limit does not count",
    ),
    key(
        "record_bytes_max",
        Kind::Number(24, 4_194_304),
        Some("65536"),
        "the longest record; a longer one means that framing is lost",
    ),
    key(
        "unpacked_bytes_max",
        Kind::Number(1, 1 << 50),
        Some("1099511627776"),
        "a compressed file may unpack to so many bytes",
    ),
    key(
        "unpacked_ratio_max",
        Kind::Number(1, 1_000_000),
        Some("200"),
        "and to so many times its own size",
    ),
];

impl Kind {
    /// What is expected, for people.
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Name => "a name of letters, digits, `-`, `_` and `.`, at most 64".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Beside => "a path, from the folder of the configuration file".to_owned(),
            Self::Number(from, to) => format!("a whole number from {from} to {to}"),
            Self::Flag => "true or false".to_owned(),
            Self::Words(words) => format!("one of {}", words.join(", ")),
            Self::Format => format!("one of {}", names().join(", ")),
            Self::Secret => "a secret, from a file or the environment only".to_owned(),
        }
    }

    /// Whether this text is one.
    pub(crate) fn takes(self, text: &str) -> bool {
        match self {
            Self::Text | Self::Path | Self::Beside | Self::Secret => !text.is_empty(),
            Self::Name => {
                let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                (1..=64).contains(&text.len()) && text.bytes().all(letter)
            }
            Self::Number(from, to) => {
                text.parse::<u64>().is_ok_and(|number| (from..=to).contains(&number))
            }
            Self::Flag => text == "true" || text == "false",
            Self::Words(words) => words.contains(&text),
            Self::Format => names().contains(&text),
        }
    }

    /// Whether it stands in quotation marks in TOML.
    pub(crate) fn is_quoted(self) -> bool {
        !matches!(self, Self::Number(..) | Self::Flag)
    }
}

/// The key of this name among these.
pub(crate) fn find(keys: &'static [Key], name: &str) -> Option<&'static Key> {
    keys.iter().find(|key| key.name == name)
}

/// The word among `words` that is nearest to `wrong`, if any is near enough to be meant.
pub(crate) fn nearest<'a>(
    wrong: &str,
    words: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let candidates = words.into_iter().map(|word| (distance(wrong, word), word));
    let (distance, word) = candidates.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + wrong.chars().count() / 3).then_some(word)
}

/// How many letters must be added, removed or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_one_that_the_key_takes() {
        for key in KEYS.iter().chain(FEED_KEYS) {
            if let Some(default) = key.default {
                assert!(key.kind.takes(default), "{}: {default}", key.name);
            }
        }
    }

    #[test]
    fn a_slip_finds_the_word_that_was_meant() {
        let words = ["format", "framing", "location"];
        for (wrong, expected) in [
            ("fromat", Some("format")),
            ("frmaing", Some("framing")),
            ("locatoin", Some("location")),
            ("colour", None),
        ] {
            assert_eq!(nearest(wrong, words), expected, "{wrong}");
        }
    }
}
