//! Every command of an operator against the real owner of files: with each of its publishes failing
//! once in each way, and killed at each of its steps. Each is answered once, and each event is
//! there once, or again with the header `replayed`.

use std::collections::BTreeSet;
use std::sync::Arc;

use ingest::feed::Config;
use ingest::roll::Roll;
use ingest::step::Step;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::codec::Codec;
use schemas::command::{Action, FileCommand};
use schemas::file::{Answer, AnswerKind, File, FileState};
use schemas::{FileId, Topic};
use sha2::{Digest as _, Sha256};
use topic::Received;

use super::house::{Fault, House, Trouble, command, order_bytes};
use super::{ipm, nacha, states};

/// Plays a scene untroubled, then with every trouble that its commands can meet. `least` is how
/// many publishes and steps there are at least.
async fn in_every_trouble(least: usize, scene: impl AsyncFn(&mut House)) {
    let troubles: [fn(usize) -> Trouble; 4] = [
        |at| Trouble::Publish(Fault::Retry, at),
        |at| Trouble::Publish(Fault::Indefinite, at),
        |at| Trouble::Publish(Fault::Fenced, at),
        Trouble::Kill,
    ];
    for trouble in troubles {
        for at in 1.. {
            let mut house = House::with(trouble(at));
            scene(&mut house).await;
            house.stop().await;
            assert_once(&house).await;
            if house.was_spared() {
                assert!(least < at, "{:?}: only {at}", house.trouble);
                break;
            }
        }
    }
}

/// Each event is there once, and more often only where it says so.
async fn assert_once(house: &House) {
    for topic in [Topic::Records, Topic::Rejects] {
        let mut first = BTreeSet::new();
        for (id, is_replayed) in events(house, topic).await {
            assert!(is_replayed || first.insert(id.clone()), "{id} twice: {:?}", house.trouble);
        }
    }
}

/// The ids of a topic's events, and whether each says that it is a replay.
async fn events(house: &House, topic: Topic) -> Vec<(String, bool)> {
    let mut events = Vec::new();
    for partition in 0..topic::Log::partitions(&house.log, topic) {
        let take = |message: Received| {
            let is_replayed = message.headers.iter().any(|header| header.name == "replayed");
            events.push((String::from_utf8(message.id.to_vec()).unwrap(), is_replayed));
            Ok::<(), topic::Error>(())
        };
        topic::read_all(&house.log, topic, partition, 0, take).await.unwrap();
    }
    events
}

/// Drops a file and waits until it is reconciled.
pub(crate) async fn reconciled(house: &mut House, bytes: Vec<u8>) -> File {
    house.put("a.ach", bytes).await;
    house.start();
    let roll = house.until(|roll| all_in(roll, &FileState::RECONCILED)).await;
    roll.files.into_values().next().unwrap()
}

fn all_in(roll: &Roll, state: &FileState) -> bool {
    !roll.files.is_empty() && roll.files.values().all(|file| file.state == *state)
}

/// The file as it is now.
async fn now(house: &House, file_id: &FileId) -> File {
    house.until(|_| true).await.files.remove(file_id).unwrap()
}

fn assert_done(answer: &Answer, detail: &str) {
    assert_eq!((&answer.outcome, answer.detail.as_str()), (&AnswerKind::DONE, detail));
    assert_eq!((answer.by.as_str(), answer.why.as_str()), ("ana", "asked"));
}

/// Has a file of 12,000 records be split, and these commands be taken right behind a step of that.
async fn in_flight(house: &mut House, step: Step, commands: &[Action]) -> File {
    house.put("a.ach", nacha(12_000, 'A')).await;
    house.start_watching();
    let sent = |roll: &Roll| states(roll).get("a.ach").is_some_and(|state| state == "verified");
    let roll = house.until(sent).await;
    let file_id = roll.arrivals.values().next().unwrap().file_id.unwrap();
    let commands: Vec<FileCommand> =
        (0..).zip(commands).map(|(number, action)| command(action, file_id, number)).collect();
    *house.at_step.lock().unwrap() = Some((step, commands.clone()));
    house.start_publishing();
    for command in &commands {
        house.answer(command).await;
    }
    now(house, &file_id).await
}

#[tokio::test(start_paused = true)]
async fn a_hold_stops_at_the_next_chunk_and_a_release_goes_on_there() {
    in_every_trouble(2, async |house| {
        let file = in_flight(house, Step::ChunkPublished, &[Action::HOLD]).await;
        assert_eq!(file.state, FileState::HELD);
        assert_done(&file.answers[0], "held at record 5000");
        assert_eq!(house.ids(Topic::Records).await.len(), 5_000);
        house.arm();
        let answer = house.ask(command(&Action::RELEASE, file.file_id, 9)).await;
        assert_done(&answer, "it goes on at record 5000");
        house.until(|roll| all_in(roll, &FileState::RECONCILED)).await;
        assert_eq!(house.shards.lock().unwrap().applied(&file.file_id), 12_000);
    })
    .await;
}

/// A chunk that is made when the commands come waits behind them: it is none of the splitter that
/// goes on, which makes it again.
#[tokio::test(start_paused = true)]
async fn what_was_split_before_a_hold_is_not_published_after_its_release() {
    let commands = [Action::HOLD, Action::RELEASE, Action::HOLD, Action::RELEASE];
    for (step, record) in [(Step::Encoded, 0), (Step::ChunkPublished, 5_000)] {
        let mut house = House::new(Fault::Retry, 0);
        let file = in_flight(&mut house, step, &commands).await;
        let expected = format!("at record {record}");
        assert!(file.answers.iter().all(|answer| answer.detail.ends_with(&expected)));
        house.until(|roll| all_in(roll, &FileState::RECONCILED)).await;
        house.stop().await;
        assert_once(&house).await;
        assert_eq!(house.ids(Topic::Records).await.len(), 12_003);
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_in_flight_is_cancelled_and_all_that_was_applied_is_undone() {
    in_every_trouble(3, async |house| {
        let file = in_flight(house, Step::ChunkPublished, &[Action::HOLD]).await;
        house.arm();
        let answer = house.ask(command(&Action::CANCEL, file.file_id, 9)).await;
        let file = now(house, &file.file_id).await;
        assert_eq!((file.state, file.work), (FileState::CANCELLED, None));
        let (debits, credits) = (0..5_000_u64).fold((0, 0), |(debits, credits), entry| {
            let amount = 100 + entry % 1_000;
            if entry % 2 == 0 { (debits, credits + amount) } else { (debits + amount, credits) }
        });
        let sums = format!("USD {debits} debit {credits} credit in minor units");
        assert_done(&answer, &format!("5000 records undone, {sums}"));
        assert_eq!(house.shards.lock().unwrap().applied(&file.file_id), 0);
        assert_eq!(house.ids(Topic::Records).await.len(), 5_000 + 2 * 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_nothing_is_published_of_is_cancelled_at_once() {
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", nacha(30, 'A')).await;
    house.put("b.ach", nacha(31, 'A')).await;
    house.start();
    let is_held = |file: &File| file.state == FileState::HELD;
    let roll = house.until(|roll| roll.files.values().any(is_held)).await;
    let held = roll.files.values().find(|file| is_held(file)).unwrap();
    let answer = house.ask(command(&Action::CANCEL, held.file_id, 1)).await;
    assert_done(&answer, "given up; no shard had anything of it");
    assert_eq!(now(&house, &held.file_id).await.state, FileState::CANCELLED);
    house.stop().await;
}

/// What is held because its identifier came before may be released.
#[tokio::test(start_paused = true)]
async fn a_file_of_the_same_identifier_is_released() {
    let mut house = House::new(Fault::Retry, 0);
    house.put("a.ach", nacha(30, 'A')).await;
    house.put("b.ach", nacha(31, 'A')).await;
    house.start();
    let is_held = |file: &File| file.state == FileState::HELD;
    let roll = house.until(|roll| roll.files.values().any(is_held)).await;
    let held = roll.files.values().find(|file| is_held(file)).unwrap();
    house.ask(command(&Action::RELEASE, held.file_id, 1)).await;
    house.until(|roll| all_in(roll, &FileState::RECONCILED)).await;
    house.stop().await;
    assert_eq!(house.ids(Topic::Records).await.len(), 30 + 31 + 2 * 3);
}

#[tokio::test(start_paused = true)]
async fn a_range_is_undone_and_then_the_file() {
    in_every_trouble(3, async |house| {
        let file_id = reconciled(house, nacha(30, 'A')).await.file_id;
        house.arm();
        let (first, last) = (Some(10), Some(19));
        let part = command(&Action::REVERSE, file_id, 1);
        let part = FileCommand { first_index: first, last_index: last, ..part };
        let answer = house.ask(part).await;
        assert_done(
            &answer,
            "10 records undone, USD 575 debit 570 credit in minor units; 20 of the file are still \
             applied",
        );
        assert_eq!(now(house, &file_id).await.state, FileState::RECONCILED);
        let answer = house.ask(command(&Action::REVERSE, file_id, 2)).await;
        assert_done(
            &answer,
            "20 records undone, USD 1150 debit 1140 credit in minor units; 10 were undone before",
        );
        let file = now(house, &file_id).await;
        assert_eq!((&file.state, file.work), (&FileState::REVERSED, None));
        assert_eq!(house.shards.lock().unwrap().applied(&file_id), 0);
        let reversed: i64 = file.segments.iter().map(|segment| segment.reversed).sum();
        assert_eq!(reversed, 30);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_range_is_published_again_and_recognised() {
    in_every_trouble(4, async |house| {
        let file_id = reconciled(house, nacha(30, 'A')).await.file_id;
        house.arm();
        let replay = command(&Action::REPLAY, file_id, 1);
        let replay = FileCommand { first_index: Some(10), last_index: Some(19), ..replay };
        let answer = house.ask(replay).await;
        assert_done(
            &answer,
            "10 records published again, 10 to 19: 10 recognised as duplicates, 0 newly applied, \
             0 newly rejected",
        );
        let file = now(house, &file_id).await;
        assert_eq!((file.state, file.work), (FileState::RECONCILED, None));
        let again = events(house, Topic::Records).await;
        assert_eq!(again.iter().filter(|(_, is_replayed)| *is_replayed).count(), 10);
    })
    .await;
}

/// A shard that lost events gets them all, whatever range was asked for; the file is proved then.
#[tokio::test(start_paused = true)]
async fn what_a_shard_lost_is_published_again_with_all_of_the_file() {
    in_every_trouble(4, async |house| {
        house.shards.lock().unwrap().deaf = Some(1);
        house.put("a.ach", nacha(12_000, 'A')).await;
        house.start();
        let roll = house.until(|roll| all_in(roll, &FileState::PUBLISHED)).await;
        let file_id = *roll.files.keys().next().unwrap();
        house.until(|roll| roll.files[&file_id].segments.len() == 2).await;
        // Lost once more: the replay ends all the same.
        let replay = |number| FileCommand {
            first_index: Some(11_000),
            last_index: Some(11_500),
            ..command(&Action::REPLAY, file_id, number)
        };
        let answer = house.ask(replay(1)).await;
        assert_eq!(answer.outcome, AnswerKind::FAILED);
        let start = "the file has not ended on shard 1: expected ";
        assert!(answer.detail.starts_with(start), "{}", answer.detail);
        assert_eq!(now(house, &file_id).await.state, FileState::PUBLISHED);
        house.shards.lock().unwrap().deaf = None;
        house.arm();
        let answer = house.ask(replay(2)).await;
        assert_eq!(answer.outcome, AnswerKind::DONE);
        let start = "12000 records published again, 0 to 11999: ";
        assert!(answer.detail.starts_with(start), "{}", answer.detail);
        let end = " newly taken by shards that had not answered before";
        assert!(answer.detail.ends_with(end), "{}", answer.detail);
        assert_eq!(now(house, &file_id).await.state, FileState::RECONCILED);
        assert_eq!(house.shards.lock().unwrap().applied(&file_id), 12_000);
    })
    .await;
}

/// Below the checkpoint of a file that is held; it goes on afterwards.
#[tokio::test(start_paused = true)]
async fn what_was_published_of_a_held_file_is_published_again() {
    in_every_trouble(3, async |house| {
        let file = in_flight(house, Step::ChunkPublished, &[Action::HOLD]).await;
        house.arm();
        let replay = command(&Action::REPLAY, file.file_id, 1);
        let answer = house.ask(FileCommand { first_index: Some(4_990), ..replay }).await;
        assert_done(&answer, "10 records published again, 4990 to 4999");
        assert_eq!(now(house, &file.file_id).await.state, FileState::HELD);
        house.ask(command(&Action::RELEASE, file.file_id, 2)).await;
        house.until(|roll| all_in(roll, &FileState::RECONCILED)).await;
        assert_eq!(house.shards.lock().unwrap().applied(&file.file_id), 12_000);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_replay_fails_without_the_bytes_and_the_file_is_as_before() {
    in_every_trouble(2, async |house| {
        let before = reconciled(house, nacha(30, 'A')).await;
        house.store.delete(&Path::from("a.ach")).await.unwrap();
        house.arm();
        let answer = house.ask(command(&Action::REPLAY, before.file_id, 1)).await;
        assert_eq!(answer.outcome, AnswerKind::FAILED);
        assert!(answer.detail.starts_with("object gone: expected a.ach"), "{}", answer.detail);
        let after = now(house, &before.file_id).await;
        let updated_at = before.updated_at;
        assert_eq!(File { answers: Vec::new(), updated_at, ..after }, before);
    })
    .await;
}

/// Fee collections concern no account: their shard is that of the first occurrence, as counted.
#[tokio::test(start_paused = true)]
async fn the_same_content_is_taken_again_on_purpose() {
    in_every_trouble(3, async |house| {
        let mut config = Config::clone(&house.config);
        config.feeds[0].settings.format = "ipm".to_owned();
        house.config = config.into();
        let bytes = [ipm(1, 500), vec![0; 4]].concat();
        let first = reconciled(house, bytes.clone()).await;
        house.put("again.ipm", bytes.clone()).await;
        let listed =
            |roll: &Roll| roll.arrivals.values().any(|row| row.state.as_str() == "duplicate");
        let roll = house.until(listed).await;
        let row = roll.arrivals.values().find(|row| row.object == "again.ipm").unwrap();
        house.arm();
        let accept = FileCommand {
            object: Some(row.object.clone()),
            version: Some(row.version.clone()),
            size_bytes: Some(row.size_bytes),
            ..command(&Action::ACCEPT, first.file_id, 1)
        };
        let answer = house.ask(accept).await;
        let second = FileId::new("main", 1, &first.verdict.content_digest);
        assert_done(&answer, &format!("accepted again, as file {second}"));
        let both = |roll: &Roll| roll.files.len() == 2 && all_in(roll, &FileState::RECONCILED);
        let roll = house.until(both).await;
        assert_eq!(roll.files[&second].verdict.shard_events, first.verdict.shard_events);
        assert_eq!(roll.files[&second].verdict.occurrence, 1);
        // It is a duplicate still, of whichever occurrence.
        house.put("third.ipm", bytes).await;
        let seen = |roll: &Roll| states(roll).get("third.ipm").is_some_and(|it| it == "duplicate");
        house.until(seen).await;
    })
    .await;
}

/// Bytes that are there again are for the occurrence that misses them.
#[tokio::test(start_paused = true)]
async fn an_accepted_occurrence_goes_on_once_its_bytes_are_there() {
    let mut house = House::new(Fault::Retry, 0);
    let bytes = nacha(30, 'A');
    let first = reconciled(&mut house, bytes.clone()).await;
    let accept = FileCommand {
        object: Some("gone.ach".to_owned()),
        version: Some("1".to_owned()),
        size_bytes: Some(first.verdict.size_bytes),
        ..command(&Action::ACCEPT, first.file_id, 1)
    };
    house.ask(accept).await;
    house.until(|roll| roll.files.values().any(|file| file.state == FileState::FAILED)).await;
    house.put("b.ach", bytes).await;
    house.until(|roll| all_in(roll, &FileState::RECONCILED)).await;
    house.stop().await;
    assert_eq!(house.ids(Topic::Records).await.len(), 2 * 33);
}

/// Records that were rejected when they were applied: tried again, and once more, and then done.
#[tokio::test(start_paused = true)]
async fn rejected_records_are_resubmitted_until_they_are_applied() {
    in_every_trouble(4, async |house| {
        let bytes = nacha(30, 'A');
        let digest = Sha256::digest(&bytes);
        let file_id = FileId::new("main", 0, &schemas::Digest(digest.into()));
        house.shards.lock().unwrap().rejecting.insert(file_id);
        reconciled(house, bytes).await;
        let resubmit = |number, indices: &[i64]| FileCommand {
            indices: indices.to_vec(),
            byte_offsets: indices.iter().map(entry_at).collect(),
            ..command(&Action::RESUBMIT, file_id, number)
        };
        let attempt = |index, attempt| FileId::resubmitted(&file_id, index, attempt);
        house.shards.lock().unwrap().rejecting.insert(attempt(3, 1));
        house.arm();
        let answer = house.ask(resubmit(1, &[3, 20])).await;
        let (third, twentieth) = (attempt(3, 1), attempt(20, 1));
        assert_done(
            &answer,
            &format!(
                "2 published again, 0 can't be read again: record 3 published as file {third}; \
                 record 20 published as file {twentieth}"
            ),
        );
        house.until(|roll| all_in(roll, &FileState::RECONCILED) && roll.files.len() == 3).await;
        let answer = house.ask(resubmit(2, &[20])).await;
        assert_eq!(answer.outcome, AnswerKind::REFUSED);
        let answer = house.ask(resubmit(3, &[3])).await;
        assert_eq!(answer.outcome, AnswerKind::DONE);
        house.until(|roll| all_in(roll, &FileState::RECONCILED) && roll.files.len() == 4).await;
        let shards = house.shards.lock().unwrap();
        let applied = [file_id, third, attempt(3, 2), twentieth].map(|id| shards.applied(&id));
        assert_eq!(applied, [0, 0, 1, 1]);
    })
    .await;
}

/// A record that can't be read: it is a reject again, and the row of that attempt ends with it.
#[tokio::test(start_paused = true)]
async fn a_record_that_still_cannot_be_read_is_rejected_again() {
    in_every_trouble(2, async |house| {
        let mut bytes = nacha(30, 'A');
        // A letter in the amount of the sixth entry, which is the eighth line.
        bytes[95 * 7 + 30] = b'X';
        let file = reconciled(house, bytes).await;
        assert_eq!(file.checkpoint.rejected, 1);
        house.arm();
        let resubmit = |number| FileCommand {
            indices: vec![5],
            byte_offsets: vec![entry_at(&5)],
            ..command(&Action::RESUBMIT, file.file_id, number)
        };
        for number in 1..=2 {
            let answer = house.ask(resubmit(number)).await;
            let id = FileId::resubmitted(&file.file_id, 5, u32::from(number));
            let detail =
                format!("0 published again, 1 can't be read again: record 5 rejected as file {id}");
            assert_done(&answer, &detail);
            let row = now(house, &id).await;
            assert_eq!((row.state, row.checkpoint.rejected), (FileState::RECONCILED, 1));
            let of = row.resubmits.unwrap();
            assert_eq!((of.file_id, of.index, of.attempt), (file.file_id, 5, i32::from(number)));
        }
        assert_eq!(house.ids(Topic::Rejects).await.len(), 3);
    })
    .await;
}

/// Bytes that are no command hold up nobody: neither this owner nor the next one.
#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_decoded_is_passed_over() {
    let mut house = House::new(Fault::Retry, 0);
    let file_id = reconciled(&mut house, nacha(30, 'A')).await.file_id;
    let torn = command(&Action::REVERSE, file_id, 1);
    let bytes = Codec::built_in().encode(&torn).unwrap();
    order_bytes(&house.log, &torn, bytes[..20].to_vec()).await;
    let answer = house.ask(command(&Action::REVERSE, file_id, 2)).await;
    assert_eq!(answer.outcome, AnswerKind::DONE);
    assert_eq!(now(&house, &file_id).await.answers.len(), 1);
    house.stop().await;
}

/// Whatever changes its row while it is read again under its own settings.
#[tokio::test(start_paused = true)]
async fn a_file_that_was_held_for_its_settings_goes_on_whatever_comes_meanwhile() {
    let mut house = House::new(Fault::Retry, 0);
    let original = Arc::clone(&house.config);
    house.put("a.ach", nacha(30, 'A')).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.stop().await;
    let mut changed = Config::clone(&original);
    changed.feeds[0].settings.side = ingest::format::Side::Acquirer;
    house.config = changed.into();
    house.start_publishing();
    let roll = house.until(|roll| all_in(roll, &FileState::HELD)).await;
    house.stop().await;
    house.config = original;
    let hold = command(&Action::HOLD, *roll.files.keys().next().unwrap(), 1);
    *house.at_step.lock().unwrap() = Some((Step::BlockRead, vec![hold.clone()]));
    house.start_publishing();
    assert_eq!(house.answer(&hold).await.outcome, AnswerKind::REFUSED);
    house.until(|roll| all_in(roll, &FileState::RECONCILED)).await;
    house.stop().await;
}

/// A bucket that is away keeps a replay from its end, and nobody from giving up the file.
#[tokio::test(start_paused = true)]
async fn a_cancel_waits_for_no_replay() {
    in_every_trouble(3, async |house| {
        let file = in_flight(house, Step::ChunkPublished, &[Action::HOLD]).await;
        let replay = command(&Action::REPLAY, file.file_id, 1);
        let cancel = command(&Action::CANCEL, file.file_id, 2);
        house.arm();
        // Right behind the replay: nothing is read for it yet.
        house.order_all(&[&replay, &cancel]).await;
        let given_up = house.answer(&replay).await;
        let expected = (AnswerKind::FAILED, "given up by a cancel".to_owned());
        assert_eq!((given_up.outcome, given_up.detail), expected);
        assert_eq!(house.answer(&cancel).await.outcome, AnswerKind::DONE);
        let file = now(house, &file.file_id).await;
        assert_eq!((file.state, file.work), (FileState::CANCELLED, None));
        assert_eq!(house.shards.lock().unwrap().applied(&file.file_id), 0);
    })
    .await;
}

/// The byte at which an entry begins, behind the two headers.
fn entry_at(index: &i64) -> i64 {
    95 * (index + 2)
}

/// Under other settings a record may have another index: it is not posted for the one that was
/// rejected, and what was asked together is published together or not at all.
#[tokio::test(start_paused = true)]
async fn nothing_is_resubmitted_where_an_index_is_another_records() {
    let mut house = House::new(Fault::Retry, 0);
    let bytes = nacha(30, 'A');
    let digest = schemas::Digest(Sha256::digest(&bytes).into());
    let file_id = FileId::new("main", 0, &digest);
    house.shards.lock().unwrap().rejecting.insert(file_id);
    reconciled(&mut house, bytes).await;
    let records = house.ids(Topic::Records).await;
    let resubmit = FileCommand {
        indices: vec![3, 20],
        byte_offsets: vec![entry_at(&3), entry_at(&19)],
        ..command(&Action::RESUBMIT, file_id, 1)
    };
    let answer = house.ask(resubmit).await;
    assert_eq!(answer.outcome, AnswerKind::FAILED);
    let expected = "expected record 20 at byte 1995, found it at byte 2090";
    assert!(answer.detail.contains(expected), "{}", answer.detail);
    assert_eq!(house.ids(Topic::Records).await, records);
    assert_eq!(now(&house, &file_id).await.state, FileState::RECONCILED);
    house.stop().await;
}
