//! What can be checked about the tree is checked: import rules, sizes, links, dependencies.
//!
//! The rules are tables. Every rule has a planted violation that it must find.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which of our crates a crate builds on: exactly these.
const EDGES: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("topic", &["schemas"]),
    ("ingest", &["schemas", "topic"]),
    ("processors", &["schemas", "topic"]),
    ("cli", &["ingest", "processors", "schemas", "topic"]),
    ("bench", &["ingest", "processors", "schemas", "topic"]),
    ("fuzz", &["ingest", "schemas"]),
];

/// Who alone may name an outside crate: paths that begin so.
const NAMED_ONLY_IN: &[(&str, &[&str])] = &[
    ("anyhow", &["bench/", "cli/", "tests/"]),
    ("apache_avro", &["schemas/src/codec", "schemas/tests/", "schemas/examples/"]),
    ("axum", &["cli/"]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("csv", &["ingest/src/format/delimited"]),
    ("fs4", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("libfuzzer_sys", &["fuzz/targets/"]),
    ("lz4_flex", &["topic/src/embedded", "tests/"]),
    ("nix", &["bench/src/cost"]),
    ("object_store", &["ingest/src/bucket", "ingest/tests/"]),
    ("rdkafka", &["topic/src/kafka"]),
    ("reqwest", &["topic/src/registry", "topic/tests/registry"]),
    (
        "rusqlite",
        &[
            "topic/src/embedded",
            "topic/tests/",
            "processors/src/sqlite",
            "processors/src/store",
            "processors/tests/",
            "bench/src/limit",
            "tests/",
        ],
    ),
    ("rustls", &["processors/src/store/postgres"]),
    ("rustls_native_certs", &["processors/src/store/postgres"]),
    ("serde_avro_fast", &["schemas/src/codec", "schemas/examples/"]),
    ("tokio_postgres", &["processors/src/store/postgres", "processors/tests/", "tests/"]),
    ("tokio_postgres_rustls", &["processors/src/store/postgres"]),
    ("toml", &["cli/", "ingest/src/format/layout/language", "tests/"]),
    ("tracing_subscriber", &["cli/"]),
];

/// Values in, values out: what these files may not name. Apply, posting, account, outcome, run and
/// reversal are the core of the processors.
const PURE: &[&str] = &[
    "schemas/src/",
    "ingest/src/format",
    "processors/src/account",
    "processors/src/apply",
    "processors/src/outcome",
    "processors/src/posting",
    "processors/src/rebuild/adopt",
    "processors/src/reversal",
    "processors/src/run",
];
const IMPURE: &[&str] = &[
    "async ",
    "tokio",
    "tracing",
    "SystemTime",
    "Instant",
    "rand::",
    "getrandom",
    "std::env",
    "std::fs",
    "std::net",
];

/// What only the binaries read; tests may read the environment.
const BINARY_ONLY: &[&str] = &["SystemTime::now", "std::env", "env::var", "env::args"];

/// 500 is what to aim at; a table of cases may run over.
const FILE_LINES_MAX: usize = 550;
const LINE_COLUMNS_MAX: usize = 100;

/// The text files of the tree, by path from its root, with `/` between folders.
#[derive(Clone)]
struct Tree(BTreeMap<String, String>);

impl Tree {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut tree = Self(BTreeMap::new());
        tree.read_folder(root, Path::new(""));
        tree
    }

    fn read_folder(&mut self, root: &Path, folder: &Path) {
        const NOT_OURS: &[&str] = &[".git", "target", "data"];
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = folder.join(&name);
            if entry.file_type().unwrap().is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    self.read_folder(root, &path);
                }
                continue;
            }
            // Samples are bytes, of whatever code page; what isn't text is only known to be there.
            let text = String::from_utf8(fs::read(root.join(&path)).unwrap()).unwrap_or_default();
            self.0.insert(path.to_str().unwrap().replace('\\', "/"), text);
        }
    }

    /// The same tree with one file more, or another.
    fn with(&self, path: &str, text: &str) -> Self {
        let mut tree = self.clone();
        tree.0.insert(path.to_owned(), text.to_owned());
        tree
    }

    fn ending(&self, ending: &str) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().filter(move |(path, _)| path.ends_with(ending))
    }

    fn manifest(&self, path: &str) -> toml::Table {
        self.0.get(path).expect("a crate has a manifest").parse().expect("a manifest is TOML")
    }
}

/// Everything that is off, a sentence each.
fn violations(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    edges(tree, &mut found);
    names(tree, &mut found);
    texts(tree, &mut found);
    dependencies(tree, &mut found);
    documents(tree, &mut found);
    found
}

/// Rule 1: the edges between our crates.
fn edges(tree: &Tree, found: &mut Vec<String>) {
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in EDGES {
        let manifest = tree.manifest(&format!("{name}/Cargo.toml"));
        let edges: BTreeSet<&str> = keys(&manifest, "dependencies")
            .chain(keys(&manifest, "dev-dependencies"))
            .chain(keys(&manifest, "build-dependencies"))
            .filter(|dependency| ours.contains(dependency) || *dependency == "tests")
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        if edges != allowed {
            found.push(format!("{name}: expected the edges {allowed:?}, found {edges:?}"));
        }
    }
}

fn keys<'a>(table: &'a toml::Table, name: &str) -> impl Iterator<Item = &'a str> {
    let section = table.get(name).and_then(toml::Value::as_table);
    section.into_iter().flat_map(|section| section.keys().map(String::as_str))
}

/// Rules 2 to 5: who may name what.
fn names(tree: &Tree, found: &mut Vec<String>) {
    let begins = |path: &str, prefixes: &[&str]| prefixes.iter().any(|p| path.starts_with(p));
    for (path, text) in tree.ending(".rs") {
        let code = code_of(text);
        for (name, places) in NAMED_ONLY_IN {
            if has_word(&code, name) && !begins(path, places) {
                found.push(format!("{path}: only {places:?} may name {name}"));
            }
        }
        for word in IMPURE {
            if begins(path, PURE) && code.contains(word) {
                found.push(format!("{path}: pure, so it may not name {}", word.trim()));
            }
        }
        let of_library =
            !begins(path, &["bench/", "cli/", "tests/src/bin/"]) && path.contains("/src/");
        for word in BINARY_ONLY {
            if of_library && code.contains(word) {
                found.push(format!("{path}: only the binary reads {word}"));
            }
        }
        if code.contains("#[ignore") {
            found.push(format!("{path}: a test is run or removed, never ignored"));
        }
    }
}

/// The text without line comments and without what stands in quotation marks.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let line = line.split_once("//").map_or(line, |(before, _)| before);
        for (at, part) in line.split('"').enumerate() {
            if at % 2 == 0 {
                code.push_str(part);
            }
        }
        code.push('\n');
    }
    code
}

/// Whether a crate is named: as a path, or whole in a `use`.
fn has_word(code: &str, name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let begins = !before.bytes().next_back().is_some_and(is_word);
        let in_use = before.ends_with("use ") && after.starts_with(';');
        begins && !before.ends_with("::") && (after.starts_with("::") || in_use)
    })
}

/// Sizes and spaces.
fn texts(tree: &Tree, found: &mut Vec<String>) {
    for (path, text) in &tree.0 {
        if path.ends_with("/mod.rs") {
            found.push(format!("{path}: a module is named by its file, not mod.rs"));
        }
        let is_source = path.ends_with(".rs");
        let is_text = is_source || [".md", ".toml", ".yml"].iter().any(|e| path.ends_with(e));
        if is_source && text.lines().count() > FILE_LINES_MAX {
            found.push(format!("{path}: over {FILE_LINES_MAX} lines"));
        }
        for (number, line) in (1..).zip(text.lines()) {
            if is_source && line.chars().count() > LINE_COLUMNS_MAX && !is_table(path, line) {
                found.push(format!("{path}:{number}: over {LINE_COLUMNS_MAX} columns"));
            }
            if is_text && line.ends_with([' ', '\t']) {
                found.push(format!("{path}:{number}: space at the end"));
            }
        }
    }
}

/// Tables stand better in one line a row than broken: in tests, in documentation, and a record of
/// 94 columns. All other code is held to the width by rustfmt already.
fn is_table(path: &str, line: &str) -> bool {
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
    let is_row =
        ["///", "//!"].iter().any(|it| line.trim_start().starts_with(it)) && line.contains(" | ");
    is_test || is_row || line.split('"').skip(1).step_by(2).any(|text| text.len() >= 60)
}

/// Rule 6: every direct dependency has its line in the record of decisions, and no other has.
fn dependencies(tree: &Tree, found: &mut Vec<String>) {
    const RECORD: &str = "docs/adr/0010-dependencies.md";
    let workspace = tree.manifest("Cargo.toml");
    let workspace = workspace.get("workspace").and_then(toml::Value::as_table).unwrap();
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let declared: BTreeSet<&str> =
        keys(workspace, "dependencies").filter(|name| !ours.contains(name)).collect();
    let record = tree.0.get(RECORD).map_or("", String::as_str);
    let first_word = |line: &'_ str| -> Option<String> {
        Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())
    };
    let recorded: BTreeSet<String> = record.lines().filter_map(first_word).collect();
    for name in &declared {
        if !recorded.contains(*name) {
            found.push(format!("Cargo.toml: {name} has no line in {RECORD}"));
        }
    }
    for name in recorded.iter().filter(|name| !declared.contains(name.as_str())) {
        found.push(format!("{RECORD}: {name} is no dependency"));
    }
    for (path, _) in tree.ending("/Cargo.toml") {
        let manifest = tree.manifest(path);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in
                manifest.get(section).and_then(|s| s.as_table()).into_iter().flatten()
            {
                if value.get("workspace") != Some(&toml::Value::Boolean(true)) {
                    found.push(format!("{path}: {name} is declared here, not in the workspace"));
                }
            }
        }
    }
}

/// What documents point at is there: files, decisions, and the tests that hold an invariant.
fn documents(tree: &Tree, found: &mut Vec<String>) {
    for (path, text) in tree.ending(".md") {
        let folder = Path::new(path).parent().unwrap();
        for (_, after) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let link = after.split([')', '#']).next().unwrap();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = normal(&folder.join(link)).to_str().unwrap().replace('\\', "/");
            let is_folder = || tree.0.keys().any(|known| known.starts_with(&format!("{target}/")));
            if !tree.0.contains_key(&target) && !is_folder() {
                found.push(format!("{path}: links to {link}, which is not there"));
            }
        }
        for (_, after) in
            text.match_indices("held by `").map(|(at, by)| text.split_at(at + by.len()))
        {
            let test = after.split('`').next().unwrap();
            let declaration = format!("fn {}(", test.rsplit("::").next().unwrap());
            if !tree.ending(".rs").any(|(_, code)| code.contains(&declaration)) {
                found.push(format!("{path}: names the test {test}, which is not there"));
            }
        }
    }
    for (path, text) in tree.ending(".rs").chain(tree.ending(".md")).chain(tree.ending(".toml")) {
        for (_, after) in text.match_indices("ADR ").map(|(at, _)| text.split_at(at + 4)) {
            let number: String = after.chars().take_while(char::is_ascii_digit).collect();
            let prefix = format!("docs/adr/{number}-");
            if number.len() == 4 && !tree.0.keys().any(|known| known.starts_with(&prefix)) {
                found.push(format!("{path}: names ADR {number}, which is not there"));
            }
        }
    }
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(normal.pop()),
            std::path::Component::CurDir => (),
            other => normal.push(other),
        }
    }
    normal
}

#[test]
fn the_tree_is_tidy() {
    let found = violations(&Tree::read());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The control: each rule finds what is planted against it.
#[test]
fn a_planted_violation_is_found() {
    let tree = Tree::read();
    let manifest = |name: &str, line: &str| {
        let path = format!("{name}/Cargo.toml");
        let text =
            tree.0[&path].replace("\n[dependencies]\n", &format!("\n[dependencies]\n{line}\n"));
        (path, text)
    };
    let source = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let long_file = "//\n".repeat(FILE_LINES_MAX + 1);
    let long_line = format!("// {}", "a ".repeat(LINE_COLUMNS_MAX / 2));
    let undeclared = tree.0["Cargo.toml"].replace("\ntopic = {", "\nleft-pad = \"1\"\ntopic = {");
    let cases = [
        (manifest("ingest", "processors.workspace = true"), "ingest: expected the edges"),
        (manifest("schemas", "tests.workspace = true"), "schemas: expected the edges"),
        (manifest("topic", "left-pad = \"1\""), "left-pad is declared here"),
        (source("Cargo.toml", &undeclared), "left-pad has no line"),
        (source("ingest/src/watch2.rs", "use object_store::path::Path;"), "may name object_store"),
        (source("topic/src/a.rs", "use rdkafka::Message;"), "may name rdkafka"),
        (source("processors/src/a.rs", "fn a() -> anyhow::Result<()> {}"), "may name anyhow"),
        (source("ingest/src/format/a.rs", "pub async fn read() {}"), "may not name async"),
        (source("processors/src/apply/a.rs", "tracing::info!();"), "may not name tracing"),
        (source("topic/src/a.rs", "let now = SystemTime::now();"), "reads SystemTime::now"),
        (source("ingest/src/a.rs", "use std::env;"), "reads std::env"),
        (source("topic/tests/a.rs", "#[ignore]\nfn a() {}"), "never ignored"),
        (source("topic/src/a/mod.rs", ""), "not mod.rs"),
        (source("topic/src/a.rs", &long_file), "lines"),
        (source("topic/src/a.rs", &long_line), "columns"),
        (source("docs/a.md", "space \n"), "space at the end"),
        (source("docs/a.md", "[a](../nowhere.md#b)"), "links to ../nowhere.md"),
        (source("docs/a.md", "held by `no_such_test`"), "names the test no_such_test"),
        (source("docs/a.md", &format!("see ADR {}", 9999)), "names ADR 99"),
    ];
    let clean = violations(&tree);
    for ((path, text), expected) in cases {
        let found = violations(&tree.with(&path, &text));
        let planted = |line: &&String| line.contains(expected) && !clean.contains(line);
        assert!(found.iter().any(|line| planted(&line)), "{path}: {expected:?} not in {found:#?}");
    }
}

/// The control of the controls: a name in a comment, a string or another name is not named.
#[test]
fn what_is_only_mentioned_is_not_named() {
    for text in ["// csv::Reader", "let a = \"csv::Reader\";", "my_csv::Reader", "x::csv::Reader"] {
        assert!(!has_word(&code_of(text), "csv"), "{text}");
    }
    for text in ["csv::Reader", "use csv;", "<csv::Reader>"] {
        assert!(has_word(&code_of(text), "csv"), "{text}");
    }
}
