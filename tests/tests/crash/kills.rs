//! `batchless run`, killed at random moments under load: as many times as `BATCHLESS_KILLS` says.
//!
//! Many short lives over one growing site, to which new files come all the time, some of them twice
//! and some torn; now and then a chunk is published again. A night's worth is told in
//! CONTRIBUTING.md.

use std::fmt;

use rusqlite::Connection;
use topic::embedded::EmbeddedLog;

use super::again::publish_some_again;
use super::evidence;
use super::memory::runtime;
use crate::oracle::audit::{Expected, Report, audit};
use crate::oracle::books::LedgerKey;
use crate::sender::{Dice, Sent};
use crate::site::{Site, wait_until};

/// How often it is killed where nobody says otherwise.
const KILLS: u64 = 100;

/// How often one site is killed at most: the files of so many lives are audited in seconds.
const KILLS_A_SITE: u64 = 200;

/// How many records a file has at most.
const RECORDS_MAX: u64 = 3_000;

/// Files that lie there before the first start, so that there is always more to do.
const AHEAD: u64 = 3;

/// A run is killed before the log has got so many record batches more: about as many as one file
/// makes, so that mostly there is more to do.
const BATCHES_MAX: u64 = 80;

/// After so many kills a part of `records` is published again.
const AGAIN_EVERY: u64 = 8;

/// What all kills came to.
#[derive(Default)]
struct Total {
    kills: u64,
    /// How many of them hit while there was work under way.
    under_way: u64,
    /// Outcomes that were committed and not published when it was killed: the next life found them
    /// in the store, and published them instead of applying their events again.
    unpublished: u64,
    /// Runs of a file on a shard that were open, and gone on with where they were.
    resumed: u64,
    /// Events that were published again and recognised by their sequence.
    duplicates: u64,
    /// Files that came again and were recognised by their content.
    files_again: u64,
    records: u64,
    lost: u64,
    doubled: u64,
    told: Vec<String>,
}

impl Total {
    fn recognised(&self) -> u64 {
        self.unpublished + self.resumed + self.duplicates + self.files_again
    }

    fn add(&mut self, report: Report) {
        self.records += report.records;
        self.duplicates += report.recognised;
        self.lost += report.lost;
        self.doubled += report.doubled;
        self.told.extend(report.told);
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, under_way, records, lost, doubled, .. } = self;
        let Self { unpublished, resumed, duplicates, files_again, .. } = self;
        write!(
            f,
            "kills {kills} ({under_way} with work under way), records {records}, retries \
             recognised {} (outcomes found committed and unpublished {unpublished}, runs \
             gone on with {resumed}, events published again {duplicates}, files again \
             {files_again}), lost {lost}, doubled {doubled}",
            self.recognised()
        )
    }
}

/// A site whose runs are killed, and what was sent to it.
struct Victim {
    site: Site,
    dice: Dice,
    accepted: Vec<Sent>,
    others: Vec<(Sent, &'static [&'static str])>,
    seed: u64,
    published_again: u64,
}

impl Victim {
    fn new(seed: u64) -> Self {
        let site = Site::new();
        site.is_not_scanned();
        let (accepted, others) = (Vec::new(), Vec::new());
        let dice = Dice::new(seed);
        Self { site, dice, accepted, others, seed, published_again: 0 }
    }

    /// Drops another file; now and then one of before again, or a torn one.
    fn drop_more(&mut self) {
        let number = self.seed * 1_000 + self.accepted.len() as u64;
        let size = 1 + self.dice.below(RECORDS_MAX);
        let sent = match self.dice.below(2) {
            0 => Sent::nacha(&format!("payments-{number}.ach"), number, size),
            _ => Sent::ipm(&format!("cards-{number}.ipm"), number, size),
        };
        self.site.drop_in(&sent);
        match self.dice.below(12) {
            0 => self.drop_other(
                sent.renamed(&format!("again-{}", sent.name)),
                &["verified", "duplicate"],
            ),
            1 => {
                let torn = Sent::nacha("", number + 500, 200);
                let torn = torn.cut(&format!("torn-{number}.ach"), torn.bytes.len() / 2);
                self.drop_other(torn, &["refused"]);
            }
            _ => (),
        }
        self.accepted.push(sent);
    }

    fn drop_other(&mut self, sent: Sent, states: &'static [&'static str]) {
        self.site.drop_in(&sent);
        self.others.push((sent, states));
    }

    /// One life: it is killed at its start-up, or once it has got on by some record batches.
    fn lives(&mut self) {
        let is_young = self.dice.below(8) == 0;
        let enough = batches(&self.site) + self.dice.below(BATCHES_MAX);
        let mut looks = self.dice.below(8);
        let working = self.site.start();
        let is_so = || {
            looks = looks.saturating_sub(1);
            if is_young { looks == 0 } else { batches(&self.site) >= enough || self.is_idle() }
        };
        wait_until("it has got on", is_so, || working.said());
        working.kill();
    }

    /// True where every file that was dropped is applied whole.
    fn is_idle(&self) -> bool {
        let Some(store) = open(&self.site, "accounts.db") else { return false };
        let files = number(&store, "SELECT count(DISTINCT file) FROM runs");
        let open = number(&store, "SELECT count(*) FROM runs WHERE state <> 'complete'");
        files == self.accepted.len() as u64 && open == 0
    }

    /// Counts what the next life has to recognise.
    fn count(&self, total: &mut Total) {
        total.kills += 1;
        total.under_way += u64::from(!self.is_idle());
        let (Some(store), Some(log)) =
            (open(&self.site, "accounts.db"), open(&self.site, "log.db"))
        else {
            return;
        };
        let numbered = number(&store, "SELECT coalesce(sum(next_number), 0) FROM shards");
        let published = "SELECT coalesce(sum(next), 0) FROM (SELECT max(next) AS next FROM batches
                         JOIN partitions USING (place) WHERE topic = 'postings' GROUP BY place)";
        total.unpublished += numbered.saturating_sub(number(&log, published));
        let open = "SELECT count(*) FROM runs WHERE state <> 'complete' AND next_sequence > 0";
        total.resumed += number(&store, open);
    }

    /// Publishes some of `records` again, while nobody runs.
    fn publishes_again(&mut self) {
        let path = self.site.data().join("log.db");
        let Some(layout) = EmbeddedLog::layout_in(&path).unwrap() else { return };
        let log = EmbeddedLog::open(path, layout).unwrap();
        let shard = u32::try_from(self.dice.below(16)).unwrap();
        self.published_again += runtime().block_on(async {
            let records = publish_some_again(&log, shard, 200).await;
            log.close().await;
            records
        });
    }

    /// Lets it come to its end, and audits all of it.
    fn ends(self, total: &mut Total) {
        let run = self.site.once();
        assert!(matches!(run.code, Some(0 | 3)), "{}", run.stderr);
        let verify = self.site.batchless(&["verify", "--data", "data"]);
        assert_eq!(verify.code, Some(0), "{}{}", verify.stdout, verify.stderr);
        let mut expected = Expected::new("main", LedgerKey::of(&self.site.data()));
        self.accepted.iter().for_each(|sent| drop(expected.accept(sent)));
        for (sent, states) in &self.others {
            expected.object(sent, states);
            // Of twins either may have been the first.
            if let Some(original) = sent.name.strip_prefix("again-") {
                let original = Sent { name: original.to_owned(), ..sent.clone() };
                expected.object(&original, states);
                total.files_again += 1;
            }
        }
        expected.published_again = self.published_again;
        total.add(audit(&expected, &evidence::embedded(&self.site.data())));
    }
}

/// A database of a site, as far as it is made.
fn open(site: &Site, name: &str) -> Option<Connection> {
    let path = site.data().join(name);
    path.exists().then(|| site.database(name))
}

/// A number; 0 where the tables are not made yet.
fn number(database: &Connection, sql: &str) -> u64 {
    let found: Result<i64, _> = database.query_row(sql, [], |row| row.get(0));
    found.unwrap_or_default().unsigned_abs()
}

/// How many record batches its log has been given.
fn batches(site: &Site) -> u64 {
    let newest = "SELECT coalesce(max(id), 0) FROM batches";
    open(site, "log.db").map_or(0, |log| number(&log, newest))
}

#[test]
fn killed_at_random_moments_nothing_is_lost_or_doubled() {
    let kills = std::env::var("BATCHLESS_KILLS").map(|text| text.parse().unwrap());
    let kills: u64 = kills.unwrap_or(KILLS);
    let mut total = Total::default();
    for seed in 1.. {
        let left = kills - total.kills;
        if left == 0 {
            break;
        }
        let mut victim = Victim::new(seed);
        (0..AHEAD).for_each(|_| victim.drop_more());
        for _ in 0..left.min(KILLS_A_SITE) {
            victim.drop_more();
            victim.lives();
            victim.count(&mut total);
            if total.kills % AGAIN_EVERY == 0 {
                victim.publishes_again();
            }
        }
        victim.ends(&mut total);
    }
    println!("{total}");
    assert!(total.told.is_empty(), "{:#?}", total.told);
    assert_eq!((total.lost, total.doubled), (0, 0));
    // The controls: it hit work, and the next life had something to recognise.
    assert!(total.under_way * 2 > total.kills, "most kills hit nothing");
    assert!(total.unpublished > 0 && total.resumed > 0, "no retry was recognised");
}
