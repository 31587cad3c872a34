//! Commands to files, and the answers to them in the files' rows.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::bail;
use ingest::roll::Roll;
use schemas::codec::{Codec, Event as _};
use schemas::command::{Action, FileCommand};
use schemas::file::{Answer, AnswerKind, File};
use schemas::{CommandId, FileId, Topic};
use serde::Serialize;
use topic::{Message, MessageSet, cloud_events};

use super::asked::Asked;
use super::{Awaited, carry_out};
use crate::command::books::{Books, id_start};
use crate::command::{Ending, Failure};
use crate::engine::{AnyLog, AnyStore};
use crate::ledger;
use crate::now;
use crate::output::{self, Column, Output, Row, counted};

/// A command to a file that asks for all of it: the selection is set by whoever plans one.
pub(crate) fn command(file: &File, id: CommandId, action: Action, asked: &Asked) -> FileCommand {
    FileCommand {
        command_id: id,
        file_id: file.file_id,
        action,
        first_index: None,
        last_index: None,
        indices: Vec::new(),
        byte_offsets: Vec::new(),
        object: None,
        version: None,
        size_bytes: None,
        by: asked.by(),
        why: asked.why(),
        at: now(),
    }
}

/// A new id for a command that acts at once.
///
/// # Errors
///
/// Where the operating system gives no randomness.
pub(crate) fn drawn_id() -> anyhow::Result<CommandId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| anyhow::anyhow!("the operating system gives no randomness: {error}"))?;
    Ok(CommandId(id))
}

/// What a command came to, as it prints. The keys are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerRow {
    command_id: CommandId,
    action: String,
    file_id: FileId,
    name: String,
    state: String,
    outcome: String,
    detail: String,
    by: String,
    why: String,
}

impl AnswerRow {
    fn new(file: &File, answer: &Answer) -> Self {
        Self {
            command_id: answer.command_id,
            action: answer.action.clone(),
            file_id: file.file_id,
            name: file.object.clone(),
            state: file.state.to_string(),
            outcome: answer.outcome.to_string(),
            detail: answer.detail.clone(),
            by: answer.by.clone(),
            why: answer.why.clone(),
        }
    }
}

impl Row for AnswerRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("file"),
        Column::text("name"),
        Column::text("action"),
        Column::text("outcome"),
        Column::text("state"),
        Column::text("detail"),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            id_start(&self.file_id),
            self.name.clone(),
            self.action.clone(),
            self.outcome.clone(),
            self.state.clone(),
            self.detail.clone(),
        ]
    }
}

/// Publishes these commands in one publish and follows them to their answers, which are printed;
/// those that are `known` are in their files' rows already, and only followed. Records that are
/// resubmitted are followed to their own end.
///
/// # Errors
///
/// Where one of them is refused or fails, with its detail, or can't be followed.
pub(crate) async fn ask(
    books: Books,
    files: &[File],
    commands: Vec<FileCommand>,
    known: bool,
    output: Output,
) -> Result<Ending, Failure> {
    let name = books.ledger().await?.name.clone();
    let publish = match known {
        true => None,
        false => Some(sets(books.log().await?, &name, files, &commands)),
    };
    let mut answers = Answers {
        wanted: commands.iter().map(|it| (it.file_id, it.command_id)).collect(),
        first_ids: files.iter().map(|file| file.first_id(&name)).collect(),
        ledger: name,
        roll: None,
        rows: Vec::new(),
        tries: Tries::default(),
    };
    carry_out(books, publish.into_iter(), &mut answers).await?;
    output::print_rows(output, &answers.rows)?;
    let ending = answers.tries.say(files)?;
    let not_done: Vec<&AnswerRow> =
        answers.rows.iter().filter(|row| row.outcome != AnswerKind::DONE.as_str()).collect();
    match not_done.first() {
        None => Ok(ending),
        Some(row) => {
            // A token stands for one answer, whatever that is.
            let planned = [Action::REVERSE, Action::REPLAY, Action::RESUBMIT];
            let again = match planned.iter().any(|action| action.as_str() == row.action) {
                true => "; plan it again without --execute to try again",
                false => "",
            };
            let AnswerRow { action, name, outcome, detail, .. } = row;
            Err(Failure::Other(anyhow::anyhow!("{action} of {name} is {outcome}: {detail}{again}")))
        }
    }
}

/// What became of the records that a command resubmitted, each a file of its own.
#[derive(Debug, Default)]
struct Tries {
    applied: usize,
    rejected: usize,
    /// Held, failed or cancelled, or they do not add up.
    others: usize,
}

impl Tries {
    /// None where one of those that came with this answer has not come to its end.
    fn of(roll: &Roll, file_id: FileId, answer: &Answer) -> Option<Self> {
        let mut tries = Self::default();
        let is_of_it = |file: &&File| {
            // The answer and the rows that it tells of are made at one moment.
            file.resubmits.as_ref().is_some_and(|of| of.file_id == file_id)
                && file.arrived_at == answer.at
        };
        for file in roll.files.values().filter(is_of_it) {
            if !file.is_at_end() {
                return None;
            }
            let is_applied = file.segments.iter().any(|segment| 0 < segment.applied);
            match 0 < file.rejected() {
                true => tries.rejected += 1,
                false if is_applied => tries.applied += 1,
                false => tries.others += 1,
            }
        }
        Some(tries)
    }

    /// Says it on standard error: standard output has the answers alone.
    fn say(&self, files: &[File]) -> anyhow::Result<Ending> {
        let Self { applied, rejected, others } = self;
        let all = applied + rejected + others;
        let Some(file) = files.first().filter(|_| 0 < all) else { return Ok(Ending::Well) };
        let mut text = format!(
            "{}: {applied} applied, {rejected} rejected again",
            counted(all, "resubmitted record")
        );
        if 0 < *others {
            text.push_str(&format!(", {others} neither"));
        }
        let is_well = *applied == all;
        if !is_well {
            let id = id_start(&file.file_id);
            text.push_str(&format!("; `batchless records {id} N` says why for record N"));
        }
        writeln!(std::io::stderr(), "{text}")?;
        Ok(if is_well { Ending::Well } else { Ending::Findings })
    }
}

/// One set for each command, in the partition of its file's owner.
fn sets(
    log: &AnyLog,
    name: &str,
    files: &[File],
    commands: &[FileCommand],
) -> anyhow::Result<Vec<MessageSet>> {
    let partitions = log.layout().partitions(Topic::Commands);
    let source = ledger::source(name);
    let codec = Codec::built_in();
    let mut sets = Vec::new();
    for command in commands {
        let Some(file) = files.iter().find(|file| file.file_id == command.file_id) else {
            bail!("file {} is not there", command.file_id);
        };
        let partition = schemas::account::spread(file.first_id(name).spread(), partitions);
        let subject = command.file_id.to_string();
        let headers = cloud_events(FileCommand::TYPE, &source, &subject, command.at);
        let message = Message {
            id: command.command_id.to_string().into(),
            key: subject.into(),
            value: Some(codec.encode(command)?.into()),
        };
        let (topic, messages) = (Topic::Commands, vec![message]);
        sets.push(MessageSet { topic, partition, headers: Arc::clone(&headers), messages });
    }
    Ok(sets)
}

/// The answers to some commands.
struct Answers {
    wanted: Vec<(FileId, CommandId)>,
    /// The first occurrences of the files' contents.
    first_ids: BTreeSet<FileId>,
    ledger: String,
    roll: Option<Roll>,
    /// One for each that is wanted, once all are there.
    rows: Vec<AnswerRow>,
    tries: Tries,
}

impl Awaited for Answers {
    const BY: &'static str = "`batchless watch` and `batchless process`";
    const IS_IN_STORE: bool = false;

    /// All answers are there, and the end of what they resubmitted; and, where nobody else
    /// works, so is the end of the files and of what they were accepted or resubmitted as.
    async fn look(
        &mut self,
        log: &AnyLog,
        _: Option<&AnyStore>,
        is_alone: bool,
    ) -> anyhow::Result<bool> {
        let roll = self.roll.get_or_insert_with(|| Roll::new(log));
        roll.follow(log).await?;
        let answered = self.wanted.iter().map(|(file_id, command_id)| {
            let file = roll.files.get(file_id)?;
            Some(AnswerRow::new(file, answer_to(file, command_id)?))
        });
        let Some(rows) = answered.collect::<Option<Vec<AnswerRow>>>() else { return Ok(false) };
        let is_open = |file: &File| {
            !file.is_at_end() && self.first_ids.contains(&file.first_id(&self.ledger))
        };
        if is_alone && roll.files.values().any(is_open) {
            return Ok(false);
        }
        let mut tries = Tries::default();
        for (file_id, command_id) in &self.wanted {
            let answer = roll.files.get(file_id).and_then(|file| answer_to(file, command_id));
            let resubmitted = answer.filter(|it| it.action == Action::RESUBMIT.as_str());
            match resubmitted.map(|answer| Tries::of(roll, *file_id, answer)) {
                None => (),
                Some(None) => return Ok(false),
                Some(Some(of_file)) => tries = of_file,
            }
        }
        (self.rows, self.tries) = (rows, tries);
        Ok(true)
    }
}

/// The answer to a command in a file's row, where it is there.
pub(crate) fn answer_to<'a>(file: &'a File, id: &CommandId) -> Option<&'a Answer> {
    file.answers.iter().find(|answer| answer.command_id == *id)
}

/// True where a file's row has this command, answered or under way.
pub(crate) fn has(file: &File, id: &CommandId) -> bool {
    answer_to(file, id).is_some() || file.work.as_ref().is_some_and(|it| it.command_id == *id)
}
