//! `batchless accounts import FILE`: makes accounts, or sets their states. No money.
//!
//! # Format
//!
//! Lines of fields with commas between them, in UTF-8; a field may stand in double quotes, which
//! are doubled within. The first line names the columns, in any order:
//!
//! ```text
//! number,state
//! card:5413330089010012,open
//! ach:011401533:0072,frozen
//! ```
//!
//! - `number`: the account's number as `accounts show --number` takes it (`card:DIGITS`,
//!   `ach:ROUTING:NUMBER`, `merchant:ID`, or as a layout writes it); its masked label is made of
//!   it.
//! - `account`: in the place of a number, the account's id; the label stays as it is.
//! - `state`: `open` (where it is empty, or there is no such column), `frozen` or `closed`.
//!
//! Every line is checked before anything is published. What stands in a line is never repeated in
//! an error: it may be a number.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use schemas::outcome::AccountState;
use schemas::{AccountId, AccountKey};
use serde::Serialize;

use super::change::{Change, apply};
use super::number::{self, Schemes};
use crate::command::books::{Books, BooksFlags, block_on_work};
use crate::command::{Ending, Failure};
use crate::operate::asked::Asked;
use crate::output::{Output, counted};

/// The longest line: fields are short, and a longer one is another file.
const LINE_BYTES_MAX: u64 = 4_096;

/// What was imported, as it prints. The keys are a contract.
#[derive(Debug, Default, Serialize)]
struct Imported {
    accounts: usize,
    open: usize,
    frozen: usize,
    closed: usize,
}

pub(super) fn run(file: &Path, asked: &Asked, flags: &BooksFlags) -> Result<Ending, Failure> {
    let books = Books::open(flags)?;
    let output = flags.output;
    let name = file.display().to_string();
    block_on_work(async {
        let known =
            Known { key: books.ledger_key().await?, schemes: Schemes::known(&books.config) };
        let changes = read(file, &known).with_context(|| name.clone())?;
        if changes.is_empty() {
            return Err(Failure::Other(anyhow::anyhow!("{name}: there is no account in it")));
        }
        let mut imported = Imported::default();
        apply(books, &changes, asked, |change, _| {
            imported.accounts += 1;
            match change.state() {
                state if state == AccountState::FROZEN => imported.frozen += 1,
                state if state == AccountState::CLOSED => imported.closed += 1,
                _ => imported.open += 1,
            }
            Ok(())
        })
        .await?;
        print(&imported, output)?;
        Ok(Ending::Well)
    })
}

fn print(imported: &Imported, output: Output) -> anyhow::Result<()> {
    let Imported { accounts, open, frozen, closed } = imported;
    match output {
        Output::Json => crate::command::print(&format!("{}\n", serde_json::to_string(imported)?)),
        Output::Table => crate::command::print(&format!(
            "{}: {open} open, {frozen} frozen, {closed} closed\n",
            counted(accounts, "account")
        )),
    }
}

/// What a number is made an account by.
struct Known {
    key: AccountKey,
    schemes: Schemes,
}

/// Reads and checks every line.
fn read(file: &Path, known: &Known) -> anyhow::Result<Vec<Change>> {
    let input: Box<dyn io::Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).context("it can't be read")?)
    };
    read_lines(BufReader::new(input), known)
}

fn read_lines(mut input: impl BufRead, known: &Known) -> anyhow::Result<Vec<Change>> {
    let mut columns: Option<Columns> = None;
    let mut changes = Vec::new();
    let mut lines: HashMap<AccountId, u32> = HashMap::new();
    let mut bytes = Vec::new();
    for line in 1_u32.. {
        bytes.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        if read.with_context(|| format!("line {line} can't be read"))? == 0 {
            break;
        }
        let here = || format!("line {line}");
        let fields = fields(&bytes).with_context(here)?;
        if fields.iter().all(String::is_empty) {
            continue;
        }
        let Some(columns) = &columns else {
            columns = Some(Columns::new(&fields).with_context(here)?);
            continue;
        };
        let change = columns.change(&fields, known).with_context(here)?;
        if let Some(before) = lines.insert(change.account, line) {
            bail!("line {line}: the account of line {before} comes again; leave one of them out");
        }
        changes.push(change);
    }
    Ok(changes)
}

/// Which field is which.
#[derive(Debug)]
struct Columns {
    count: usize,
    number: Option<usize>,
    account: Option<usize>,
    state: Option<usize>,
}

impl Columns {
    fn new(names: &[String]) -> anyhow::Result<Self> {
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let columns = Self {
            count: names.len(),
            number: place("number"),
            account: place("account"),
            state: place("state"),
        };
        let known = [columns.number, columns.account, columns.state];
        let is_named = columns.number.is_some() || columns.account.is_some();
        if known.iter().flatten().count() != names.len() || !is_named {
            bail!(
                "expected the names of the columns: number or account, and state; found other ones"
            );
        }
        Ok(columns)
    }

    fn change(&self, fields: &[String], known: &Known) -> anyhow::Result<Change> {
        if fields.len() != self.count {
            bail!("expected {} fields, found {}", self.count, fields.len());
        }
        let field = |at: Option<usize>| {
            let text = at.and_then(|at| fields.get(at)).map(String::as_str);
            text.filter(|text| !text.is_empty())
        };
        let state = field(self.state).unwrap_or(AccountState::OPEN.as_str());
        if !AccountState::KNOWN.contains(&state) {
            bail!("state: expected open, frozen or closed, found another word");
        }
        let state = AccountState::from(state);
        match (field(self.number), field(self.account)) {
            (Some(number), None) => {
                let text = number::canonical(number, &known.schemes).context("number")?;
                let account = known.key.account(&text).context("number: its scheme is unknown")?;
                Ok(Change::to(account, &state).labelled(text.label().as_deref()))
            }
            (None, Some(id)) => {
                let expected = || {
                    "account: expected a scheme such as card, a colon and 32 hexadecimal digits, \
                     found another text"
                };
                Ok(Change::to(id.parse().ok().with_context(expected)?, &state))
            }
            _ => bail!("expected a number or an account, one of the two"),
        }
    }
}

/// The fields of a line.
fn fields(bytes: &[u8]) -> anyhow::Result<Vec<String>> {
    if bytes.len() as u64 == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
        bail!("expected at most {LINE_BYTES_MAX} bytes, found more");
    }
    let text = std::str::from_utf8(bytes).ok().context("expected UTF-8, found other bytes")?;
    let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']);
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).context("expected a closing quote, found none")?,
            None => {
                let (field, behind) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
                (field.to_owned(), behind)
            }
        };
        fields.push(field.trim().to_owned());
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(fields),
            None => bail!("expected a comma behind a closing quote, found something else"),
        }
    }
}

/// What stands before the closing quote, and what is behind it; none where there is no such quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('"')?;
        field.push_str(before);
        match behind.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key() -> AccountKey {
        AccountKey::new(&[7; 32])
    }

    fn known() -> Known {
        Known { key: key(), schemes: Schemes::Known(BTreeSet::new()) }
    }

    fn import(text: &str) -> anyhow::Result<Vec<Change>> {
        read_lines(text.as_bytes(), &known())
    }

    #[test]
    fn each_way_to_name_an_account_is_read() {
        let id = format!("card:{}", "5f".repeat(16));
        let text = format!(
            "\u{feff}state,number,account\r\n\
             ,card:5413330089010012,\r\n\
             frozen,\"ach:990000660:0010 \"\"5\",\n\
             \n\
             \"closed\",,{id}"
        );
        let changes = import(&text).unwrap();
        let states: Vec<String> = changes.iter().map(|it| it.state().to_string()).collect();
        assert_eq!(states, ["open", "frozen", "closed"]);
        let expected =
            number::canonical("card:5413330089010012", &Schemes::Known(BTreeSet::new())).unwrap();
        assert_eq!(Some(changes[0].account), key().account(&expected));
        let expected =
            number::canonical("ach:990000660:0010 \"5", &Schemes::Known(BTreeSet::new())).unwrap();
        assert_eq!(Some(changes[1].account), key().account(&expected));
        assert_eq!(changes[2].account.to_string(), id);
        assert!(import("").unwrap().is_empty());
        assert!(import("number\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_by_its_line_and_never_repeated() {
        let twice = "number\ncard:5413330089010012\n\ncard:5413330089010012\n";
        for (text, expected) in [
            ("5413330089010012\n", "line 1: expected the names of the columns"),
            ("state\nopen\n", "line 1: expected the names of the columns"),
            ("number,number\n", "line 1: expected the names of the columns"),
            ("number\ncard:5413330089010012,open\n", "line 2: expected 1 fields, found 2"),
            ("number,state\ncard:5413330089010012,shut\n", "line 2: state: expected open"),
            ("number\n\n5413330089010012\n", "line 3: number: expected card:DIGITS"),
            ("number\ncard:541333008901001x\n", "line 2: number: expected card: and 8 to 19"),
            ("account\ncard:5413330089010012\n", "line 2: account: expected a scheme such as card"),
            ("number,account\n,\nx,y\n", "line 3: expected a number or an account"),
            ("number\n\"card:5413330089010012\n", "line 2: expected a closing quote"),
            ("number\n\"a\"b\n", "line 2: expected a comma behind a closing quote"),
            (twice, "line 4: the account of line 2 comes again"),
        ] {
            let error = format!("{:#}", import(text).unwrap_err());
            assert!(error.starts_with(expected), "{text}: {error}");
            assert!(!error.contains("54133"), "{error}");
        }
        let long = format!("number\n{}\n", "9".repeat(5_000));
        let error = format!("{:#}", import(&long).unwrap_err());
        assert!(error.starts_with("line 2: expected at most 4096 bytes"), "{error}");
        assert!(read_lines(&b"number\n\xff\n"[..], &known()).is_err());
    }
}
