//! Controls of what the tests of crashes rely on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use ingest::bucket::Bucket;
use ingest::feed::{After, Config};
use ingest::step::Step;
use schemas::command::Action;

use super::commands::reconciled;
use super::house::{Fault, House, command};
use super::{nacha, states};

/// A control of whatever relies on them: every step is told where it is taken.
#[tokio::test(start_paused = true)]
async fn every_step_is_told() {
    let mut house = House::new(Fault::Retry, 0);
    let told = Arc::new(Mutex::new(HashSet::new()));
    let mut config = Config::clone(&house.config);
    let note = Arc::clone(&told);
    config.on_step = Some(Arc::new(move |step| {
        note.lock().unwrap().insert(step);
    }));
    config.feeds[0].after = After::Archive(Bucket::memory().0);
    house.config = config.into();
    let file = reconciled(&mut house, nacha(12_000, 'A')).await;
    house.until(|roll| states(roll).get("a.ach").is_some_and(|state| state == "archived")).await;
    house.ask(command(&Action::REVERSE, file.file_id, 1)).await;
    house.stop().await;
    assert_eq!(*told.lock().unwrap(), HashSet::from(Step::ALL));
}

/// A control of tests of torn files: without the checks such a file is published.
#[tokio::test(start_paused = true)]
async fn only_its_checks_keep_a_torn_file_from_being_published() {
    let bytes = nacha(30, 'A');
    for (is_unchecked, published) in [(false, 0), (true, 14)] {
        let mut house = House::new(Fault::Retry, 0);
        house.config = Config { is_unchecked, ..Config::clone(&house.config) }.into();
        // In the middle of the 15th entry's line, behind the two headers.
        house.put("a.ach", bytes[..95 * 16 + 40].to_vec()).await;
        house.start();
        let roll = house.settled().await;
        house.stop().await;
        let of_files: i64 = roll.files.values().map(|file| file.checkpoint.published).sum();
        assert_eq!(of_files, published);
    }
}
