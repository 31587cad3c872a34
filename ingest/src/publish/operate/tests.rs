//! The table of commands, as a page, and what it refuses for other reasons than a file's state.

use expect_test::expect;
use schemas::file::Resubmits;
use schemas::{Currency, Digest, Direction, Sums};

use super::*;

/// Debits of 100 that add up to this.
pub(in super::super) fn sums(debit: i64) -> Sums {
    let mut sums = Sums::new();
    for _ in 0..debit / 100 {
        sums.add(&Direction::DEBIT, Currency::USD, 2, 100).unwrap();
    }
    sums
}

/// Four records: two events on shard 0, one on shard 2, one reject. What is open has half of them.
pub(in super::super) fn file(state: &FileState) -> File {
    let begun = *state != FileState::VERIFIED;
    let whole = ![FileState::VERIFIED, FileState::PUBLISHING, FileState::HELD, FileState::FAILED]
        .contains(state);
    let answered = [FileState::RECONCILED, FileState::UNBALANCED, FileState::REVERSED];
    let segment = |shard, applied| Segment {
        shard,
        number: 10,
        complete: true,
        events: applied,
        applied,
        rejected: 0,
        reversed: 0,
        duplicates: 0,
        applied_sums: sums(100 * applied),
        rejected_sums: Sums::new(),
        reversed_sums: Sums::new(),
    };
    File {
        file_id: FileId([1; 16]),
        feed: "ach".to_owned(),
        object: "a.ach".to_owned(),
        version: "1".to_owned(),
        state: state.clone(),
        reason: None,
        verdict: Verdict {
            content_digest: Digest([2; 32]),
            occurrence: 0,
            format: "nacha".to_owned(),
            container: "none".to_owned(),
            identifier: None,
            identifiers: Vec::new(),
            size_bytes: 940,
            content_bytes: 940,
            records: 4,
            rejects: 1,
            shard_events: vec![2, 0, 1],
            sums: sums(300),
            claimed_debits: None,
            claimed_credits: None,
            claimed_unsigned: None,
            control_totals: Vec::new(),
            warnings: Vec::new(),
            settings_digest: String::new(),
            reader_revision: 1,
            block_bytes: 1,
            block_digests: Vec::new(),
        },
        checkpoint: match (begun, whole) {
            (false, _) => Checkpoint::default(),
            (true, false) => Checkpoint {
                next_index: 2,
                sequences: vec![2, 0, 0],
                published: 2,
                sums: sums(200),
                shard_sums: vec![sums(200), Sums::new(), Sums::new()],
                ..Checkpoint::default()
            },
            (true, true) => Checkpoint {
                next_index: 4,
                sequences: vec![2, 0, 1],
                published: 3,
                rejected: 1,
                sums: sums(300),
                shard_sums: vec![sums(200), Sums::new(), sums(100)],
                ..Checkpoint::default()
            },
        },
        segments: match answered.contains(state) {
            true => vec![segment(0, 2), segment(2, 1)],
            false => Vec::new(),
        },
        duplicates: 0,
        answers: Vec::new(),
        work: None,
        resubmits: None,
        arrived_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}

pub(in super::super) fn command(action: &Action) -> FileCommand {
    let is_accepted = *action == Action::ACCEPT;
    FileCommand {
        command_id: CommandId([7; 16]),
        file_id: FileId([1; 16]),
        action: action.clone(),
        first_index: None,
        last_index: None,
        indices: if *action == Action::RESUBMIT { vec![3] } else { Vec::new() },
        byte_offsets: if *action == Action::RESUBMIT { vec![300] } else { Vec::new() },
        object: is_accepted.then(|| "again.ach".to_owned()),
        version: is_accepted.then(|| "2".to_owned()),
        size_bytes: is_accepted.then_some(950),
        by: "ana".to_owned(),
        why: "asked".to_owned(),
        at: Timestamp(1),
    }
}

pub(in super::super) fn given() -> Given {
    Given {
        now: Timestamp(2),
        answer_to: 1,
        unpinned: None,
        other_reader: None,
        next_occurrence: Some((FileId([9; 16]), 1)),
        on_its_way: None,
        stands: None,
        attempts: vec![None],
    }
}

/// What came of a command, in a line.
fn line(taken: &Taken) -> String {
    let Taken { file, accepted, asks } = taken;
    let mut line = match file.answers.last() {
        Some(answer) => format!("{}: {}", answer.outcome, answer.detail),
        None => "work".to_owned(),
    };
    if let Some(work) = &file.work {
        line.push_str(&format!(" on {}..={}", work.first_index, work.last_index));
    }
    for ask in asks {
        line.push_str(&match ask {
            Ask::Close(it) => format!(", end {} of {}", it.shard, it.events),
            Ask::Reverse(shard, it) => {
                format!(", undo {shard}: {}..={}", it.first_index, it.last_index)
            }
        });
    }
    if let Some(accepted) = accepted {
        line.push_str(&format!(", {} at {}", accepted.state, accepted.object));
    }
    line.replace(&i64::MAX.to_string(), "max")
}

/// The detail of a refusal.
fn refused(file: File, command: FileCommand, given: &Given) -> String {
    let (before, id) = (file.clone(), command.command_id);
    let mut taken = take(file, command, given).unwrap();
    let answer = taken.file.answers.pop().unwrap();
    assert_eq!((answer.outcome, answer.command_id), (AnswerKind::REFUSED, id));
    assert_eq!(taken, Taken { file: before, accepted: None, asks: Vec::new() });
    answer.detail
}

#[test]
fn each_command_in_each_state() {
    let mut page = String::new();
    for action in Action::KNOWN.iter().map(|word| Action::from(*word)) {
        for state in FileState::KNOWN.iter().map(|word| FileState::from(*word)) {
            let taken = take(file(&state), command(&action), &given()).unwrap();
            let after = &taken.file.state;
            page.push_str(&format!("{action:8} {state:11} {after:11} {}\n", line(&taken)));
        }
    }
    expect![[r#"
        hold     verified    held        done: held at record 0
        hold     publishing  held        done: held at record 2
        hold     published   published   refused: the file is published: all of it is published; `batchless cancel` or `batchless reverse` undoes it
        hold     reconciled  reconciled  refused: the file is reconciled: all of it is published; `batchless cancel` or `batchless reverse` undoes it
        hold     unbalanced  unbalanced  refused: the file is unbalanced: all of it is published; `batchless cancel` or `batchless reverse` undoes it
        hold     held        held        refused: the file is held: nothing more of it is published until `batchless release`
        hold     failed      failed      refused: the file is failed: it waits for its bytes; `batchless cancel` gives it up
        hold     cancelled   cancelled   refused: the file is cancelled: it is given up or undone
        hold     reversing   reversing   refused: the file is reversing: it is given up or undone
        hold     reversed    reversed    refused: the file is reversed: it is given up or undone
        release  verified    verified    refused: the file is verified: it is not held
        release  publishing  publishing  refused: the file is publishing: it is not held
        release  published   published   refused: the file is published: it is not held
        release  reconciled  reconciled  refused: the file is reconciled: it is not held
        release  unbalanced  unbalanced  refused: the file is unbalanced: it is not held
        release  held        publishing  done: it goes on at record 2
        release  failed      failed      refused: the file is failed: it goes on by itself once its bytes are there again
        release  cancelled   cancelled   refused: the file is cancelled: it is not held
        release  reversing   reversing   refused: the file is reversing: it is not held
        release  reversed    reversed    refused: the file is reversed: it is not held
        cancel   verified    cancelled   done: given up; no shard had anything of it
        cancel   publishing  cancelled   work on 0..=max, end 0 of 2, undo 0: 0..=max
        cancel   published   cancelled   work on 0..=max, end 0 of 2, undo 0: 0..=max, end 2 of 1, undo 2: 0..=max
        cancel   reconciled  reconciled  refused: the file is reconciled: all of its shards have answered; `batchless reverse` undoes it
        cancel   unbalanced  unbalanced  refused: the file is unbalanced: all of its shards have answered; `batchless reverse` undoes it
        cancel   held        cancelled   work on 0..=max, end 0 of 2, undo 0: 0..=max
        cancel   failed      cancelled   work on 0..=max, end 0 of 2, undo 0: 0..=max
        cancel   cancelled   cancelled   refused: the file is cancelled: it is given up or undone already
        cancel   reversing   reversing   refused: the file is reversing: it is given up or undone already
        cancel   reversed    reversed    refused: the file is reversed: it is given up or undone already
        accept   verified    verified    refused: the file is verified: it is on its way already
        accept   publishing  publishing  refused: the file is publishing: it is on its way already
        accept   published   published   done: accepted again, as file 09090909090909090909090909090909, verified at again.ach
        accept   reconciled  reconciled  done: accepted again, as file 09090909090909090909090909090909, verified at again.ach
        accept   unbalanced  unbalanced  done: accepted again, as file 09090909090909090909090909090909, verified at again.ach
        accept   held        held        refused: the file is held: `batchless release` lets it go on
        accept   failed      failed      refused: the file is failed: it goes on by itself once its bytes are there again
        accept   cancelled   cancelled   done: accepted again, as file 09090909090909090909090909090909, verified at again.ach
        accept   reversing   reversing   refused: the file is reversing: it is being undone; wait for its end
        accept   reversed    reversed    done: accepted again, as file 09090909090909090909090909090909, verified at again.ach
        replay   verified    verified    refused: the file is verified: nothing of it is published yet
        replay   publishing  publishing  refused: the file is publishing: it is being published; `batchless hold` stops it
        replay   published   published   work on 0..=max
        replay   reconciled  reconciled  work on 0..=max
        replay   unbalanced  unbalanced  work on 0..=max
        replay   held        held        work on 0..=max
        replay   failed      failed      work on 0..=max
        replay   cancelled   cancelled   refused: the file is cancelled: what is undone stays undone; `batchless accept` takes the same content again
        replay   reversing   reversing   refused: the file is reversing: what is undone stays undone; `batchless accept` takes the same content again
        replay   reversed    reversed    refused: the file is reversed: what is undone stays undone; `batchless accept` takes the same content again
        reverse  verified    verified    refused: the file is verified: its shards have not all answered; until then only `batchless cancel` undoes it
        reverse  publishing  publishing  refused: the file is publishing: its shards have not all answered; until then only `batchless cancel` undoes it
        reverse  published   published   refused: the file is published: its shards have not all answered; until then only `batchless cancel` undoes it
        reverse  reconciled  reversing   work on 0..=max, undo 0: 0..=max, undo 2: 0..=max
        reverse  unbalanced  reversing   work on 0..=max, undo 0: 0..=max, undo 2: 0..=max
        reverse  held        held        refused: the file is held: its shards have not all answered; until then only `batchless cancel` undoes it
        reverse  failed      failed      refused: the file is failed: its shards have not all answered; until then only `batchless cancel` undoes it
        reverse  cancelled   cancelled   refused: the file is cancelled: it is given up or undone already
        reverse  reversing   reversing   refused: the file is reversing: it is given up or undone already
        reverse  reversed    reversed    refused: the file is reversed: it is given up or undone already
        resubmit verified    verified    refused: the file is verified: its shards have not all answered; wait until it is reconciled
        resubmit publishing  publishing  refused: the file is publishing: its shards have not all answered; wait until it is reconciled
        resubmit published   published   refused: the file is published: its shards have not all answered; wait until it is reconciled
        resubmit reconciled  reconciled  work on 3..=3
        resubmit unbalanced  unbalanced  work on 3..=3
        resubmit held        held        refused: the file is held: its shards have not all answered; wait until it is reconciled
        resubmit failed      failed      refused: the file is failed: its shards have not all answered; wait until it is reconciled
        resubmit cancelled   cancelled   refused: the file is cancelled: what is undone stays undone; `batchless accept` takes the same content again
        resubmit reversing   reversing   refused: the file is reversing: what is undone stays undone; `batchless accept` takes the same content again
        resubmit reversed    reversed    refused: the file is reversed: what is undone stays undone; `batchless accept` takes the same content again
    "#]].assert_eq(&page);
}

#[test]
fn a_command_is_taken_once() {
    for action in Action::KNOWN.iter().map(|word| Action::from(*word)) {
        let taken = take(file(&FileState::RECONCILED), command(&action), &given()).unwrap();
        assert_eq!(take(taken.file.clone(), command(&action), &given()), None, "{action}");
        if taken.file.work.is_some() {
            let other = FileCommand { command_id: CommandId([8; 16]), ..command(&action) };
            let detail = refused(taken.file, other, &given());
            let is_reading = [Action::REPLAY, Action::RESUBMIT].contains(&action);
            let remedy = if is_reading { ", or give it up by `batchless cancel`" } else { "" };
            let expected = format!("a {action} by ana is under way; wait for its answer{remedy}");
            assert_eq!(detail, expected);
        }
    }
}

/// What reads a file again may last: nobody waits for it who must act at once.
#[test]
fn a_replay_or_resubmission_under_way_is_given_up() {
    let mut page = String::new();
    for (work, state) in [
        (Action::REPLAY, FileState::HELD),
        (Action::REPLAY, FileState::PUBLISHED),
        (Action::REPLAY, FileState::UNBALANCED),
        (Action::RESUBMIT, FileState::RECONCILED),
        (Action::REVERSE, FileState::RECONCILED),
    ] {
        for action in [Action::HOLD, Action::RELEASE, Action::CANCEL] {
            let begun = take(file(&state), command(&work), &given()).unwrap().file;
            let other = FileCommand { command_id: CommandId([8; 16]), ..command(&action) };
            let Taken { file: after, .. } = take(begun.clone(), other.clone(), &given()).unwrap();
            let came: Vec<_> = after.answers.iter().map(|it| it.outcome.as_str()).collect();
            let under_way = after.work.as_ref().map(|work| work.action.as_str());
            page.push_str(&format!(
                "{work} {state}, {action}: {} {under_way:?} {came:?}\n",
                after.state
            ));
            match after.answers.first() {
                Some(first) if first.outcome == AnswerKind::FAILED => {
                    assert_eq!(first.command_id, command(&work).command_id);
                    assert_eq!(first.detail, format!("given up by a {action}"));
                }
                _ => assert_eq!(after.work, begun.work),
            }
        }
    }
    expect![[r#"
        replay held, hold: held Some("replay") ["refused"]
        replay held, release: publishing None ["failed", "done"]
        replay held, cancel: cancelled Some("cancel") ["failed"]
        replay published, hold: published Some("replay") ["refused"]
        replay published, release: published Some("replay") ["refused"]
        replay published, cancel: cancelled Some("cancel") ["failed"]
        replay unbalanced, hold: unbalanced Some("replay") ["refused"]
        replay unbalanced, release: unbalanced Some("replay") ["refused"]
        replay unbalanced, cancel: unbalanced None ["failed", "done"]
        resubmit reconciled, hold: reconciled Some("resubmit") ["refused"]
        resubmit reconciled, release: reconciled Some("resubmit") ["refused"]
        resubmit reconciled, cancel: reconciled None ["failed", "done"]
        reverse reconciled, hold: reversing Some("reverse") ["refused"]
        reverse reconciled, release: reversing Some("reverse") ["refused"]
        reverse reconciled, cancel: reversing Some("reverse") ["refused"]
    "#]]
    .assert_eq(&page);
}

fn begun_work() -> Option<Work> {
    take(file(&FileState::RECONCILED), command(&Action::REVERSE), &given()).unwrap().file.work
}

#[test]
fn a_content_is_accepted_once_at_a_time() {
    let on_its_way = Some((FileId([9; 16]), FileState::PUBLISHING));
    let given = Given { on_its_way, ..given() };
    let detail = refused(file(&FileState::REVERSED), command(&Action::ACCEPT), &given);
    let id = FileId([9; 16]);
    let start = format!("it was accepted before, as file {id}, which is publishing; wait");
    assert!(detail.starts_with(&start), "{detail}");
}

#[test]
fn a_full_row_takes_only_what_undoes_the_file() {
    let mut full = file(&FileState::RECONCILED);
    let mut number = 0_u32;
    let mut ask = |file: File, action: &Action, first_index| {
        number += 1;
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let asked = FileCommand { command_id: CommandId(id), first_index, ..command(action) };
        take(file, asked, &given()).unwrap().file
    };
    for _ in 0..ANSWERS_MAX + 50 {
        full = ask(full, &Action::RELEASE, None);
    }
    assert_eq!(full.answers.len(), ANSWERS_MAX + 1);
    assert_eq!(full.answers.last().unwrap().detail, ROW_IS_FULL);
    for (action, first) in [(Action::REVERSE, Some(1)), (Action::REPLAY, None)] {
        assert_eq!(ask(full.clone(), &action, first).work, None);
    }
    assert!(ask(full.clone(), &Action::REVERSE, Some(0)).work.is_some());
    for _ in 0..2 * ANSWERS_SPARE {
        full = ask(full, &Action::CANCEL, None);
    }
    assert!(full.answers.len() <= ANSWERS_MAX + ANSWERS_SPARE + 1);
}

/// What a row alone refuses costs no reading of other rows.
#[test]
fn a_row_says_first_whether_a_command_may_be_taken() {
    let resubmit = command(&Action::RESUBMIT);
    let reconciled = || file(&FileState::RECONCILED);
    assert!(may_be_taken(&reconciled(), &resubmit));
    let begun = take(reconciled(), resubmit.clone(), &given()).unwrap().file;
    let other = FileCommand { command_id: CommandId([8; 16]), ..resubmit.clone() };
    let too_many = FileCommand { indices: vec![1, 3], byte_offsets: vec![1, 3], ..other.clone() };
    for (file, command) in [
        (begun.clone(), &resubmit),
        (begun, &other),
        (file(&FileState::PUBLISHED), &other),
        (reconciled(), &too_many),
    ] {
        assert!(!may_be_taken(&file, command));
    }
}

#[test]
fn what_is_held_for_its_settings_is_not_released() {
    let mut held = file(&FileState::HELD);
    let reason = Reason::new(SETTINGS_CHANGED).expected_found("shards 3", "4").remedy("restore");
    held.reason = Some(reason);
    expect!["settings changed: expected shards 3, found 4; restore: it goes on by itself then"]
        .assert_eq(&refused(held.clone(), command(&Action::RELEASE), &given()));
    held.reason = Some(Reason::new("same_identifier"));
    held.checkpoint = Checkpoint::default();
    let taken = take(held, command(&Action::RELEASE), &given()).unwrap();
    assert_eq!((taken.file.state, taken.file.reason), (FileState::VERIFIED, None));
}

#[test]
fn what_reads_the_file_as_before_is_refused_under_other_settings() {
    let unpinned = Some(Reason::new(SETTINGS_CHANGED).remedy("restore them"));
    let given = Given { unpinned, ..given() };
    for action in [Action::REPLAY, Action::ACCEPT] {
        let detail = refused(file(&FileState::RECONCILED), command(&action), &given);
        assert_eq!(detail, "settings changed; restore them", "{action}");
    }
}

/// An index names the same record only by the same reader; its byte is what is compared.
#[test]
fn nothing_is_resubmitted_that_may_be_counted_otherwise() {
    let other_reader = Some(Reason::new("other_reader").expected_found("revision 1", "2"));
    let given = Given { other_reader, ..given() };
    let file = || file(&FileState::RECONCILED);
    let detail = refused(file(), command(&Action::RESUBMIT), &given);
    assert_eq!(detail, "other reader: expected revision 1, found 2");
    let unplaced = FileCommand { byte_offsets: Vec::new(), ..command(&Action::RESUBMIT) };
    let detail = refused(file(), unplaced, &super::tests::given());
    assert_eq!(detail, "expected the byte at which each record begins");
}

#[test]
fn a_range_lies_within_the_file() {
    let ranges = |action: &Action, first, last| FileCommand {
        first_index: first,
        last_index: last,
        ..command(action)
    };
    for action in [Action::REVERSE, Action::REPLAY] {
        for (first, last) in [(Some(-1), None), (Some(4), None), (Some(2), Some(1))] {
            let detail =
                refused(file(&FileState::RECONCILED), ranges(&action, first, last), &given());
            assert!(detail.starts_with("expected a range of the 4 records"), "{detail}");
        }
        let taken = take(file(&FileState::RECONCILED), ranges(&action, Some(1), Some(2)), &given());
        let work = taken.unwrap().file.work.unwrap();
        assert_eq!((work.first_index, work.last_index), (1, 2));
    }
    let beyond = ranges(&Action::REPLAY, Some(2), None);
    let detail = refused(file(&FileState::HELD), beyond, &given());
    assert_eq!(detail, "expected a range below record 2, found one from 2");
}

/// Where a shard may lack events it takes none behind them, nor an end before them.
#[test]
fn a_replay_is_of_the_whole_file_where_a_shard_lacks_events() {
    let (first_index, last_index) = (Some(1), Some(2));
    let replay = FileCommand { first_index, last_index, ..command(&Action::REPLAY) };
    let range = |file: File| {
        let work = take(file, replay.clone(), &given()).unwrap().file.work.unwrap();
        (work.first_index, work.last_index)
    };
    assert_eq!(range(file(&FileState::PUBLISHED)), (0, i64::MAX));
    assert_eq!(range(file(&FileState::UNBALANCED)), (1, 2));
    let mut lacking = file(&FileState::UNBALANCED);
    lacking.segments[0].applied = 1;
    assert_eq!(range(lacking), (0, i64::MAX));
}

#[test]
fn nothing_is_undone_twice() {
    let mut file = file(&FileState::RECONCILED);
    for segment in &mut file.segments {
        segment.reversed = segment.applied;
    }
    let detail = refused(file, command(&Action::REVERSE), &given());
    assert_eq!(detail, "nothing of it is applied");
}

#[test]
fn only_what_was_rejected_is_resubmitted() {
    let of = |indices: &[i64]| FileCommand {
        indices: indices.to_vec(),
        byte_offsets: indices.iter().map(|index| 100 * index).collect(),
        ..command(&Action::RESUBMIT)
    };
    let file = || file(&FileState::RECONCILED);
    for (indices, expected) in [
        (&[][..], "expected records to resubmit, found none"),
        (&[-1], "expected ascending records from 0 and below 4"),
        (&[4], "expected ascending records from 0 and below 4"),
        (&[1, 1], "expected ascending records from 0 and below 4"),
        (&[1, 3], "expected at most 5000 records of the 1 that were rejected, found 2"),
    ] {
        assert_eq!(refused(file(), of(indices), &given()), expected);
    }
    let attempt = |state: FileState, rejected| {
        let mut row = file();
        row.file_id = FileId([5; 16]);
        row.state = state;
        row.segments.truncate(1);
        row.segments[0].rejected = rejected;
        row.segments[0].applied = 1 - rejected;
        row.checkpoint.rejected = 0;
        row.resubmits = Some(Resubmits { file_id: FileId([1; 16]), index: 3, attempt: 1 });
        Given { attempts: vec![Some(row)], ..given() }
    };
    let id = FileId([5; 16]);
    for state in [FileState::PUBLISHED, FileState::RECONCILED, FileState::CANCELLED] {
        let expected = format!("record 3 was resubmitted as file {id}, which is {state}");
        assert_eq!(refused(file(), of(&[3]), &attempt(state, 0)), expected);
    }
    let taken = take(file(), of(&[3]), &attempt(FileState::RECONCILED, 1)).unwrap();
    // What was undone since is as if it had never been; but not before that has ended.
    for state in [FileState::CANCELLED, FileState::REVERSED] {
        let mut given = attempt(state, 0);
        let row = given.attempts[0].as_mut().unwrap();
        row.segments[0].reversed = row.segments[0].applied;
        assert!(take(file(), of(&[3]), &given).unwrap().file.work.is_some());
        let row = given.attempts[0].as_mut().unwrap();
        row.work = begun_work();
        refused(file(), of(&[3]), &given);
    }
    let work = taken.file.work.unwrap();
    assert_eq!((work.indices, work.byte_offsets, work.attempts), (vec![3], vec![300], vec![2]));
    let of_a_record = attempt(FileState::RECONCILED, 1).attempts.remove(0).unwrap();
    let detail = refused(of_a_record, of(&[0]), &given());
    assert_eq!(detail, format!("it is record 3 of file {}; resubmit that again", FileId([1; 16])));
}
