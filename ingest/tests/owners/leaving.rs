//! Objects whose file is reconciled: archived or deleted, whatever comes in between.

use ingest::bucket::Bucket;
use ingest::feed::{After, Config, Feed};
use ingest::roll::Roll;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use schemas::command::Action;
use schemas::file::FileState;

use super::house::{Fault, House, command};
use super::{nacha, states};

/// A house whose feed does this afterwards.
fn house(after: After) -> House {
    let mut house = House::new(Fault::Retry, 0);
    let mut config = Config::clone(&house.config);
    config.feeds[0].after = after;
    house.config = config.into();
    house
}

async fn names(bucket: &Bucket) -> Vec<String> {
    bucket.list().await.unwrap().objects.into_iter().map(|object| object.key).collect()
}

#[tokio::test(start_paused = true)]
async fn only_what_is_reconciled_is_archived() {
    let (archive, _) = Bucket::memory();
    let mut house = house(After::Archive(archive.clone()));
    let good = nacha(30, 'A');
    let torn = good[..good.len() / 2].to_vec();
    house.put("a.ach", good.clone()).await;
    house.put("torn.ach", torn).await;
    house.start();
    let roll = house.settled().await;
    house.put("again.ach", good.clone()).await;
    house.put("same-identifier.ach", nacha(31, 'A')).await;
    let file = roll.files.into_values().next().unwrap();
    let roll = house.settled().await;
    let found = states(&roll);
    let expected = [
        ("a.ach", "archived"),
        ("again.ach", "duplicate"),
        ("same-identifier.ach", "held"),
        ("torn.ach", "refused"),
    ];
    assert_eq!(
        found.iter().map(|(key, state)| (*key, state.as_str())).collect::<Vec<_>>(),
        expected
    );
    let inbox = names(&house.config.feeds[0].bucket).await;
    assert_eq!(inbox, ["again.ach", "same-identifier.ach", "torn.ach"]);
    assert_eq!(names(&archive).await, [Feed::archived_key(&file.file_id, "a.ach")]);

    // The same name and bytes once more are a new object: a duplicate, and it stays.
    house.put("a.ach", good).await;
    let roll = house.settled().await;
    assert_eq!(states(&roll)["a.ach"], "duplicate");
    house.stop().await;
    house.start();
    let roll = house.settled().await;
    assert_eq!(states(&roll)["a.ach"], "duplicate");
    house.stop().await;
    assert_eq!(names(&house.config.feeds[0].bucket).await.len(), 4);
}

/// A replay needs the bytes: they are read where they are now, and another's aren't taken for them.
#[tokio::test(start_paused = true)]
async fn a_file_is_published_again_from_the_archive() {
    let (archive, store) = Bucket::memory();
    let mut house = house(After::Archive(archive));
    house.put("a.ach", nacha(12_000, 'A')).await;
    house.start();
    let roll = house.settled().await;
    let file = roll.files.into_values().next().unwrap();
    let answer = house.ask(command(&Action::REPLAY, file.file_id, 1)).await;
    assert_eq!(answer.outcome.as_str(), "done", "{}", answer.detail);

    let key = Path::from(Feed::archived_key(&file.file_id, "a.ach"));
    store.put(&key, nacha(12_000, 'B').into()).await.unwrap();
    let answer = house.ask(command(&Action::REPLAY, file.file_id, 2)).await;
    assert_eq!(answer.outcome.as_str(), "failed", "{}", answer.detail);
    house.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reconciled_object_is_deleted_also_where_the_feed_says_so_later() {
    let mut house = house(After::Keep);
    house.put("a.ach", nacha(30, 'A')).await;
    house.start();
    let roll = house.settled().await;
    assert_eq!(states(&roll)["a.ach"], "verified");
    house.stop().await;
    let mut config = Config::clone(&house.config);
    config.feeds[0].after = After::Delete;
    house.config = config.into();
    house.start();
    let roll = house.settled().await;
    house.stop().await;
    assert_eq!(states(&roll)["a.ach"], "deleted");
    assert!(names(&house.config.feeds[0].bucket).await.is_empty());
}

/// What lies there by now under the key is not what was reconciled.
#[tokio::test(start_paused = true)]
async fn another_version_stays_and_is_a_file_of_its_own() {
    let mut house = house(After::Delete);
    house.put("a.ach", nacha(30, 'A')).await;
    house.start_watching();
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "verified")).await;
    house.start_publishing();
    let reconciled =
        |roll: &Roll| roll.files.values().any(|file| file.state == FileState::RECONCILED);
    house.until(reconciled).await;
    // Before the owner of the feed has looked again.
    house.put("a.ach", nacha(30, 'B')).await;
    let roll = house.settled().await;
    house.stop().await;
    assert_eq!(roll.files.len(), 2, "{roll:?}");
    assert!(roll.files.values().all(|file| file.state == FileState::RECONCILED));
    assert_eq!(states(&roll)["a.ach"], "deleted");
}
