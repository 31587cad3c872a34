//! How commands end, by what the shards answer.

use schemas::command::FileCommand;
use schemas::file::Checkpoint;

use super::super::operate::take;
use super::super::operate::tests::{command, file, given, sums};
use super::*;

const NOW: Timestamp = Timestamp(3);

/// A file with a command under way, by the table.
fn begun(action: &Action, state: &FileState) -> File {
    take(file(state), command(action), &given()).unwrap().file
}

/// What a shard of two events (shard 0) or one (shard 2) answers.
fn answer(shard: i32, number: i64, reversed: i64, command: Option<&FileCommand>) -> SegmentApplied {
    let events = if shard == 0 { 2 } else { 1 };
    let segment = Segment {
        shard,
        number,
        complete: true,
        events,
        applied: events,
        rejected: 0,
        reversed,
        duplicates: 0,
        applied_sums: sums(100 * events),
        rejected_sums: Sums::new(),
        reversed_sums: sums(100 * reversed),
    };
    let file_id = schemas::FileId([1; 16]);
    SegmentApplied { file_id, segment, command_id: command.map(|command| command.command_id) }
}

/// The answer to the command, and the file, once these have come.
fn ended(mut file: File, answers: Vec<SegmentApplied>) -> (AnswerKind, String, File) {
    for answer in answers {
        assert!(file.answers.is_empty(), "answered before its end");
        take_segment(&mut file, answer, NOW);
    }
    assert_eq!(file.work, None);
    let answer = file.answers.last().unwrap().clone();
    assert_eq!((file.answers.len(), answer.at), (1, NOW));
    (answer.outcome, answer.detail, file)
}

#[test]
fn a_reversal_ends_with_the_last_shard() {
    let reverse = command(&Action::REVERSE);
    let file = begun(&Action::REVERSE, &FileState::UNBALANCED);
    let answers = vec![
        answer(0, 20, 2, Some(&reverse)),
        // Again, and one of before that comes late: neither is the other shard's.
        answer(0, 20, 2, Some(&reverse)),
        answer(2, 9, 0, None),
        answer(2, 21, 1, Some(&reverse)),
    ];
    let (outcome, detail, file) = ended(file, answers);
    assert_eq!(outcome, AnswerKind::DONE);
    assert_eq!(detail, "3 records undone, USD 300 debit 0 credit in minor units");
    assert_eq!((file.state, file.segments[1].number), (FileState::REVERSED, 21));
}

#[test]
fn a_shard_that_does_not_take_a_reversal_fails_it() {
    let reverse = command(&Action::REVERSE);
    let mut open = answer(2, 21, 0, Some(&reverse));
    open.segment.complete = false;
    let file = begun(&Action::REVERSE, &FileState::RECONCILED);
    let (outcome, detail, file) = ended(file, vec![answer(0, 20, 2, Some(&reverse)), open]);
    assert_eq!(outcome, AnswerKind::FAILED);
    assert_eq!(
        detail,
        "the file has not ended on shard 2; 2 records undone, USD 200 debit 0 credit in minor \
         units; 1 of the file are still applied"
    );
    assert_eq!(file.state, FileState::RECONCILED);
}

/// A shard answers to the end of the run, and then to the reversal.
#[test]
fn a_cancellation_ends_when_all_is_undone() {
    let cancel = command(&Action::CANCEL);
    let given_up = |number, reversed| {
        let mut answer = answer(0, number, reversed, Some(&cancel));
        answer.segment.complete = false;
        answer
    };
    let file = || begun(&Action::CANCEL, &FileState::HELD);
    let late = answer(0, 10, 0, None);
    let answers = vec![late, given_up(20, 0), given_up(20, 0), given_up(25, 2)];
    let (outcome, detail, ended_file) = ended(file(), answers);
    assert_eq!(outcome, AnswerKind::DONE);
    assert_eq!(detail, "2 records undone, USD 200 debit 0 credit in minor units");
    assert_eq!((ended_file.state, ended_file.segments[0].number), (FileState::CANCELLED, 25));
    // A counter of an account was full.
    let (outcome, detail, _) = ended(file(), vec![given_up(20, 0), given_up(25, 1)]);
    assert_eq!(outcome, AnswerKind::FAILED);
    assert!(detail.ends_with("; 1 can't be undone"), "{detail}");
}

/// What a shard lost is applied now, and the file is proved.
#[test]
fn a_replay_concludes_a_file_again() {
    let replay = command(&Action::REPLAY);
    let mut file = begun(&Action::REPLAY, &FileState::UNBALANCED);
    file.segments[0].applied = 1;
    let mut work = file.work.take().unwrap();
    assert_eq!(work.checkpoint.take(), Some(Checkpoint::default()));
    file.work = Some(work);
    let mut first = answer(0, 20, 0, Some(&replay));
    first.segment.duplicates = 1;
    let mut second = answer(2, 20, 0, Some(&replay));
    second.segment.duplicates = 1;
    let (outcome, detail, file) = ended(file, vec![first, second]);
    assert_eq!(outcome, AnswerKind::DONE);
    assert_eq!(
        detail,
        "4 records published again, 0 to 3: 2 recognised as duplicates, 1 newly applied, 0 newly \
         rejected"
    );
    assert_eq!((file.state, file.reason), (FileState::RECONCILED, None));
}

/// A shard that lacks events still, or has other ones, says so, and that is the end of it.
#[test]
fn a_replay_fails_where_a_shard_does_not_end_and_the_file_is_as_before() {
    let replay = command(&Action::REPLAY);
    for state in [FileState::PUBLISHED, FileState::UNBALANCED] {
        let mut file = begun(&Action::REPLAY, &state);
        file.work.as_mut().unwrap().checkpoint = None;
        let before = file.clone();
        let mut gap = answer(2, 20, 0, Some(&replay));
        gap.segment = Segment { complete: false, events: 1, applied: 0, ..gap.segment };
        let answers = vec![answer(0, 20, 0, Some(&replay)), gap.clone()];
        let (outcome, detail, mut file) = ended(file, answers);
        assert_eq!(outcome, AnswerKind::FAILED);
        assert_eq!(
            detail,
            "the file has not ended on shard 2: expected 1 events, found 0; `batchless replay` of \
             the whole file publishes what a shard lacks, `batchless verify` shows what it has"
        );
        assert_eq!((&file.state, &file.segments), (&state, &before.segments));
        // Again, now that nobody waits for it: the shard has not ended for that.
        take_segment(&mut file, gap, NOW);
        assert_eq!((&file.state, &file.segments), (&state, &before.segments));
    }
}

/// What shards answer to a replay that was given up is no answer to what came behind it.
#[test]
fn late_answers_to_what_was_given_up_end_nothing() {
    let (replay, mut cancel) = (command(&Action::REPLAY), command(&Action::CANCEL));
    cancel.command_id = schemas::CommandId([8; 16]);
    for state in [FileState::HELD, FileState::PUBLISHED] {
        let begun = begun(&Action::REPLAY, &state);
        let mut file = take(begun, cancel.clone(), &given()).unwrap().file;
        let work = file.work.clone();
        for shard in [0, 2] {
            take_segment(&mut file, answer(shard, 11, 0, Some(&replay)), NOW);
        }
        assert_eq!((&file.state, &file.work), (&FileState::CANCELLED, &work));
        let closed = |mut answer: SegmentApplied| {
            answer.segment.complete = false;
            answer
        };
        for shard in super::super::operate::touched(&file.checkpoint.clone()) {
            let all = if shard == 0 { 2 } else { 1 };
            take_segment(&mut file, closed(answer(shard, 20, 0, Some(&cancel))), NOW);
            take_segment(&mut file, closed(answer(shard, 21, all, Some(&cancel))), NOW);
        }
        let outcomes: Vec<_> = file.answers.iter().map(|it| it.outcome.clone()).collect();
        assert_eq!(outcomes, [AnswerKind::FAILED, AnswerKind::DONE]);
        assert_eq!(file.work, None);
    }
}

/// While it reads the file again, answers to it can't be there yet; those to others change nothing.
#[test]
fn a_replay_does_not_end_before_all_is_published() {
    let mut file = begun(&Action::REPLAY, &FileState::RECONCILED);
    let before = file.work.clone();
    for shard in [0, 2] {
        take_segment(&mut file, answer(shard, 11, 0, None), NOW);
    }
    assert_eq!((file.work, file.answers), (before, Vec::new()));
}
