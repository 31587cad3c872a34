//! Plan, then execute: what `reverse`, `replay` and `rejects resubmit` have in common.
//!
//! A plan says what would be done, and closes with a token: a digest of the action, what was
//! selected, and every record and amount that it touches. `--execute TOKEN` plans again, and goes
//! on only where the token is still the same; the command is then published under the token as its
//! id. Where it is in the file's row already, it is followed, not planned again.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use clap::Args;
use schemas::command::{Action, FileCommand};
use schemas::file::File;
use schemas::{AccountId, CommandId, Currency, Direction, FileId, Sums};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::books::{Books, id_start};
use super::files::{Total, totals};
use super::{Ending, Failure};
use crate::operate::answers::{ask, command, has};
use crate::operate::asked::Asked;
use crate::output::{self, Column, Output, Row, grouped};

/// How a plan is executed, and by whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlanFlags {
    /// Do what was planned under this token.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) execute: Option<CommandId>,
    #[command(flatten)]
    pub(crate) asked: Asked,
}

/// Records by their indices; both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first.
    pub(crate) first: i64,
    /// The last.
    pub(crate) last: i64,
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<i64>().ok().filter(|it| *it >= 0);
        let ends = text.split_once("..").and_then(|(a, b)| Some((number(a)?, number(b)?)));
        match ends {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err("expected two numbers from 0 such as 10..20, the first one not the larger"
                .to_owned()),
        }
    }
}

impl Span {
    /// It, where the file has such records.
    ///
    /// # Errors
    ///
    /// Where it has not.
    pub(crate) fn of(self, file: &File) -> anyhow::Result<Self> {
        let last = file.verdict.records - 1;
        if last < self.last {
            bail!("{} has records 0 to {last}, and none of index {}", file.object, self.last);
        }
        Ok(self)
    }

    /// All records of a file.
    pub(crate) fn all(file: &File) -> Self {
        Self { first: 0, last: file.verdict.records.saturating_sub(1).max(0) }
    }
}

/// What is planned for one file: what it touches is added record by record.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    span: Span,
    indices: Vec<i64>,
    byte_offsets: Vec<i64>,
    digest: Sha256,
    records: i64,
    done_before: i64,
    accounts: std::collections::HashSet<AccountId>,
    sums: Sums,
}

/// A record that a plan touches.
#[derive(Debug)]
pub(crate) struct Touched<'a> {
    /// Its index.
    pub(crate) index: i64,
    /// What else tells it from what it may be later: the number of its outcome, say.
    pub(crate) mark: i64,
    /// The customer's account, where it concerns one.
    pub(crate) account: Option<AccountId>,
    /// What it does to that account.
    pub(crate) direction: &'a Direction,
    /// Of how much, in minor units.
    pub(crate) amount_minor: i64,
    /// Its currency; none where it moves nothing.
    pub(crate) currency: Option<Currency>,
    /// Decimal digits of the minor unit.
    pub(crate) exponent: i32,
}

impl Draft {
    /// Nothing of it yet.
    pub(crate) fn new(file: &File, span: Span) -> Self {
        let mut digest = Sha256::new();
        digest.update(file.file_id.0);
        for number in [span.first, span.last] {
            digest.update(number.to_be_bytes());
        }
        // Each answer in the row makes it another plan: what was refused may be tried again.
        digest.update(file.answers.len().to_be_bytes());
        Self {
            file: file.clone(),
            span,
            indices: Vec::new(),
            byte_offsets: Vec::new(),
            digest,
            records: 0,
            done_before: 0,
            accounts: std::collections::HashSet::new(),
            sums: Sums::new(),
        }
    }

    /// Adds a record that would be done.
    ///
    /// # Errors
    ///
    /// Where a sum does not fit in 64 bits.
    pub(crate) fn add(&mut self, touched: &Touched<'_>) -> anyhow::Result<()> {
        for number in [touched.index, touched.mark, touched.amount_minor] {
            self.digest.update(number.to_be_bytes());
        }
        self.digest.update(touched.direction.as_str().as_bytes());
        self.digest.update(touched.exponent.to_be_bytes());
        self.records += 1;
        if let Some(account) = touched.account {
            self.accounts.insert(account);
        }
        if let Some(currency) = touched.currency {
            self.digest.update(currency.as_str().as_bytes());
            let (direction, exponent) = (touched.direction, touched.exponent);
            let added = self.sums.add(direction, currency, exponent, touched.amount_minor);
            added.context("the sum of what is planned")?;
        }
        Ok(())
    }

    /// Counts a record in the range that is done already, or needs nothing.
    pub(crate) fn count_done(&mut self) {
        self.done_before += 1;
    }

    /// Names a record to resubmit, and where it begins in the content.
    pub(crate) fn name(&mut self, index: i64, byte_offset: i64) {
        self.indices.push(index);
        self.byte_offsets.push(byte_offset);
    }

    /// How many records would be done.
    pub(crate) fn records(&self) -> i64 {
        self.records
    }

    /// How many are done already.
    pub(crate) fn done_before(&self) -> i64 {
        self.done_before
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// A plan: one or more files, and the token of all of it.
#[derive(Debug)]
pub(crate) struct Plan {
    action: Action,
    drafts: Vec<Draft>,
    token: CommandId,
}

impl Plan {
    /// The plan of these drafts, which are in the order of their files' ids.
    pub(crate) fn new(action: Action, drafts: Vec<Draft>) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"batchless plan\0");
        digest.update(action.as_str().as_bytes());
        for draft in &drafts {
            digest.update(draft.digest.clone().finalize());
        }
        let token = CommandId::derived(&digest.finalize().into());
        Self { action, drafts, token }
    }

    fn rows(&self) -> Vec<PlanRow> {
        let row = |draft: &Draft| PlanRow {
            action: self.action.to_string(),
            file_id: draft.file.file_id,
            name: draft.file.object.clone(),
            state: draft.file.state.to_string(),
            first_index: draft.span.first,
            last_index: draft.span.last,
            indices: draft.indices.clone(),
            records: draft.records,
            done_before: draft.done_before,
            accounts: draft.accounts.len(),
            totals: totals(&draft.sums),
            token: self.token,
        };
        self.drafts.iter().map(row).collect()
    }
}

/// The id of each file's command: the token itself for one file, else derived from it.
fn id_of(token: CommandId, file: &FileId, count: usize) -> CommandId {
    if count == 1 {
        return token;
    }
    let digest = Sha256::new().chain_update(token.0).chain_update(file.0).finalize();
    CommandId::derived(&digest.into())
}

/// What is planned for a file, as it prints. The keys are a contract.
#[derive(Debug, Serialize)]
struct PlanRow {
    action: String,
    file_id: FileId,
    name: String,
    state: String,
    first_index: i64,
    last_index: i64,
    /// The records to resubmit; empty for other actions.
    indices: Vec<i64>,
    records: i64,
    done_before: i64,
    accounts: usize,
    totals: Vec<Total>,
    token: CommandId,
}

impl Row for PlanRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("file"),
        Column::text("name"),
        Column::text("state"),
        Column::text("range"),
        Column::number("records"),
        Column::number("done before"),
        Column::number("accounts"),
        Column::text("totals"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            id_start(&self.file_id),
            self.name.clone(),
            self.state.clone(),
            format!("{}..{}", self.first_index, self.last_index),
            grouped(&self.records.to_string()),
            grouped(&self.done_before.to_string()),
            grouped(&self.accounts.to_string()),
            self.totals.iter().map(Total::to_string).collect::<Vec<_>>().join("; "),
        ]
    }
}

/// Prints the plan that `plan` makes of these files; or, with a token, publishes it where it is
/// still that plan, and follows it.
///
/// # Errors
///
/// Where there is nothing to do, the token is another plan's, or what was asked is refused.
pub(crate) async fn run(
    books: Books,
    action: Action,
    files: Vec<File>,
    (flags, output): (&PlanFlags, Output),
    plan: impl AsyncFnOnce(&Books, &[File]) -> anyhow::Result<Plan>,
) -> Result<Ending, Failure> {
    let count = files.len();
    let of_file = |file: &File, token| {
        let id = id_of(token, &file.file_id, count);
        command(file, id, action.clone(), &flags.asked)
    };
    if let Some(token) = flags.execute {
        let is_known = |file: &File| has(file, &id_of(token, &file.file_id, count));
        if files.iter().any(is_known) {
            let commands = files.iter().map(|file| of_file(file, token)).collect();
            return ask(books, &files, commands, true, output).await;
        }
    }
    let plan = plan(&books, &files).await?;
    let Some(token) = flags.execute else {
        show(&plan, output)?;
        return Ok(Ending::Well);
    };
    if token != plan.token {
        return Err(Failure::Other(anyhow::anyhow!(
            "what {token} planned is not what would be done now, which is {}; look at the plan \
             again without --execute",
            plan.token
        )));
    }
    let commands = plan.drafts.iter().map(|draft| FileCommand {
        first_index: Some(draft.span.first),
        last_index: Some(draft.span.last),
        indices: draft.indices.clone(),
        byte_offsets: draft.byte_offsets.clone(),
        ..of_file(&draft.file, token)
    });
    let commands = commands.collect();
    ask(books, &files, commands, false, output).await
}

fn show(plan: &Plan, output: Output) -> anyhow::Result<()> {
    output::print_rows(output, &plan.rows())?;
    if output == Output::Json {
        return Ok(());
    }
    let mut text = String::new();
    if plan.drafts.len() > 1 {
        let mut sums: BTreeMap<(Currency, i32), (i128, i128)> = BTreeMap::new();
        for sum in plan.drafts.iter().flat_map(|draft| draft.sums.iter()) {
            let all = sums.entry((sum.currency, sum.exponent)).or_default();
            all.0 += i128::from(sum.debits_minor);
            all.1 += i128::from(sum.credits_minor);
        }
        for ((currency, exponent), (debits, credits)) in sums {
            let (debits, credits) =
                (output::amount(debits, exponent), output::amount(credits, exponent));
            text.push_str(&format!("in all {currency} -{debits} +{credits}\n"));
        }
    }
    text.push_str(&format!("nothing is done yet; --execute {} does it\n", plan.token));
    super::print(&text)
}
