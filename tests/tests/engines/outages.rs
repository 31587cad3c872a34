//! Each engine away for half a minute while `run` works on it: it waits, says so once when it
//! begins and once when it is over, and goes on.

use std::thread::sleep;
use std::time::Duration;

use super::Shared;
use super::cluster::{Cluster, Member, Plan};
use super::evidence::judge;
use super::own::{Kind, Own, Proxy, free_port};
use super::patiently;
use crate::sender::Sent;

/// How long each is away. No test waits for anything by it: it is what is tested.
const AWAY: Duration = Duration::from_secs(30);

/// How many records a file has.
const RECORDS: u64 = 40_000;

/// Once an outage is over, memory may be so many percent of what it was before the first.
const MEMORY_PERCENT_MAX: u64 = 110;

/// The engines, each of the test's own.
struct Engines {
    kafka: Own,
    postgres: Own,
    s3: Own,
    /// Before the registry that all share: one that is stopped forgets its schemas.
    registry: Proxy,
}

impl Engines {
    fn start() -> (Self, Shared) {
        let shared = Shared::engines();
        let (kafka, postgres) = (Own::start(Kind::Kafka, &[]), Own::start(Kind::Postgres, &[]));
        let s3 = Own::start(Kind::S3, &[]);
        let url = shared.registry.strip_prefix("http://").unwrap();
        let (place, path) = url.split_once('/').unwrap();
        let port = place.rsplit(':').next().unwrap().parse().unwrap();
        let registry = Proxy::before(free_port(), port);
        let at = Shared {
            kafka: kafka.address.clone(),
            postgres: postgres.address.clone(),
            s3: s3.address.clone(),
            registry: format!("http://127.0.0.1:{}/{path}", registry.port),
        };
        (Self { kafka, postgres, s3, registry }, at)
    }

    fn take_away(&self, engine: Kind) {
        match engine {
            Kind::Kafka => self.kafka.kill9(),
            Kind::Postgres => self.postgres.kill9(),
            Kind::S3 => self.s3.kill9(),
            Kind::Registry => self.registry.cut(),
        }
    }

    fn give_back(&self, engine: Kind) {
        match engine {
            Kind::Kafka => self.kafka.up(),
            Kind::Postgres => self.postgres.up(),
            Kind::S3 => self.s3.up(),
            Kind::Registry => self.registry.heal(),
        }
    }
}

#[test]
fn each_engine_may_be_away_for_a_while() {
    let (engines, at) = Engines::start();
    let cluster = Cluster::new(Plan { engines: at, is_on_s3: true, ..Plan::shared() });
    cluster.is_not_scanned();
    let observer = cluster.observer();
    let mut run = cluster.start("run");
    run.wait_until_started();
    let file = |number| Sent::nacha(&format!("payments-{number}.ach"), 4_000 + number, RECORDS);
    let files_of = |count| (0..count).map(file).collect::<Vec<Sent>>();
    let mut dropped = 0;
    let mut drop_another = || {
        cluster.drop_in(&file(dropped));
        dropped += 1;
        dropped
    };
    // So that it has had all the memory that it takes.
    for _ in 0..3 {
        let count = drop_another();
        wait_until_applied(&cluster, count * RECORDS, &mut run);
    }
    let mut memory = vec![run.memory_kib()];
    for engine in [Kind::Registry, Kind::S3, Kind::Postgres, Kind::Kafka, Kind::Kafka] {
        let begins = run.said().len();
        // In the middle of a file.
        let count = drop_another();
        let before = (count - 1) * RECORDS;
        wait_until_applied(&cluster, before + RECORDS / 10, &mut run);
        engines.take_away(engine);
        if engine == Kind::Registry {
            // What is known of it is known: all goes on without.
            drop_another();
        }
        sleep(AWAY);
        if engine == Kind::Registry {
            wait_until_applied(&cluster, before + 2 * RECORDS, &mut run);
        }
        let back = run.said().len();
        engines.give_back(engine);
        let count = drop_another();
        wait_until_applied(&cluster, count * RECORDS, &mut run);
        cluster.wait_until_reconciled(&files_of(count));
        let said = run.said();
        let told = told_once(engine, &said[begins..back], &said[back..]);
        // What was made anew for the engine takes some more while the old is let go.
        let limit = memory[0] * MEMORY_PERCENT_MAX / 100;
        let has_settled = || run.memory_kib() <= limit;
        patiently("memory is what it was", has_settled, || format!("{memory:?}, limit {limit}"));
        let now = run.memory_kib();
        println!(
            "outage: {engine:?} away for {} s; {told}; memory {} KiB before and {now} KiB after",
            AWAY.as_secs(),
            memory.last().unwrap()
        );
        memory.push(now);
    }
    let files = files_of(drop_another());
    cluster.wait_until_reconciled(&files);
    run.terminate();
    cluster.assert_verified();
    let report = judge(&cluster, &files, observer.end());
    assert!(report.is_clean(), "{:#?}", report.told);
    println!("outages: 4 engines, one after the other; memory {memory:?} KiB; {report}");
}

fn wait_until_applied(cluster: &Cluster, records: u64, run: &mut Member) {
    let is_so = || {
        assert!(run.ended().is_none(), "it has ended: {}", run.last_said());
        cluster.applied() >= records
    };
    patiently(&format!("{records} records are applied"), is_so, || cluster.situation());
}

/// Lines of warning that one outage may cost: one for the engine, and at most one for each feed and
/// each owner that waits for it. Attempts are many more: some in a second. As many again may say
/// that it is over.
const LINES_MAX: usize = 1 + 3 + (4 + 4 + 4);

/// Fails where more is said of an outage than that. Tells how much is said.
fn told_once(engine: Kind, meanwhile: &str, after: &str) -> String {
    let count = |text: &str, what: &str| text.lines().filter(|it| it.contains(what)).count();
    let (warned, later) = (count(meanwhile, " WARN "), count(after, " WARN "));
    let (away, back) = match engine {
        Kind::Kafka => ("Kafka is away", "Kafka is back"),
        // Nobody needs it while all ids are known.
        Kind::Registry => ("the schema registry", "the schema registry"),
        Kind::S3 => ("the bucket is away", "the bucket is there again"),
        // Each shard says it.
        Kind::Postgres => ("waiting to try again", "going on"),
    };
    let (begun, over) = (count(meanwhile, away), count(after, back));
    assert!(warned + later <= LINES_MAX, "{engine:?}: {meanwhile}\n{after}");
    // Whatever the level, but for what is told of files.
    let lines = meanwhile.lines().chain(after.lines());
    let others = lines.filter(|line| !line.contains("file_id=") && !line.contains("file arrived"));
    assert!(others.count() <= 2 * LINES_MAX, "{engine:?}: {meanwhile}\n{after}");
    format!(
        "{begun} times {away:?}, {over} times {back:?}, {warned} lines of warning in all while it was \
         away, {later} afterwards"
    )
}
