//! Commands that take a while: what shards answer to them, and how they end. Pure.

use schemas::arrival::Reason;
use schemas::command::{Action, SegmentApplied};
use schemas::file::{Answer, AnswerKind, File, FileState, Segment, Work};
use schemas::{Sums, Timestamp};

use super::operate::touched;
use crate::reconcile::{open_shards, reconcile, take_answer};

/// Takes a shard's answer to a file: to the command under way, or to its own end.
pub(super) fn take_segment(file: &mut File, answer: SegmentApplied, now: Timestamp) {
    match &mut file.work {
        Some(work) if answer.command_id == Some(work.command_id) => {
            // Of what is cancelled both answers of a shard are kept: the second is its last.
            let is_new = work.segments.iter().all(|one| !is_same(one, &answer.segment));
            match work.action == Action::CANCEL && is_new {
                true => work.segments.push(answer.segment),
                false => take_answer(&mut work.segments, answer.segment),
            }
            end_if_answered(file, now);
        }
        // That the run has not ended on the shard counts for the command that asked, and no longer.
        _ if !answer.segment.complete => (),
        _ => {
            take_answer(&mut file.segments, answer.segment);
            conclude(file);
        }
    }
}

/// Concludes a published file once every shard that it touches has answered.
pub(super) fn conclude(file: &mut File) {
    if file.state != FileState::PUBLISHED || open_shards(file).next().is_some() {
        return;
    }
    let (file_id, object) = (file.file_id, file.object.as_str());
    match reconcile(file) {
        Ok(()) => {
            let records = file.verdict.records;
            let rejected = file.rejected();
            tracing::info!(%file_id, object, records, rejected, "file reconciled");
            file.state = FileState::RECONCILED;
            file.reason = None;
        }
        Err(reason) => {
            tracing::error!(%file_id, object, reason = %reason, "file does not reconcile");
            file.state = FileState::UNBALANCED;
            file.reason = Some(*reason);
        }
    }
}

/// Ends the work of a file where every shard that it waits for has answered.
pub(super) fn end_if_answered(file: &mut File, now: Timestamp) {
    let Some(work) = &file.work else { return };
    if work.checkpoint.is_some() || work.action == Action::RESUBMIT {
        return;
    }
    if !touched(&file.checkpoint).all(|shard| has_ended(work, shard)) {
        return;
    }
    let Some(mut work) = file.work.take() else { return };
    let mut newest = Vec::with_capacity(work.segments.len());
    work.segments.drain(..).for_each(|segment| take_answer(&mut newest, segment));
    work.segments = newest;
    if work.action == Action::REPLAY
        && let Some(detail) = unended(&work)
    {
        file.answers.push(answer(work, AnswerKind::FAILED, detail, now));
        return;
    }
    let before = file.segments.clone();
    for segment in &work.segments {
        take_answer(&mut file.segments, segment.clone());
    }
    let (outcome, detail) = if work.action == Action::REPLAY {
        (AnswerKind::DONE, replayed(file, &work, &before))
    } else if work.action == Action::REVERSE {
        reversed(file, &work, &before)
    } else {
        cancelled(&work, &before)
    };
    file.answers.push(answer(work, outcome, detail, now));
}

/// Ends the work of a file that can't be ended as it was asked: the file is as before.
pub(super) fn fail(file: &mut File, reason: &Reason, now: Timestamp) {
    if let Some(work) = file.work.take() {
        file.answers.push(answer(work, AnswerKind::FAILED, reason.to_string(), now));
    }
}

/// The answer to a command whose work has ended.
pub(super) fn answer(work: Work, outcome: AnswerKind, detail: String, at: Timestamp) -> Answer {
    let Work { command_id, action, by, why, .. } = work;
    Answer { command_id, action: action.as_str().to_owned(), by, why, outcome, detail, at }
}

fn is_same(one: &Segment, other: &Segment) -> bool {
    (one.shard, one.number) == (other.shard, other.number)
}

/// True where a shard has said its last word on the command. Of what is cancelled it answers to the
/// end of the run first, and then to the reversal; where it had nothing to undo, the first will do.
fn has_ended(work: &Work, shard: i32) -> bool {
    let mut answers = work.segments.iter().filter(|one| one.shard == shard);
    match answers.next() {
        None => false,
        Some(first) if work.action == Action::CANCEL => {
            first.applied == first.reversed || answers.next().is_some()
        }
        Some(_) => true,
    }
}

/// How many records shards still have applied.
fn left(segments: &[Segment]) -> i64 {
    segments.iter().map(|segment| segment.applied.saturating_sub(segment.reversed)).sum()
}

/// Ends a cancellation. That a record can't be undone means that a counter of its account is full.
fn cancelled(work: &Work, before: &[Segment]) -> (AnswerKind, String) {
    let detail = undone(&work.segments, before);
    match left(&work.segments) {
        0 => (AnswerKind::DONE, detail),
        left => (AnswerKind::FAILED, format!("{detail}; {left} can't be undone")),
    }
}

/// Ends a reversal: the file is reversed where nothing applied is left of it, else as before.
fn reversed(file: &mut File, work: &Work, before: &[Segment]) -> (AnswerKind, String) {
    let mut detail = undone(&work.segments, before);
    match left(&work.segments) {
        0 => {
            file.state = FileState::REVERSED;
            file.reason = None;
        }
        left => {
            file.state = work.state_before.clone();
            detail.push_str(&format!("; {left} of the file are still applied"));
        }
    }
    // A shard takes up a reversal only where the file's run has ended.
    let unwilling = work.segments.iter().filter(|segment| !segment.complete);
    let unwilling: Vec<String> = unwilling.map(|segment| segment.shard.to_string()).collect();
    if unwilling.is_empty() {
        return (AnswerKind::DONE, detail);
    }
    let shards = unwilling.join(", ");
    (AnswerKind::FAILED, format!("the file has not ended on shard {shards}; {detail}"))
}

/// Why shards did not end the run of a file that was replayed; none where all did. What such a
/// shard answers is no end: the file is as before.
fn unended(work: &Work) -> Option<String> {
    let refused = work.segments.iter().filter(|segment| !segment.complete);
    let each: Vec<String> = refused
        .map(|segment| {
            let Segment { shard, events, .. } = segment;
            let found = segment.applied.saturating_add(segment.rejected);
            format!("on shard {shard}: expected {events} events, found {found}")
        })
        .collect();
    let remedy = "`batchless replay` of the whole file publishes what a shard lacks, `batchless \
                  verify` shows what it has";
    (!each.is_empty()).then(|| format!("the file has not ended {}; {remedy}", each.join(", ")))
}

/// Ends a replay: where the file was not proved, it is tried again with what the shards say now.
fn replayed(file: &mut File, work: &Work, before: &[Segment]) -> String {
    if file.state == FileState::UNBALANCED {
        file.state = FileState::PUBLISHED;
    }
    conclude(file);
    let (mut recognised, mut applied, mut rejected, mut taken) = (0, 0, 0, 0);
    for after in &work.segments {
        match of_shard(before, after.shard) {
            Some(before) => {
                recognised += after.duplicates.saturating_sub(before.duplicates);
                applied += after.applied.saturating_sub(before.applied);
                rejected += after.rejected.saturating_sub(before.rejected);
            }
            None => {
                // It lacked events, so that all of its own came again.
                recognised += after.duplicates;
                taken += after.events.saturating_sub(after.duplicates).max(0);
            }
        }
    }
    let mut detail = format!(
        "{}: {recognised} recognised as duplicates, {applied} newly applied, {rejected} newly \
         rejected",
        published_again(file, work)
    );
    if 0 < taken {
        detail.push_str(&format!(", {taken} newly taken by shards that had not answered before"));
    }
    detail
}

/// What a replay published, in words.
pub(super) fn published_again(file: &File, work: &Work) -> String {
    let end = replay_end(file, work);
    let records = end.saturating_sub(work.first_index);
    let last = end.saturating_sub(1);
    format!("{records} records published again, {} to {last}", work.first_index)
}

/// Behind the last record that a replay publishes: it never passes the file's own checkpoint.
pub(super) fn replay_end(file: &File, work: &Work) -> i64 {
    work.last_index.saturating_add(1).min(file.checkpoint.next_index)
}

/// How many records a command undid, in words, with their sums.
fn undone(after: &[Segment], before: &[Segment]) -> String {
    let (mut records, mut records_before) = (0_i64, 0_i64);
    let (mut sums, mut sums_before) = (Sums::new(), Sums::new());
    for after in after {
        records = records.saturating_add(after.reversed);
        // A sum over the shards of a file is no larger than the file's own.
        let _ = sums.merge(&after.reversed_sums);
        if let Some(before) = of_shard(before, after.shard) {
            records_before = records_before.saturating_add(before.reversed);
            let _ = sums_before.merge(&before.reversed_sums);
        }
    }
    let by_it = records.saturating_sub(records_before);
    let mut detail = format!("{by_it} records undone{}", difference(&sums, &sums_before));
    if 0 < records_before {
        detail.push_str(&format!("; {records_before} were undone before"));
    }
    detail
}

/// What sums have grown by, per currency, in minor units.
fn difference(after: &Sums, before: &Sums) -> String {
    let mut text = String::new();
    for sum in after.iter() {
        let same = |one: &&schemas::money::Sum| {
            (one.currency, one.exponent) == (sum.currency, sum.exponent)
        };
        let (debits, credits) =
            before.iter().find(same).map_or((0, 0), |one| (one.debits_minor, one.credits_minor));
        let debits = sum.debits_minor.saturating_sub(debits);
        let credits = sum.credits_minor.saturating_sub(credits);
        if (debits, credits) != (0, 0) {
            let currency = sum.currency;
            text.push_str(&format!(", {currency} {debits} debit {credits} credit in minor units"));
        }
    }
    text
}

fn of_shard(segments: &[Segment], shard: i32) -> Option<&Segment> {
    segments.iter().find(|segment| segment.shard == shard)
}

#[cfg(test)]
mod tests;
