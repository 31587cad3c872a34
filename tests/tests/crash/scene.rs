//! What crash tests send, and what must come of it.

use std::fs;
use std::path::Path;
use std::sync::{LazyLock, OnceLock};

use schemas::command::Action;
use schemas::file::FileState;
use tempfile::TempDir;
use tests::orders::orders;
use tests::world::{KEY, LEDGER};

use crate::oracle::audit::{End, Expected};
use crate::oracle::books::LedgerKey;
use crate::sender::{Clearing, Payment, Payments, Sent};

/// The folders that are inboxes.
const INBOXES: [&str; 2] = ["ach", "cards"];

/// Two files over several chunks, each with a bad record; some small ones; a doubled one; torn
/// ones.
pub(crate) struct Scene {
    pub(crate) sent: Vec<Sent>,
    pub(crate) expected: Expected,
    /// True where objects go to an archive once their files are reconciled.
    pub(crate) archives: bool,
    /// The directory of the inboxes, for those who only read them.
    inboxes: OnceLock<TempDir>,
}

/// Everything: four chunks that are not a file's last, so that each step is taken three times.
pub(crate) static FILES: LazyLock<Scene> = LazyLock::new(|| {
    let mut payments = Payments::drawn(201, 10_001);
    payments.entries[7_777].spoilt = Some((30, 'X'));
    let mut cards = Clearing::drawn(201, 5_001);
    cards.cards[3_333].processing = "990000";
    let payments = Sent { name: "large.ach".into(), feed: "ach", bytes: payments.bytes() };
    let cards = Sent { name: "large.ipm".into(), feed: "cards", bytes: cards.bytes() };
    let twin = Sent::nacha("twin.ach", 202, 300);
    let accepted = [small(), vec![payments.clone(), cards.clone(), twin.clone()]].concat();
    let twins = [twin.renamed("twin-again.ach"), twin.gzipped("twin-packed.ach.gz")];
    let torn = torn();
    let mut expected = Expected::new(LEDGER, LedgerKey::new(KEY));
    accepted.iter().for_each(|sent| drop(expected.accept(sent)));
    // Which of them is verified first is open; that one of them counts, is not.
    for sent in twins.iter().chain([&twin]) {
        expected.object(sent, &["verified", "duplicate"]);
    }
    torn.iter().for_each(|sent| expected.object(sent, &["refused"]));
    Scene::new([&accepted[..], &twins, &torn].concat(), expected)
});

/// Two small files, and what an operator's orders make of them.
pub(crate) static ORDERS: LazyLock<Scene> = LazyLock::new(|| {
    let sent = small();
    let mut expected = Expected::new(LEDGER, LedgerKey::new(KEY));
    for sent in &sent {
        let id = expected.accept(sent);
        let (_, reading, end) = expected.files.get_mut(&id).unwrap();
        *end = End { state: "reversed", reversed: Some((0, reading.records - 1)) };
    }
    for order in orders("operate").unwrap() {
        // What is reconciled can't be cancelled, and what is undone not be undone again.
        let is_late = order.action == Action::CANCEL || order.once == FileState::REVERSED;
        let outcome = if is_late { "refused" } else { "done" };
        expected.commands.insert(order.id.to_string(), outcome);
        if order.action == Action::REPLAY {
            let replayed = expected.files.values().find(|(name, ..)| *name == order.object);
            let (_, reading, _) = replayed.unwrap();
            expected.published_again += reading.records - reading.bad.len() as u64;
        }
    }
    Scene::new(sent, expected)
});

/// Two small files alone.
pub(crate) static SMALL: LazyLock<Scene> = LazyLock::new(|| {
    let sent = small();
    let mut expected = Expected::new(LEDGER, LedgerKey::new(KEY));
    sent.iter().for_each(|sent| drop(expected.accept(sent)));
    Scene::new(sent, expected)
});

/// A file of more chunks than are ever published together: after the first publish, it is open.
pub(crate) static LONG: LazyLock<Scene> = LazyLock::new(|| {
    let sent = vec![Sent::nacha("long.ach", 207, 21_000)];
    let mut expected = Expected::new(LEDGER, LedgerKey::new(KEY));
    sent.iter().for_each(|sent| drop(expected.accept(sent)));
    Scene::new(sent, expected)
});

/// Four small files whose objects go to an archive, a doubled one and a torn one, which stay.
pub(crate) static LEAVING: LazyLock<Scene> = LazyLock::new(|| {
    let more = [Sent::nacha("more.ach", 206, 90), Sent::ipm("more.ipm", 206, 90)];
    let accepted = [small(), more.to_vec()].concat();
    let mut expected = Expected::new(LEDGER, LedgerKey::new(KEY));
    accepted.iter().for_each(|sent| drop(expected.accept(sent)));
    for sent in &accepted {
        expected.object(sent, &["archived"]);
    }
    let [twin, first] = [more[0].renamed("more-again.ach"), more[0].clone()];
    for sent in [&twin, &first] {
        expected.object(sent, &["archived", "duplicate"]);
    }
    let torn = torn();
    torn.iter().for_each(|sent| expected.object(sent, &["refused"]));
    let sent = [&accepted[..], &[twin], &torn].concat();
    Scene { archives: true, ..Scene::new(sent, expected) }
});

fn small() -> Vec<Sent> {
    vec![Sent::nacha("small.ach", 204, 120), Sent::ipm("small.ipm", 204, 120)]
}

/// The small files, and torn ones beside them.
pub(crate) static TORN: LazyLock<Scene> = LazyLock::new(|| {
    let (torn, mut expected) = (torn(), Expected::new(LEDGER, LedgerKey::new(KEY)));
    small().iter().for_each(|sent| drop(expected.accept(sent)));
    torn.iter().for_each(|sent| expected.object(sent, &["refused"]));
    Scene::new([&small()[..], &torn].concat(), expected)
});

/// A file that says much and moves nothing: its records post no legs.
pub(crate) static PRENOTES: LazyLock<Scene> = LazyLock::new(|| {
    let account = |number: u64| format!("70{number:010}");
    let prenote = |number| Payment::new("23", "01140153", &account(number), 0);
    let payments = Payments { identity: 205, entries: (0..40).map(prenote).collect() };
    let sent = vec![Sent { name: "prenotes.ach".into(), feed: "ach", bytes: payments.bytes() }];
    let mut expected = Expected::new(LEDGER, LedgerKey::new(KEY));
    sent.iter().for_each(|sent| drop(expected.accept(sent)));
    Scene::new(sent, expected)
});

fn torn() -> Vec<Sent> {
    let torn = Sent::nacha("", 203, 6_000);
    vec![
        torn.cut("torn.ach", torn.bytes.len() - 2_000),
        Sent::ipm("", 203, 200).cut("torn.ipm", 20_000),
    ]
}

impl Scene {
    fn new(sent: Vec<Sent>, expected: Expected) -> Self {
        Self { sent, expected, archives: false, inboxes: OnceLock::new() }
    }

    /// A directory of inboxes that is the same for all who ask, and which nobody writes.
    pub(crate) fn inboxes(&self) -> &Path {
        let made = self.inboxes.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            self.drop_into(folder.path());
            folder
        });
        made.path()
    }

    /// Drops the files into the inboxes of a directory.
    pub(crate) fn drop_into(&self, directory: &Path) {
        for inbox in INBOXES {
            fs::create_dir_all(directory.join(inbox)).unwrap();
        }
        if self.archives {
            fs::create_dir(directory.join("archive")).unwrap();
        }
        for sent in &self.sent {
            fs::write(directory.join(sent.feed).join(&sent.name), &sent.bytes).unwrap();
        }
    }
}
