//! What an operator's command does to a file. Pure: the file's row and the command in, the row
//! after it and what the shards are asked for out.
//!
//! | command | taken where the file is | and then it is |
//! |---|---|---|
//! | hold | verified, publishing | held |
//! | release | held, but not for its settings | verified, or publishing where it was begun |
//! | cancel | verified, publishing, published, held, failed | cancelled; work until all that was applied is undone |
//! | reverse | reconciled, unbalanced | reversing; then reversed, or for a part as before |
//! | replay | published, reconciled, unbalanced; held and failed below the checkpoint | as before; where a shard lacks events, all of it is published again |
//! | accept | published, reconciled, unbalanced, cancelled, reversed, and no later occurrence is on its way | as before; the next occurrence is verified |
//! | resubmit | reconciled, unbalanced | as before; a file of one record for each record |
//!
//! Anything else is refused with a sentence and changes nothing; so is whatever comes while another
//! command is under way. But hold, release and cancel wait for nobody: where one of them is taken,
//! a replay or resubmission under way is given up, and answered so. A cancel does that also where
//! the file is reconciled or unbalanced, and then the file itself is as before.
//! A command that is in the row already is not taken again.

use schemas::arrival::Reason;
use schemas::command::{Action, FileCommand};
use schemas::file::{Answer, AnswerKind, Checkpoint, File, FileState, Segment, Verdict, Work};
use schemas::record::{Reversal, SegmentClosed};
use schemas::{CommandId, FileId, Timestamp};

use super::SETTINGS_CHANGED;
use super::work::answer;
use crate::reconcile::lacks_events;
use states::refusal;

mod states;

/// The reason code of a file that an operator holds.
const HELD_BY_OPERATOR: &str = "held_by_operator";

/// The most records that one command resubmits: they are published together.
const RESUBMITTED_MAX: usize = 5_000;

/// How many answers a row holds before it takes no further command: a row is read and written
/// whole.
const ANSWERS_MAX: usize = 1_000;

/// How many more there may be to commands that undo all of a file.
const ANSWERS_SPARE: usize = 100;

/// What a full row answers; it keeps one of these.
const ROW_IS_FULL: &str = "its row holds as many answers as it may; only `batchless cancel`, or \
                           `batchless reverse` of the whole file, is taken still";

/// What the table asks of the surroundings.
#[derive(Debug)]
pub(super) struct Given {
    /// The time.
    pub(super) now: Timestamp,
    /// The partition of `commands` that shards answer to.
    pub(super) answer_to: i32,
    /// Why the file would not read as it did when it was verified; none where it would.
    pub(super) unpinned: Option<Reason>,
    /// To resubmit: why the file's records may be counted otherwise today; none where not.
    pub(super) other_reader: Option<Reason>,
    /// To accept: the first occurrence of the content that no row has.
    pub(super) next_occurrence: Option<(FileId, i32)>,
    /// To accept: a later occurrence of the content that has not ended, or may go on, and its
    /// state.
    pub(super) on_its_way: Option<(FileId, FileState)>,
    /// To accept: the occurrence that was taken from this very object, and is not undone.
    pub(super) stands: Option<(FileId, FileState)>,
    /// To resubmit: the row of each record's latest attempt, in the order of the command.
    pub(super) attempts: Vec<Option<File>>,
}

/// A command that was taken up, or refused: what is published for it, together.
#[derive(Debug, PartialEq)]
pub(super) struct Taken {
    /// The file's row after it.
    pub(super) file: File,
    /// The row of a file that it makes.
    pub(super) accepted: Option<File>,
    /// What shards are asked for.
    pub(super) asks: Vec<Ask>,
}

/// What a shard is asked for.
#[derive(Debug, PartialEq)]
pub(super) enum Ask {
    /// To end the file's run.
    Close(SegmentClosed),
    /// To undo; the shard, and what.
    Reverse(i32, Reversal),
}

/// What a command came to at once.
enum Came {
    /// All of it is done; what, in words.
    Done(String),
    /// Another file's row is there.
    Accepted(Box<File>),
    /// It is under way: what the row keeps of it, and what shards are asked for.
    Begun(Box<Work>, Vec<Ask>),
}

/// An action on a file that is in a state for it; the sentence where it is refused all the same.
type Act = fn(&mut File, &FileCommand, &Given) -> Result<Came, String>;

/// True where the row alone doesn't keep a command from being taken: before more is read for it.
pub(super) fn may_be_taken(file: &File, command: &FileCommand) -> bool {
    !has(file, &command.command_id) && why_not(file, command).is_none()
}

/// Takes a command up; none where the row has it already.
pub(super) fn take(mut file: File, command: FileCommand, given: &Given) -> Option<Taken> {
    let id = command.command_id;
    if has(&file, &id) {
        return None;
    }
    let why_not = why_not(&file, &command);
    let former = file.work.take();
    let came = match why_not {
        Some(why) => Err(why),
        None => operate(&mut file, &command, given),
    };
    match (&came, former) {
        (Err(_), former) => file.work = former,
        (Ok(_), None) => (),
        (Ok(_), Some(former)) => {
            let detail = format!("given up by a {}", command.action);
            file.answers.push(answer(former, AnswerKind::FAILED, detail, given.now));
        }
    }
    let (outcome, detail, accepted) = match came {
        Ok(Came::Begun(work, asks)) => {
            file.work = Some(*work);
            return Some(Taken { file, accepted: None, asks });
        }
        Ok(Came::Done(detail)) => (AnswerKind::DONE, detail, None),
        Ok(Came::Accepted(next)) => {
            let detail = format!("accepted again, as file {}", next.file_id);
            (AnswerKind::DONE, detail, Some(*next))
        }
        Err(why) => (AnswerKind::REFUSED, why, None),
    };
    if detail == ROW_IS_FULL {
        file.answers.retain(|answer| answer.detail != ROW_IS_FULL);
    }
    file.answers.push(Answer {
        command_id: id,
        action: command.action.as_str().to_owned(),
        by: command.by,
        why: command.why,
        outcome,
        detail,
        at: given.now,
    });
    Some(Taken { file, accepted, asks: Vec::new() })
}

/// True where a command is in a file's row: under way, or answered.
fn has(file: &File, id: &CommandId) -> bool {
    file.work.as_ref().is_some_and(|work| work.command_id == *id)
        || file.answers.iter().any(|answer| answer.command_id == *id)
}

/// Why a file does not take a command, by its row alone; none where that is no hindrance.
fn why_not(file: &File, command: &FileCommand) -> Option<String> {
    let action = &command.action;
    if is_full(file, command) {
        return Some(ROW_IS_FULL.to_owned());
    }
    let gives_up = [Action::HOLD, Action::RELEASE, Action::CANCEL].contains(action);
    match &file.work {
        Some(work) if !(gives_up && may_be_given_up(work)) => {
            // Elsewhere a cancel would give up the file.
            let remedy = match may_be_given_up(work) && has_ended(file) {
                true => ", or give it up by `batchless cancel`",
                false => "",
            };
            let Work { action, by, .. } = work;
            return Some(format!("a {action} by {by} is under way; wait for its answer{remedy}"));
        }
        // It is given up, and the file, which has ended, is as before.
        Some(_) if *action == Action::CANCEL && has_ended(file) => return None,
        _ => (),
    }
    let of_whole_files = [Action::REPLAY, Action::ACCEPT, Action::RESUBMIT];
    if let Some(of) = &file.resubmits
        && of_whole_files.contains(action)
    {
        let (index, file_id) = (of.index, of.file_id);
        return Some(format!("it is record {index} of file {file_id}; resubmit that again"));
    }
    if let Some(why) = refusal(action, &file.state) {
        return Some(format!("the file is {}: {why}", file.state));
    }
    if *action == Action::RESUBMIT { wrong_records(file, command) } else { None }
}

/// True where a row has no place for the answer to a command.
fn is_full(file: &File, command: &FileCommand) -> bool {
    let is_whole =
        |(first, last)| first == 0 && file.verdict.records <= i64::saturating_add(last, 1);
    let undoes_all = command.action == Action::CANCEL
        || (command.action == Action::REVERSE && range_of(file, command).is_ok_and(is_whole));
    let spare = if undoes_all { ANSWERS_SPARE } else { 0 };
    ANSWERS_MAX.saturating_add(spare) <= file.answers.len()
}

/// True for what reads the file again: it changes nothing of the file that a shard can't take or
/// leave, and it lasts for as long as the bucket is away.
fn may_be_given_up(work: &Work) -> bool {
    [Action::REPLAY, Action::RESUBMIT].contains(&work.action)
}

/// True where every shard has answered to the end of a file.
fn has_ended(file: &File) -> bool {
    [FileState::RECONCILED, FileState::UNBALANCED].contains(&file.state)
}

/// One action on a file in a state for it; where it is refused, the file is as it was.
fn operate(file: &mut File, command: &FileCommand, given: &Given) -> Result<Came, String> {
    let action = &command.action;
    let actions: [(Action, Act); 7] = [
        (Action::HOLD, hold),
        (Action::RELEASE, release),
        (Action::CANCEL, cancel),
        (Action::REVERSE, reverse),
        (Action::REPLAY, replay),
        (Action::ACCEPT, accept),
        (Action::RESUBMIT, resubmit),
    ];
    match actions.iter().find(|(name, _)| name == action) {
        Some((_, act)) => act(file, command, given),
        None => Err(format!("this version knows no command `{action}`")),
    }
}

fn hold(file: &mut File, _: &FileCommand, _: &Given) -> Result<Came, String> {
    let remedy = "`batchless release` lets it go on, `batchless cancel` gives it up";
    file.state = FileState::HELD;
    file.reason = Some(Reason::new(HELD_BY_OPERATOR).remedy(remedy));
    Ok(Came::Done(format!("held at record {}", file.checkpoint.next_index)))
}

fn release(file: &mut File, _: &FileCommand, _: &Given) -> Result<Came, String> {
    if let Some(reason) = file.reason.as_ref().filter(|reason| reason.code == SETTINGS_CHANGED) {
        return Err(format!("{reason}: it goes on by itself then"));
    }
    file.state = if is_begun(file) { FileState::PUBLISHING } else { FileState::VERIFIED };
    file.reason = None;
    Ok(Came::Done(format!("it goes on at record {}", file.checkpoint.next_index)))
}

fn cancel(file: &mut File, command: &FileCommand, given: &Given) -> Result<Came, String> {
    if has_ended(file) {
        return Ok(Came::Done("what was under way is given up; the file is as before".to_owned()));
    }
    let whole = (0, i64::MAX);
    let work = begin(file, command, whole);
    let mut asks = Vec::new();
    for closed in closes(file, false, Some(command.command_id), given.answer_to) {
        let undo = reversal(command, whole, given);
        let shard = closed.shard;
        asks.extend([Ask::Close(closed), Ask::Reverse(shard, undo)]);
    }
    file.state = FileState::CANCELLED;
    file.reason = Some(Reason::new("cancelled_by_operator"));
    Ok(if asks.is_empty() {
        Came::Done("given up; no shard had anything of it".to_owned())
    } else {
        Came::Begun(Box::new(work), asks)
    })
}

fn reverse(file: &mut File, command: &FileCommand, given: &Given) -> Result<Came, String> {
    let range = range_of(file, command)?;
    let applied = |segment: &Segment| segment.applied.saturating_sub(segment.reversed);
    if file.segments.iter().map(applied).sum::<i64>() == 0 {
        return Err("nothing of it is applied".to_owned());
    }
    let work = begin(file, command, range);
    file.state = FileState::REVERSING;
    let shards = touched(&file.checkpoint);
    let asks = shards.map(|shard| Ask::Reverse(shard, reversal(command, range, given))).collect();
    Ok(Came::Begun(Box::new(work), asks))
}

fn replay(file: &mut File, command: &FileCommand, given: &Given) -> Result<Came, String> {
    if !is_begun(file) {
        return Err("nothing of it is published yet".to_owned());
    }
    if let Some(why) = &given.unpinned {
        return Err(why.to_string());
    }
    let (first, last) = range_of(file, command)?;
    if file.checkpoint.next_index <= first {
        let published = file.checkpoint.next_index;
        return Err(format!("expected a range below record {published}, found one from {first}"));
    }
    // A shard that lacks events takes none behind them, and does not end before it has them all.
    let range = if lacks_events(file) { (0, i64::MAX) } else { (first, last) };
    let mut work = begin(file, command, range);
    work.checkpoint = Some(Checkpoint::default());
    Ok(Came::Begun(Box::new(work), Vec::new()))
}

fn accept(file: &mut File, command: &FileCommand, given: &Given) -> Result<Came, String> {
    if let Some((file_id, state)) = &given.on_its_way {
        return Err(format!(
            "it was accepted before, as file {file_id}, which is {state}; wait for its end, or \
             `batchless cancel` gives it up"
        ));
    }
    // Asked for twice, it would be posted twice.
    if let Some((file_id, state)) = &given.stands {
        return Err(format!(
            "this object is in the ledger, as file {file_id}, which is {state}; undo that first, \
             or have the same content dropped once more and accept that object"
        ));
    }
    if let Some(why) = &given.unpinned {
        return Err(why.to_string());
    }
    let (Some(object), Some(version), Some(size_bytes), Some((file_id, occurrence))) =
        (&command.object, &command.version, command.size_bytes, given.next_occurrence)
    else {
        return Err("expected an object with its version and size, found none".to_owned());
    };
    let verdict = Verdict { occurrence, size_bytes, ..file.verdict.clone() };
    Ok(Came::Accepted(Box::new(File {
        file_id,
        feed: file.feed.clone(),
        object: object.clone(),
        version: version.clone(),
        state: FileState::VERIFIED,
        reason: None,
        verdict,
        checkpoint: Checkpoint::default(),
        segments: Vec::new(),
        duplicates: 0,
        answers: Vec::new(),
        work: None,
        resubmits: None,
        arrived_at: given.now,
        updated_at: given.now,
    })))
}

/// What is wrong with the records that are to be resubmitted; none where nothing is.
fn wrong_records(file: &File, command: &FileCommand) -> Option<String> {
    let FileCommand { indices, byte_offsets, .. } = command;
    let records = file.verdict.records;
    let (Some(first), Some(last)) = (indices.first(), indices.last()) else {
        return Some("expected records to resubmit, found none".to_owned());
    };
    if *first < 0 || records <= *last || !indices.is_sorted_by(|one, next| one < next) {
        return Some(format!("expected ascending records from 0 and below {records}"));
    }
    if indices.len() != byte_offsets.len() {
        return Some("expected the byte at which each record begins".to_owned());
    }
    let rejected = file.rejected();
    let found = indices.len();
    let is_too_many = found > RESUBMITTED_MAX.min(usize::try_from(rejected).unwrap_or_default());
    is_too_many.then(|| {
        format!(
            "expected at most {RESUBMITTED_MAX} records of the {rejected} that were rejected, \
             found {found}"
        )
    })
}

fn resubmit(file: &mut File, command: &FileCommand, given: &Given) -> Result<Came, String> {
    if let Some(why) = &given.other_reader {
        return Err(why.to_string());
    }
    let indices = &command.indices;
    for (index, former) in indices.iter().zip(&given.attempts) {
        if let Some(former) = former.as_ref().filter(|former| !former.has_ended_without_effect()) {
            let (file_id, state) = (former.file_id, &former.state);
            return Err(format!(
                "record {index} was resubmitted as file {file_id}, which is {state}"
            ));
        }
    }
    let ends = (indices.first().copied(), indices.last().copied());
    let range = (ends.0.unwrap_or_default(), ends.1.unwrap_or_default());
    let mut work = begin(file, command, range);
    work.indices.clone_from(indices);
    work.byte_offsets.clone_from(&command.byte_offsets);
    let former = given.attempts.iter().map(|row| row.as_ref()?.resubmits.as_ref());
    work.attempts = former.map(|of| of.map_or(0, |of| of.attempt).saturating_add(1)).collect();
    Ok(Came::Begun(Box::new(work), Vec::new()))
}

/// The work that a command begins, on these records.
fn begin(file: &File, command: &FileCommand, (first_index, last_index): (i64, i64)) -> Work {
    Work {
        command_id: command.command_id,
        action: command.action.clone(),
        first_index,
        last_index,
        indices: Vec::new(),
        byte_offsets: Vec::new(),
        attempts: Vec::new(),
        by: command.by.clone(),
        why: command.why.clone(),
        state_before: file.state.clone(),
        checkpoint: None,
        segments: Vec::new(),
    }
}

/// The records that a command names, first and last: all where it names none.
fn range_of(file: &File, command: &FileCommand) -> Result<(i64, i64), String> {
    let first = command.first_index.unwrap_or_default();
    let last = command.last_index.unwrap_or(i64::MAX);
    let records = file.verdict.records;
    if first < 0 || last < first || records <= first {
        return Err(format!("expected a range of the {records} records, found {first}..={last}"));
    }
    Ok((first, last))
}

fn reversal(command: &FileCommand, (first, last): (i64, i64), given: &Given) -> Reversal {
    Reversal {
        command_id: command.command_id,
        file_id: command.file_id,
        first_index: first,
        last_index: last,
        reason: command.why.clone(),
        answer_to: given.answer_to,
    }
}

/// The end of a file's run, for each shard that has events of it.
pub(super) fn closes(
    file: &File,
    complete: bool,
    command_id: Option<CommandId>,
    answer_to: i32,
) -> Vec<SegmentClosed> {
    let Checkpoint { sequences, shard_sums, .. } = &file.checkpoint;
    let shards = (0..).zip(sequences).zip(shard_sums).filter(|((_, events), _)| **events > 0);
    shards
        .map(|((shard, events), sums)| SegmentClosed {
            file_id: file.file_id,
            shard,
            complete,
            events: *events,
            sums: sums.clone(),
            command_id,
            answer_to,
        })
        .collect()
}

/// The shards that have events of a file, by how far publishing is.
pub(super) fn touched(checkpoint: &Checkpoint) -> impl Iterator<Item = i32> {
    (0..).zip(&checkpoint.sequences).filter(|(_, events)| **events > 0).map(|(shard, _)| shard)
}

/// True where something of the file is published.
fn is_begun(file: &File) -> bool {
    0 < file.checkpoint.next_index
}

#[cfg(test)]
pub(super) mod tests;
