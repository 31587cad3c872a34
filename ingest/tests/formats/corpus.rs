//! Public files with the verdicts of another reader, where they lie beside this checkout.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a helper of tests, which says what it leaves out"
)]

use std::path::{Path, PathBuf};

use ingest::container::{Container, Limits};
use ingest::format::{Encoding, detect};

use crate::whole::{read, settings, text};

/// Files whose verdict differs from the manifest's; each has its reason in docs/formats/nacha.md.
const DISAGREEMENTS: &[&str] = &[];

pub(crate) fn corpus(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().parent().unwrap();
    let corpus = root.join("shared/corpus").join(name);
    if corpus.is_dir() {
        return Some(corpus);
    }
    println!("corpus not beside this checkout: not tested");
    None
}

/// Every file that the manifest calls valid is read whole, with totals equal to its trailer; every
/// other is refused or has rejects, each naming record and field.
#[test]
fn ach_files_get_the_verdict_of_the_manifest() {
    let Some(corpus) = corpus("ach") else { return };
    let manifest = std::fs::read(corpus.join("manifest.tsv")).unwrap();
    let manifest = String::from_utf8_lossy(&manifest);
    let settings = settings("nacha", Encoding::Ascii);
    let mut seen = (0, 0, Vec::new());
    for row in manifest.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (file, is_valid) = (columns[0], columns[9] == "READ_OK" && columns[11] == "VALID");
        let bytes = std::fs::read(corpus.join(file)).unwrap();
        let content = match Container::detect(&bytes) {
            Container::None => bytes,
            container => {
                let limits = Limits { bytes_max: 1 << 30, ratio_max: 1_000 };
                container.decode_all(&bytes, limits).unwrap()
            }
        };
        // What nobody named the format of is told as much as what a feed expects.
        assert_eq!(detect(&content).map(|found| found.format), Some("nacha"), "{file}");
        let whole = read(&settings, &content);
        let is_read = match &whole {
            Ok(whole) => whole.found.iter().all(|found| found.reject.is_none()),
            Err(refusal) => {
                assert!(refusal.0.index.is_some(), "{file}: {}", refusal.0);
                assert!(refusal.0.field.is_some(), "{file}: {}", refusal.0);
                false
            }
        };
        if is_valid {
            seen.0 += 1
        } else {
            seen.1 += 1
        }
        if is_read != is_valid {
            let shown: String = text(&whole).lines().take(5).collect::<Vec<_>>().join("\n");
            println!("{file}: valid {is_valid}, read {is_read}\n{shown}");
            seen.2.push(file.to_owned());
        }
        if !is_read {
            let shown = text(&whole);
            let line = shown.lines().find(|line| line.contains("re")).unwrap_or_default();
            println!("{file}\n    {line}");
        }
        if is_read && let Ok(whole) = &whole {
            let entries: usize = columns[5].parse().unwrap();
            if columns[8] == "OK" {
                assert_eq!(whole.found.len(), entries, "{file}");
            }
            for total in &whole.summary.control_totals {
                assert!(total.proven && total.claimed == total.seen, "{file}: {total:?}");
            }
        }
    }
    println!("{} valid files, {} others", seen.0, seen.1);
    assert_eq!((seen.0, seen.1), (45, 26));
    assert_eq!(seen.2, DISAGREEMENTS);
}
