//! A broker that is killed in the middle of publishes loses and doubles nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use topic::conformance::layout;
use topic::kafka::KafkaLog;
use topic::kafka::admin::Policy;
use topic::{Error, Log, Writer};

use crate::cluster::{Broker, Ledger, batch, numbered, values};

const CHUNK: usize = 50;
const KILLS: usize = 3;

/// How many publishes must succeed before the broker is killed again, and in the end.
const BETWEEN: usize = 25;

/// One writer publishes numbers without a pause and does what its errors say, as an owner does:
/// where it isn't known what happened, it opens its name anew and reads back how far it got. The
/// broker is killed meanwhile, wherever the publish in hand is then. In the end every number is
/// there once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_loses_and_doubles_nothing() {
    let broker = Broker::start("topic-outage", 29_092, "");
    let ledger = Ledger::create_at(&broker.address(), layout(), &Policy::default()).await;
    let log = ledger.open().await;
    let published = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&published);
    let killer = std::thread::spawn(move || {
        for kill in 1..=KILLS {
            while seen.load(Ordering::Relaxed) < kill * BETWEEN {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            broker.kill();
            broker.up();
        }
        broker
    });

    let mut told = Told::default();
    while published.load(Ordering::Relaxed) < (KILLS + 1) * BETWEEN {
        match publish(&log, &published, &mut told).await {
            Ok(()) => (),
            // A transaction that the broker ended itself is one whose writer it fences.
            Err(Error::Indefinite { .. } | Error::Fenced { .. }) => told.opened_anew += 1,
            Err(Error::Retry { .. }) => told.retries += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let broker = killer.join().unwrap();
    let found = values(&log, 0).await;
    assert_eq!(found, (0..found.len()).collect::<Vec<_>>());
    let publishes = published.load(Ordering::Relaxed);
    assert!(found.len() >= publishes * CHUNK, "{publishes} publishes, {} numbers", found.len());
    // Which of them is told depends on where a kill came; that one is doesn't.
    assert!(told.retries + told.opened_anew > 0, "{told:?}");
    println!("{KILLS} kills, {publishes} publishes, {} numbers, {told:?}", found.len());
    log.close().await;
    drop(broker);
}

/// What the writer was told besides success.
#[derive(Debug, Default)]
struct Told {
    retries: usize,
    opened_anew: usize,
}

/// Goes on from what is there until the writer is of no more use, or has done enough.
async fn publish(log: &KafkaLog, published: &AtomicUsize, told: &mut Told) -> Result<(), Error> {
    let mut writer = log.writer("shard-0").await?;
    let mut next = 0;
    topic::read_all(log, schemas::Topic::Records, 0, 0, |_| {
        next += 1;
        Ok::<(), Error>(())
    })
    .await?;
    while published.load(Ordering::Relaxed) < (KILLS + 1) * BETWEEN {
        match writer.publish(batch(0, numbered(next..next + CHUNK))).await {
            Ok(()) => {
                next += CHUNK;
                published.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Retry { .. }) => told.retries += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
