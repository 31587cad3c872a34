//! A scanner: finds account numbers in bytes, whichever way they are written.
//!
//! | written | found where |
//! |---|---|
//! | in ASCII | nine digits of a number stand in a row |
//! | in EBCDIC | the same; its digits are 0xf0 to 0xf9 on every page |
//! | packed, two digits a byte | all of a long number stand in a row, from either half of a byte |
//! | as an integer of a database | it is a number, or all of a long one stand in a row in it |
//! | in base64 | nine digits of a number stand in a row, at any of three places in four letters |
//!
//! Nine packed digits are no more than 36 bits, and megabytes of digests and fingerprints have any
//! of a thousand such numbers in them once in fifty times. So there it is all digits of a number of
//! at least [`LONG`], 48 bits: once in a hundred thousand times.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::oracle::topics;

/// So many digits of a number in a row are too many: the label that may travel has four.
pub(crate) const DIGITS: usize = 9;

/// So many digits chance does not write.
const LONG: usize = 12;

/// Digits that a number may have.
const DIGITS_MAX: usize = 24;

/// Fewer different digits than this are padding, or come from a file that is broken on purpose and
/// has something else where its account numbers should be.
const DIFFERENT_MIN: usize = 4;

/// Letters of base64 that nine digits decide whatever stands around them.
const LETTERS: usize = 11;

/// For each place of the first digit in three bytes, the first letter that it decides alone.
const FIRST_LETTER: [usize; 3] = [0, 2, 3];

/// Symbols in a row, as bits in a row.
#[derive(Debug)]
struct Patterns {
    symbols: usize,
    known: HashSet<u128>,
    /// Whether a pattern ends in these 16 bits: most that is looked at is out by it.
    ends: Vec<bool>,
}

impl Patterns {
    fn new(symbols: usize) -> Self {
        Self { symbols, known: HashSet::new(), ends: vec![false; 1 << 16] }
    }

    fn add(&mut self, pattern: u128) {
        self.known.insert(pattern);
        self.ends[pattern as usize & 0xffff] = true;
    }

    fn has(&self, pattern: u128) -> bool {
        self.ends[pattern as usize & 0xffff] && self.known.contains(&pattern)
    }
}

/// The place after the first pattern among symbols of so many bits each; none is what is no symbol.
fn find(symbols: impl Iterator<Item = Option<u8>>, bits: usize, all: &[Patterns]) -> Option<usize> {
    let (mut last, mut run) = (0_u128, 0);
    for (at, symbol) in symbols.enumerate() {
        let Some(symbol) = symbol else {
            run = 0;
            continue;
        };
        last = last << bits | u128::from(symbol);
        run += 1;
        for patterns in all {
            let mask = (1 << (patterns.symbols * bits)) - 1;
            if run >= patterns.symbols && patterns.has(last & mask) {
                return Some(at + 1);
            }
        }
    }
    None
}

/// Finds these numbers.
#[derive(Debug)]
pub(crate) struct Scanner {
    /// Nine digits in a row, four bits each.
    nine: Vec<Patterns>,
    /// All digits of a long number, one of these for each length.
    long: Vec<Patterns>,
    /// The numbers that an integer can be.
    integers: HashSet<i64>,
    /// Nine digits in letters of base64.
    letters: Vec<Patterns>,
}

impl Scanner {
    /// A scanner for every run of nine digits up in these texts.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a String>) -> Self {
        let mut nine = Patterns::new(DIGITS);
        let mut letters = Patterns::new(LETTERS);
        let mut long = BTreeMap::new();
        let mut integers = HashSet::new();
        let runs = |text: &'a String| text.split(|c: char| !c.is_ascii_digit());
        let tells =
            |run: &&str| (DIGITS..=DIGITS_MAX).contains(&run.len()) && differ(run.as_bytes());
        let numbers: BTreeSet<&str> = texts.into_iter().flat_map(runs).filter(tells).collect();
        for number in numbers {
            let length = number.len();
            if length >= LONG {
                let all = long.entry(length).or_insert_with(|| Patterns::new(length));
                all.add(in_a_row(number.bytes().map(|digit| digit & 0x0f), 4));
            }
            // Without its leading zeros it may be any amount.
            if !number.starts_with('0') {
                integers.extend(number.parse::<i64>());
            }
            for digits in number.as_bytes().windows(DIGITS).filter(|digits| differ(digits)) {
                nine.add(in_a_row(digits.iter().map(|digit| digit & 0x0f), 4));
                for (place, first) in FIRST_LETTER.iter().enumerate() {
                    let text = [vec![0; place], digits.to_vec(), vec![0; 3]].concat();
                    let some = sextets(&text).into_iter().skip(*first).take(LETTERS);
                    letters.add(in_a_row(some, 6));
                }
            }
        }
        let long = long.into_values().collect();
        Self { nine: vec![nine], long, integers, letters: vec![letters] }
    }

    /// How many runs of nine digits it knows.
    pub(crate) fn known(&self) -> usize {
        self.nine.iter().map(|patterns| patterns.known.len()).sum()
    }

    /// How the first number in these bytes is written, and where it ends; none where there is none.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<String> {
        let ascii = |byte: &u8| byte.is_ascii_digit().then_some(byte & 0x0f);
        let ebcdic = |byte: &u8| matches!(byte, 0xf0..=0xf9).then_some(byte & 0x0f);
        let halves = |byte: &u8| [byte >> 4, byte & 0x0f].map(|half| (half < 10).then_some(half));
        let found = |written: &str, end: usize| format!("{written}, before byte {end}");
        None.or_else(|| Some(found("ASCII", find(bytes.iter().map(ascii), 4, &self.nine)?)))
            .or_else(|| Some(found("EBCDIC", find(bytes.iter().map(ebcdic), 4, &self.nine)?)))
            .or_else(|| {
                let end = find(bytes.iter().flat_map(halves), 4, &self.long)?;
                Some(found("packed", end.div_ceil(2)))
            })
            .or_else(|| Some(found("base64", find(bytes.iter().map(letter), 6, &self.letters)?)))
    }

    /// What has numbers in it below a folder, a line each: files as they are, databases by their
    /// rows too, and record batches of the log out of their compression. `except` are the names of
    /// folders that are not looked into.
    pub(crate) fn scan(&self, folder: &Path, except: &[&str]) -> Scan {
        let mut scan = Scan::default();
        let mut databases = Vec::new();
        self.scan_folder(folder, except, &mut scan, &mut databases);
        // Only now: whoever opens a database folds its write-ahead log into it.
        for database in &databases {
            self.scan_database(database, &mut scan);
        }
        scan
    }

    fn scan_folder(
        &self,
        folder: &Path,
        except: &[&str],
        scan: &mut Scan,
        databases: &mut Vec<std::path::PathBuf>,
    ) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !except.contains(&name) {
                    self.scan_folder(&path, &[], scan, databases);
                }
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            if bytes.starts_with(b"SQLite format 3") {
                databases.push(path.clone());
            }
            self.scan_bytes(&path.display().to_string(), &bytes, scan);
        }
    }

    fn scan_bytes(&self, what: &str, bytes: &[u8], scan: &mut Scan) {
        scan.bytes += bytes.len();
        scan.found.extend(self.find(bytes).map(|place| format!("{what}: {place}")));
    }

    fn scan_database(&self, path: &Path, scan: &mut Scan) {
        let database = Connection::open(path).unwrap();
        let mut tables =
            database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let tables: Vec<String> =
            tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        for table in &tables {
            let what = format!("table {table} of {}", path.display());
            let mut query = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = query.column_count();
            let mut rows = query.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                for column in 0..columns {
                    match row.get_ref(column).unwrap() {
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                            self.scan_bytes(&what, bytes, scan);
                        }
                        ValueRef::Integer(number) => {
                            let text = number.to_string();
                            let digits = text.bytes().map(|byte| Some(byte & 0x0f));
                            let is_in_it = find(digits, 4, &self.long).is_some();
                            if is_in_it || self.integers.contains(&number) {
                                scan.found.push(format!("{what}: an integer"));
                            }
                        }
                        ValueRef::Real(_) | ValueRef::Null => (),
                    }
                }
            }
        }
        if tables.iter().any(|table| table == "batches") {
            topics::each_batch(&database, None, |batch| {
                let what = format!("{}/{} from {}", batch.topic, batch.partition, batch.base);
                scan.batches += 1;
                self.scan_bytes(&what, &batch.body, scan);
            });
        }
    }
}

/// What a scan saw and found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Where numbers were found.
    pub(crate) found: Vec<String>,
    /// How many bytes were looked at.
    pub(crate) bytes: usize,
    /// How many record batches of the log were among them.
    pub(crate) batches: usize,
}

/// Whether they are no mere padding.
fn differ(digits: &[u8]) -> bool {
    digits.iter().collect::<BTreeSet<_>>().len() >= DIFFERENT_MIN
}

fn in_a_row(symbols: impl Iterator<Item = u8>, bits: usize) -> u128 {
    symbols.fold(0, |row, symbol| row << bits | u128::from(symbol))
}

/// Bytes in groups of six bits; what does not fill a letter is left out.
fn sextets(bytes: &[u8]) -> Vec<u8> {
    let bit = |at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    let letter = |at: usize| (0..6).fold(0, |six, more| six << 1 | bit(at * 6 + more));
    (0..bytes.len() * 8 / 6).map(letter).collect()
}

/// What a letter of base64 stands for.
fn letter(byte: &u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}
