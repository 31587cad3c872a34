//! `batchless accounts [show]`: balances, a row for each account and currency; and
//! `accounts freeze | unfreeze | import`, which set states and never move money.

mod number;
mod change;
mod import;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use processors::account::{Account, AccountName, Balance};
use processors::store::{Store as _, View as _};
use schemas::outcome::{AccountState, Outcome};
use schemas::{AccountId, AccountText, Currency};
use serde::Serialize;

use number::Schemes;

use super::books::{Books, BooksFlags, block_on, block_on_work};
use super::{Ending, Failure};
use crate::operate::asked::Asked;
use crate::output::{self, Column, Output, Row, amount};

/// Accounts read at once.
const PAGE: usize = 4_096;

/// How many accounts a table shows unless more are asked for: a screen or two.
const ROWS_SHOWN: usize = 100;

/// How many outcomes `show` walks back unless more are asked for: a screen.
const POSTINGS_SHOWN: usize = 20;

/// What `accounts` is told.
#[derive(Args, Debug)]
pub(crate) struct AccountsFlags {
    #[command(subcommand)]
    what: Option<AccountsCommand>,
    #[command(flatten)]
    books: BooksFlags,
    /// Show at most so many rows of a table, the sums are of all [default: 100; postings: 20]
    #[arg(long, global = true, value_name = "N")]
    limit: Option<usize>,
}

/// Which of them.
#[derive(Debug, Subcommand)]
enum AccountsCommand {
    /// One account, by its id or by its number.
    Show {
        /// Its id, such as card:5f0c… or clearing:ach#7.
        account: Option<String>,
        /// Its number: card:DIGITS, ach:ROUTING:NUMBER, merchant:ID, or as a layout's `account`
        /// writes it, such as bank:341:0001:54133.
        #[arg(long, value_name = "SCHEME:NUMBER", conflicts_with = "account")]
        number: Option<String>,
    },
    /// Freezes accounts: they are not posted to until they are unfrozen; reversals still are.
    Freeze(StateFlags),
    /// Opens accounts again that were frozen.
    Unfreeze(StateFlags),
    /// Makes accounts, or sets their states, from lines of fields with commas between them; the
    /// first line names them: `number` (as --number of show takes it) or `account` (an id), and
    /// `state` (open, frozen or closed; open where it is empty). Every line is checked before
    /// anything is done.
    Import {
        /// The file; `-` is standard input.
        #[arg(value_name = "CSV")]
        file: PathBuf,
        #[command(flatten)]
        asked: Asked,
    },
}

/// What `freeze` and `unfreeze` are told.
#[derive(Args, Debug)]
struct StateFlags {
    /// Their ids, such as card:5f0c….
    #[arg(value_name = "ACCOUNT", required_unless_present = "number")]
    accounts: Vec<String>,
    /// Their numbers: card:DIGITS, ach:ROUTING:NUMBER, merchant:ID, or as a layout's `account`
    /// writes them.
    #[arg(long, value_name = "SCHEME:NUMBER")]
    number: Vec<String>,
    #[command(flatten)]
    asked: Asked,
}

/// An account in one currency as it prints. The keys are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct AccountRow {
    pub(crate) account: String,
    pub(crate) label: Option<String>,
    pub(crate) owner: String,
    pub(crate) state: String,
    pub(crate) currency: Option<Currency>,
    pub(crate) exponent: i32,
    pub(crate) debits_minor: i64,
    pub(crate) credits_minor: i64,
    pub(crate) balance_minor: i128,
    pub(crate) version: i64,
}

impl Row for AccountRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("account"),
        Column::text("label"),
        Column::text("owner"),
        Column::text("state"),
        Column::text(""),
        Column::number("debits"),
        Column::number("credits"),
        Column::number("balance"),
        Column::number("version"),
    ];

    fn cells(&self) -> Vec<String> {
        let show = |minor: i128| amount(minor, self.exponent);
        vec![
            self.account.clone(),
            self.label.clone().unwrap_or_else(|| "-".to_owned()),
            self.owner.clone(),
            self.state.clone(),
            self.currency.map_or_else(|| "-".to_owned(), |currency| currency.to_string()),
            show(i128::from(self.debits_minor)),
            show(i128::from(self.credits_minor)),
            show(self.balance_minor),
            self.version.to_string(),
        ]
    }
}

fn row(account: &Account, balance: Option<&Balance>) -> AccountRow {
    AccountRow {
        account: account.name.to_string(),
        label: account.label.as_deref().map(str::to_owned),
        owner: account.name.owner().to_string(),
        state: account.state.to_string(),
        currency: balance.map(|balance| balance.currency),
        exponent: balance.map_or(0, |balance| balance.exponent),
        debits_minor: balance.map_or(0, |balance| balance.debits_minor),
        credits_minor: balance.map_or(0, |balance| balance.credits_minor),
        balance_minor: balance.map_or(0, Balance::minor),
        version: balance.map_or(0, |balance| balance.version),
    }
}

/// A row a currency; one without where nothing was posted yet.
pub(crate) fn rows_of(account: &Account) -> Vec<AccountRow> {
    if account.balances.is_empty() {
        return vec![row(account, None)];
    }
    account.balances.iter().map(|balance| row(account, Some(balance))).collect()
}

/// The sums of all balances, per currency and exponent: zero each, always.
pub(crate) type BalanceSums = BTreeMap<(Currency, i32), i128>;

/// Calls `take` with every account, shard by shard, as they were at one moment.
///
/// # Errors
///
/// Where the store can't be read, or `take` fails.
pub(crate) async fn each(
    books: &Books,
    mut take: impl FnMut(&Account) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut view = books.store().await?.view().await?;
    for shard in view.shards().await? {
        let mut after: Option<AccountName> = None;
        loop {
            let page = view.accounts(shard.shard, after.take(), PAGE).await?;
            for account in &page {
                take(account)?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.name.clone()),
                _ => break,
            }
        }
    }
    Ok(())
}

/// Adds the balances of an account.
///
/// # Errors
///
/// Where a sum does not fit in 128 bits, which no ledger reaches.
pub(crate) fn add(sums: &mut BalanceSums, account: &Account) -> anyhow::Result<()> {
    for balance in &account.balances {
        let sum = sums.entry((balance.currency, balance.exponent)).or_default();
        *sum = sum.checked_add(balance.minor()).context("the sum of all balances overflows")?;
    }
    Ok(())
}

pub(crate) fn run(flags: &AccountsFlags) -> Result<Ending, Failure> {
    match &flags.what {
        None => list(flags),
        Some(AccountsCommand::Show { account, number }) => {
            let books = Books::open(&flags.books)?;
            let limit = flags.limit.unwrap_or(POSTINGS_SHOWN);
            let (id, number) = match (account, number) {
                (Some(id), None) => (number::id(id).map_err(Failure::Usage)?, None),
                (None, Some(number)) => ("", Some(typed(number)?)),
                _ => {
                    return Err(Failure::Usage(anyhow::anyhow!(
                        "give an account's id, or its number with --number"
                    )));
                }
            };
            block_on(async {
                let id = match &number {
                    None => id.to_owned(),
                    Some(number) => account_of(&books, number).await?.to_string(),
                };
                show(&books, &id, limit, flags.books.output).await
            })?;
            Ok(Ending::Well)
        }
        Some(AccountsCommand::Freeze(state)) => set(flags, state, &AccountState::FROZEN),
        Some(AccountsCommand::Unfreeze(state)) => set(flags, state, &AccountState::OPEN),
        Some(AccountsCommand::Import { file, asked }) => import::run(file, asked, &flags.books),
    }
}

/// A number that was typed, in its canonical form.
fn typed(number: &str) -> Result<AccountText, Failure> {
    number::canonical(number, &Schemes::Any).context("--number").map_err(Failure::Usage)
}

/// The account of a number.
async fn account_of(books: &Books, number: &AccountText) -> anyhow::Result<AccountId> {
    let account = books.ledger_key().await?.account(number);
    account.context("--number: expected a scheme that accounts have")
}

fn set(flags: &AccountsFlags, told: &StateFlags, state: &AccountState) -> Result<Ending, Failure> {
    let books = Books::open(&flags.books)?;
    let mut accounts = Vec::new();
    for id in &told.accounts {
        let id = number::id(id).map_err(Failure::Usage)?;
        let account = id.parse().context("a house account is ours, and always open");
        accounts.push(account.map_err(Failure::Usage)?);
    }
    let numbers = told.number.iter().map(|number| typed(number));
    let numbers = numbers.collect::<Result<Vec<AccountText>, Failure>>()?;
    block_on_work(async {
        for number in &numbers {
            accounts.push(account_of(&books, number).await?);
        }
        accounts.sort_unstable();
        accounts.dedup();
        change::set(books, &accounts, state, &told.asked, flags.books.output).await?;
        Ok(Ending::Well)
    })
}

/// One account, and for people its newest postings.
async fn show(books: &Books, id: &str, limit: usize, output: Output) -> anyhow::Result<()> {
    let name = AccountName::from_text(id);
    let mut view = books.store().await?.view().await?;
    for row in view.shards().await? {
        let Some(account) = view.account(row.shard, name.clone()).await? else { continue };
        output::print_rows(output, &rows_of(&account))?;
        if output == Output::Json {
            return Ok(());
        }
        let found = processors::verify::postings(&mut view, row.shard, &account, limit).await?;
        super::print(&format!("\nnewest postings, at most {limit}\n"))?;
        let postings: Vec<Posting> = found.iter().flat_map(|o| postings_of(o, id)).collect();
        return output::print_rows(output, &postings);
    }
    bail!("no account {id}; is it of this ledger?")
}

/// A posting on one account, as people see it.
#[derive(Serialize)]
struct Posting {
    outcome: String,
    record: String,
    direction: String,
    amount: String,
    balance: String,
}

impl Row for Posting {
    const COLUMNS: &'static [Column] = &[
        Column::text("outcome"),
        Column::text("record"),
        Column::text("direction"),
        Column::number("amount"),
        Column::number("balance after"),
    ];

    fn cells(&self) -> Vec<String> {
        let Self { outcome, record, direction, amount, balance } = self;
        [outcome, record, direction, amount, balance].map(String::clone).to_vec()
    }
}

fn postings_of<'a>(outcome: &'a Outcome, account: &'a str) -> impl Iterator<Item = Posting> + 'a {
    let legs = outcome.legs.iter().filter(move |leg| leg.account == account);
    legs.map(|leg| {
        let show = |minor: i128| format!("{} {}", amount(minor, leg.exponent), leg.currency);
        let record = outcome.file_id.zip(outcome.index);
        Posting {
            outcome: format!("{} {}/{}", outcome.kind, outcome.shard, outcome.number),
            record: record.map_or_else(|| "-".into(), |(file, index)| format!("{file}/{index}")),
            direction: leg.direction.to_string(),
            amount: show(i128::from(leg.amount_minor)),
            balance: show(i128::from(leg.credits_minor) - i128::from(leg.debits_minor)),
        }
    })
}

fn list(flags: &AccountsFlags) -> Result<Ending, Failure> {
    let books = Books::open(&flags.books)?;
    let limit = flags.limit.unwrap_or(ROWS_SHOWN);
    let mut sums = BalanceSums::new();
    let mut shown = Vec::new();
    let mut count = 0_usize;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let json = flags.books.output == Output::Json;
    block_on(each(&books, |account| {
        add(&mut sums, account)?;
        for row in rows_of(account) {
            count += 1;
            if json {
                serde_json::to_writer(&mut out, &row)?;
                out.write_all(b"\n")?;
            } else if shown.len() < limit {
                shown.push(row);
            }
        }
        Ok(())
    }))?;
    out.flush().context("standard output can't be written")?;
    drop(out);
    if json {
        return Ok(Ending::Well);
    }
    output::print_rows(Output::Table, &shown)?;
    let mut text = String::new();
    if count > shown.len() {
        text.push_str(&format!("… and {} rows more; --limit shows them\n", count - shown.len()));
    }
    for ((currency, exponent), sum) in &sums {
        text.push_str(&format!("sum of all balances in {currency}: {}\n", amount(*sum, *exponent)));
    }
    super::print(&text)?;
    Ok(Ending::Well)
}
