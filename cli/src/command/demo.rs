//! `batchless demo`: sample files through the whole pipeline, in a temporary directory, and a
//! picture of what came of them.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use processors::account::Account;
use schemas::file::File;
use serde::Serialize;

use super::accounts::{self, AccountRow, BalanceSums};
use super::books::{Books, BooksFlags, block_on};
use super::{Ending, Failure, files, rejects, verify};
use crate::config::keys::{FEED_KEYS, KEYS};
use crate::config::{Config, Origin, Said, Values};
use crate::output::{self, Column, Output, Row, amount, grouped};
use crate::owners::Part;
use crate::progress::Progress;

/// What `demo` is told.
#[derive(Args, Debug)]
pub(crate) struct DemoFlags {
    /// Keep the data directory and the files in this new directory, to look at them afterwards.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// When a file is dropped: what comes again comes when the first one has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    First,
    Second,
}

/// A file that is dropped: its feed, its name, its bytes, and what it shows.
struct Dropped {
    round: Round,
    feed: &'static str,
    name: &'static str,
    bytes: Vec<u8>,
    shows: &'static str,
}

const PAYMENTS: &[u8] = include_bytes!("../../../sample-files/demo/payments.ach");
const CARDS: &[u8] = include_bytes!("../../../sample-files/demo/cards.ipm");
const CARDS_PACKED: &[u8] = include_bytes!("../../../sample-files/demo/more-cards.ipm.gz");

fn dropped() -> Vec<Dropped> {
    use Round::{First, Second};
    let drop = |round, feed, name, bytes: &[u8], shows| Dropped {
        round,
        feed,
        name,
        bytes: bytes.into(),
        shows,
    };
    let torn = PAYMENTS.get(..PAYMENTS.len() / 2).unwrap_or_default();
    vec![
        drop(First, "ach", "payments.ach", PAYMENTS, "ACH payments, some of them unreadable"),
        drop(First, "cards", "cards.ipm", CARDS, "card clearing, EBCDIC, in blocks"),
        drop(First, "cards", "more-cards.ipm.gz", CARDS_PACKED, "more of it, packed with gzip"),
        drop(Second, "ach", "payments-again.ach", PAYMENTS, "the payments under another name"),
        drop(Second, "ach", "torn.ach", torn, "the first half of the payments"),
    ]
}

/// Writes a file into its feed's folder, and says so.
fn drop_in(folder: &Path, file: &Dropped) -> anyhow::Result<()> {
    let to = folder.join(file.feed).join(file.name);
    std::fs::write(&to, &file.bytes)
        .with_context(|| format!("{} can't be written", to.display()))?;
    let bytes = grouped(&file.bytes.len().to_string());
    say(&format!("  {:<6} {:<20} {bytes:>8} bytes  {}\n", file.feed, file.name, file.shows))
}

pub(crate) fn run(flags: &DemoFlags) -> Result<Ending, Failure> {
    let temporary = tempfile::tempdir().context("no temporary directory can be made")?;
    let folder = match &flags.keep {
        None => temporary.path().to_owned(),
        Some(keep) if keep.exists() => {
            let keep = keep.display();
            return Err(Failure::Usage(anyhow::anyhow!("--keep: {keep} is there already")));
        }
        Some(keep) => keep.clone(),
    };
    let dropped = dropped();
    for file in &dropped {
        let inbox = folder.join(file.feed);
        std::fs::create_dir_all(&inbox)
            .with_context(|| format!("{} can't be made", inbox.display()))?;
    }
    let config = config(&folder)?;
    crate::log::start("error", false, &Progress::none())?;
    for (round, says) in [(Round::First, "Dropped"), (Round::Second, "And then")] {
        say(&format!("{says}\n"))?;
        for file in dropped.iter().filter(|file| file.round == round) {
            drop_in(&folder, file)?;
        }
        super::run::block(&config, Part::Whole, true, &Progress::none())?;
    }
    let data = Some(folder.join("data"));
    let books = BooksFlags { config: None, data, output: Output::Table };
    show(&Books::open(&books)?)?;
    if flags.keep.is_some() {
        let data = folder.join("data");
        let data = data.display();
        say(&format!("\nKept: batchless files --data {data}, and so on\n"))?;
    }
    Ok(Ending::Well)
}

/// Two feeds with folders below `folder`.
fn config(folder: &Path) -> anyhow::Result<Config> {
    let mut said = Said::default();
    let path = |path: PathBuf| match path.into_os_string().into_string() {
        Ok(path) => Ok(path),
        Err(_) => bail!("expected a directory whose path is UTF-8"),
    };
    let key = crate::args::key;
    let origin = Origin::Flag("demo");
    said.whole.set(key(KEYS, "data")?, path(folder.join("data"))?, origin.clone())?;
    for (name, format, encoding) in [("ach", "nacha", "ascii"), ("cards", "ipm", "cp037")] {
        let mut feed = Values::default();
        for (key_name, text) in [
            ("name", name.to_owned()),
            ("location", path(folder.join(name))?),
            ("format", format.to_owned()),
            ("encoding", encoding.to_owned()),
            ("look_every_ms", "100".to_owned()),
        ] {
            feed.set(key(FEED_KEYS, key_name)?, text, origin.clone())?;
        }
        said.feeds.push(feed);
    }
    Config::new(said)
}

/// The picture: files and totals, rejects, balances, reconciliation.
fn show(books: &Books) -> anyhow::Result<()> {
    say("\nFiles\n")?;
    let roll = block_on(books.roll())?;
    output::print_rows(Output::Table, &files::rows(&roll))?;

    say("\nRecords that were rejected, and why; the records around them are applied\n")?;
    output::print_rows(Output::Table, &block_on(rejects::rows(books, None))?)?;

    show_balances(books)?;

    say("\nReconciled three ways: what a file states, what was published, what was applied\n")?;
    let reconciled = roll.files.values().flat_map(comparisons).collect::<Vec<_>>();
    output::print_rows(Output::Table, &reconciled)?;
    let checks = block_on(verify::checks(books, None))?;
    let off = checks.iter().filter(|check| !check.ok).count();
    say(&format!("\nbatchless verify: {} checks, {off} off\n", checks.len()))?;
    if off > 0 {
        bail!("{off} checks are off; see `batchless verify`");
    }
    Ok(())
}

/// Two or three figures that must agree, as the picture shows them.
#[derive(Serialize)]
struct Comparison {
    file: String,
    what: String,
    stated: String,
    published: String,
    applied: String,
    difference: String,
}

impl Row for Comparison {
    const COLUMNS: &'static [Column] = &[
        Column::text("file"),
        Column::text("what"),
        Column::number("stated"),
        Column::number("published"),
        Column::number("applied"),
        Column::number("difference"),
    ];

    fn cells(&self) -> Vec<String> {
        let Self { file, what, stated, published, applied, difference } = self;
        [file, what, stated, published, applied, difference].map(String::clone).to_vec()
    }
}

/// A file's own totals against what was published of it (rejects counted in), and what was
/// published against what the shards applied and rejected.
fn comparisons(file: &File) -> Vec<Comparison> {
    let (verdict, published) = (&file.verdict, &file.checkpoint);
    let row = |what: String, stated: String, published: String, applied: String, off: String| {
        let file = file.object.clone();
        Comparison { file, what, stated, published, applied, difference: off }
    };
    let mut rows = Vec::new();
    for (what, stated, counted) in [
        ("its own debits", verdict.claimed_debits, published.control_debits),
        ("its own credits", verdict.claimed_credits, published.control_credits),
        ("its own sum", verdict.claimed_unsigned, published.control_unsigned),
    ] {
        if let Some(stated) = stated {
            let off = i128::from(counted) - i128::from(stated);
            let show = |number: i64| grouped(&number.to_string());
            rows.push(row(what.into(), show(stated), show(counted), "-".into(), off.to_string()));
        }
    }
    for sum in published.sums.iter() {
        let mut applied = (0_i128, 0_i128);
        for segment in &file.segments {
            for done in segment.applied_sums.iter().chain(segment.rejected_sums.iter()) {
                if (done.currency, done.exponent) == (sum.currency, sum.exponent) {
                    applied.0 += i128::from(done.debits_minor);
                    applied.1 += i128::from(done.credits_minor);
                }
            }
        }
        for (what, published, applied) in
            [("debits", sum.debits_minor, applied.0), ("credits", sum.credits_minor, applied.1)]
        {
            let published = i128::from(published);
            let show = |minor: i128| amount(minor, sum.exponent);
            let (off, what) = (applied - published, format!("{} {what}", sum.currency));
            rows.push(row(what, "-".into(), show(published), show(applied), show(off)));
        }
    }
    rows
}

/// How many balances the picture shows.
const BALANCES_SHOWN: usize = 8;

fn show_balances(books: &Books) -> anyhow::Result<()> {
    let mut sums = BalanceSums::new();
    let mut customers: Vec<AccountRow> = Vec::new();
    let mut houses: std::collections::BTreeMap<String, BalanceSums> = Default::default();
    block_on(accounts::each(books, |account: &Account| {
        accounts::add(&mut sums, account)?;
        let name = account.name.to_string();
        match name.split_once('#') {
            // House accounts exist once a shard; their sum is what people ask for.
            Some((house, _)) => accounts::add(houses.entry(house.to_owned()).or_default(), account),
            None => {
                customers.extend(accounts::rows_of(account));
                Ok(())
            }
        }
    }))?;
    let count = customers.len();
    customers.sort_by_key(|row| std::cmp::Reverse(row.balance_minor.unsigned_abs()));
    customers.truncate(BALANCES_SHOWN);
    say(&format!("\nBalances: the {} largest of {count} of customers\n", customers.len()))?;
    output::print_rows(Output::Table, &customers)?;
    say("\nHouse accounts, all shards together\n")?;
    for (house, sums) in &houses {
        for ((currency, exponent), sum) in sums {
            say(&format!("  {house:<22} {currency} {:>18}\n", amount(*sum, *exponent)))?;
        }
    }
    say("\nSum of all balances\n")?;
    for ((currency, exponent), sum) in &sums {
        say(&format!("  {currency} {}\n", amount(*sum, *exponent)))?;
        if *sum != 0 {
            bail!("the balances in {currency} do not sum to zero");
        }
    }
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
