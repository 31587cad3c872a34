//! Reversals through the owner of a shard: interrupted, beside other files, and fenced.

use schemas::record::Reversal;

use super::*;

/// Enough for several slices.
const RECORDS: i64 = 1_200;
const COMMAND: CommandId = CommandId([7; 16]);

fn reversal(file_id: FileId, first_index: i64, last_index: i64) -> Reversal {
    let answer_to = i32::try_from(ANSWER_TO).unwrap();
    let reason = "test".to_owned();
    Reversal { command_id: COMMAND, file_id, first_index, last_index, reason, answer_to }
}

/// A store whose commits take a moment, in which others have their turn.
fn sqlite() -> (tempfile::TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("accounts.db")).unwrap();
    (directory, store)
}

/// The answers to the command, one a shard, each saying how many records are undone.
async fn answers(world: &World) -> BTreeMap<i32, i64> {
    let mut answers = BTreeMap::new();
    for message in world.all(Topic::Commands, ANSWER_TO).await {
        let answer: SegmentApplied =
            Codec::built_in().decode(message.value.as_ref().unwrap()).unwrap();
        if answer.command_id == Some(COMMAND) {
            let before = answers.insert(answer.segment.shard, answer.segment.reversed);
            assert_eq!(before, None, "answered once");
        }
    }
    answers
}

/// Of file 1 all is undone, once; of the others nothing is.
async fn is_undone(world: &World, outcomes: i64) {
    for shard in 0..SHARDS {
        let all = world.outcomes(shard).await;
        assert!(all.iter().map(|outcome| outcome.number).eq(0..outcomes));
        let of_kind = |kind| all.iter().filter(move |outcome| outcome.kind == kind);
        let mut undone: Vec<_> =
            of_kind(OutcomeKind::REVERSED).map(|it| it.number_reversed.unwrap()).collect();
        let applied = of_kind(OutcomeKind::APPLIED).filter(|it| it.file_id == Some(file(1)));
        let applied: Vec<_> = applied.map(|outcome| outcome.number).collect();
        assert!(undone.is_sorted_by(|a, b| b < a), "the newest first");
        undone.reverse();
        assert_eq!(undone, applied);
        let others: Vec<Outcome> =
            all.iter().filter(|outcome| outcome.file_id != Some(file(1))).cloned().collect();
        let mut left = balances(&all);
        left.retain(|_, balance| *balance != 0);
        assert_eq!(left, balances(&others));
    }
    let expected: BTreeMap<_, _> =
        (0..i32::try_from(SHARDS).unwrap()).map(|shard| (shard, RECORDS)).collect();
    assert_eq!(answers(world).await, expected);
}

/// Ended after each step in turn, while a file is undone and another comes, and started again.
async fn is_interrupted<S: Store>(store: &S, step: Step) {
    store.open_ledger(&ledger(4)).await.unwrap();
    let mut world = World::new().await;
    world.say_file(file(1), RECORDS).await;
    let mut running = Running::start(&world, store, |_| ());
    running.until_published(&world, RECORDS + 1).await;
    // The steps so far are of what came before.
    while running.steps.try_recv().is_ok() {}
    for shard in 0..SHARDS {
        world.say(shard, &[reversal(file(1), 0, i64::MAX)]).await;
    }
    world.say_file(file(2), 5).await;
    while running.steps.recv().await != Some((2, Some(step))) {}
    running.task.shutdown().await;

    let mut running = Running::start(&world, store, |_| ());
    let outcomes = RECORDS + 1 + 1 + RECORDS + 1 + 6;
    running.until_published(&world, outcomes).await;
    assert!(running.end().await.is_empty());
    is_undone(&world, outcomes).await;
}

#[tokio::test]
async fn what_is_begun_is_gone_on_with_after_a_restart() {
    for step in [
        Step::Fetched,
        Step::Decoded,
        Step::Applied,
        Step::Committed,
        Step::Published,
        Step::ReversalBegun,
        Step::ReversalSlice,
        Step::ReversalEnded,
    ] {
        is_interrupted(&MemoryStore::new(), step).await;
    }
    let (_directory, store) = sqlite();
    is_interrupted(&store, Step::ReversalSlice).await;
}

/// Somebody else takes the shards while they undo: the owners are fenced, take them again, and go
/// on where the last commit was. Which of them has still something to commit then is chance, so it
/// is done until one had.
#[tokio::test]
async fn an_owner_that_is_fenced_while_it_undoes_goes_on() {
    for _ in 0..20 {
        if is_fenced_in_the_middle().await {
            return;
        }
    }
    panic!("nobody was fenced");
}

async fn is_fenced_in_the_middle() -> bool {
    let (_directory, store) = sqlite();
    store.open_ledger(&ledger(4)).await.unwrap();
    let mut world = World::new().await;
    world.say_file(file(1), RECORDS).await;
    for shard in 0..SHARDS {
        world.say(shard, &[reversal(file(1), 0, i64::MAX)]).await;
    }
    let mut running = Running::start(&world, &store, |_| ());
    while running.steps.recv().await != Some((2, Some(Step::ReversalSlice))) {}
    for shard in 0..SHARDS {
        store.acquire(shard).await.unwrap();
    }
    let outcomes = RECORDS + 1 + 1 + RECORDS + 1;
    running.until_published(&world, outcomes).await;
    assert!(running.end().await.is_empty());
    is_undone(&world, outcomes).await;
    let rows = store.view().await.unwrap().shards().await.unwrap();
    rows.iter().any(|row| 2 < row.epoch)
}

/// A file that comes while a larger one is undone is applied before that has ended.
#[tokio::test]
async fn other_files_are_applied_while_one_is_undone() {
    const LARGE: i64 = 20_000;
    let (_directory, store) = sqlite();
    store.open_ledger(&ledger(4)).await.unwrap();
    let mut world = World::new().await;
    let account = |n: i64| customer(u32::try_from(n % 7).unwrap(), 0, SHARDS);
    let records: Vec<_> = (0..LARGE).map(|n| record(file(1), n, account(n), n + 1)).collect();
    world.say(0, &records).await;
    world.say(0, &[closed(file(1), 0, LARGE)]).await;
    world.say(0, &[reversal(file(1), 0, i64::MAX)]).await;
    let mut running = Running::start(&world, &store, |_| ());
    while running.steps.recv().await != Some((0, Some(Step::ReversalSlice))) {}
    world.say(0, &[record(file(2), 0, account(0), 5)]).await;
    while world.log.end(Topic::Postings, 0).await.unwrap() < LARGE + 2 + LARGE + 2 {
        running.steps.recv().await.unwrap();
    }
    assert!(running.end().await.is_empty());
    let outcomes = world.outcomes(0).await;
    let at = |kind, of| {
        let is_it = |it: &Outcome| it.kind == kind && it.file_id == Some(file(of));
        outcomes.iter().rposition(is_it).unwrap()
    };
    assert!(at(OutcomeKind::APPLIED, 2) < at(OutcomeKind::REVERSED, 1));
    assert!(at(OutcomeKind::REVERSED, 1) < at(OutcomeKind::REVERSAL_ENDED, 1));
}

/// One record of a large file is undone by itself, and the answer names the command.
#[tokio::test]
async fn one_record_is_undone_by_itself() {
    let store = MemoryStore::new();
    store.open_ledger(&ledger(4)).await.unwrap();
    let mut world = World::new().await;
    world.say_file(file(1), RECORDS).await;
    world.say(3, &[reversal(file(1), 700, 700), reversal(file(1), 700, 700)]).await;
    let mut running = Running::start(&world, &store, |_| ());
    while world.log.end(Topic::Postings, 3).await.unwrap() < RECORDS + 1 + 4 {
        running.steps.recv().await.unwrap();
    }
    assert!(running.end().await.is_empty());
    let outcomes = world.outcomes(3).await;
    let kinds: Vec<_> = outcomes.iter().skip(1_201).map(|it| (it.kind.clone(), it.index)).collect();
    let expected = [
        (OutcomeKind::REVERSAL_BEGUN, Some(700)),
        (OutcomeKind::DUPLICATE, Some(700)),
        (OutcomeKind::REVERSED, Some(700)),
        (OutcomeKind::REVERSAL_ENDED, None),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(answers(&world).await, BTreeMap::from([(3, 1)]));
}
