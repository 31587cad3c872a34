//! A broker that is killed in the middle of publishes loses and doubles nothing.

use std::time::Duration;

use topic::conformance::layout;
use topic::kafka::admin::Policy;
use topic::{Error, Log, Writer};

use crate::cluster::{Broker, Ledger, batch, numbered, values};

const CHUNK: usize = 50;
const KILLS: usize = 3;

/// One writer publishes numbers and does what its errors say, as an owner does; after each publish
/// that may have happened it reads back how far it got. The broker is killed in between. In the end
/// every number is there once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_loses_and_doubles_nothing() {
    let broker = std::sync::Arc::new(Broker::start("topic-outage", 29_092, ""));
    let ledger = Ledger::create_at(&broker.address(), layout(), &Policy::default()).await;
    let log = ledger.open().await;
    let killed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let killer = std::thread::spawn({
        let (broker, killed) = (broker.clone(), killed.clone());
        move || {
            for _ in 0..KILLS {
                // Long enough for publishes to be under way, whatever they are at then.
                std::thread::sleep(Duration::from_millis(1_500));
                broker.kill();
                broker.up();
                killed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });

    let (mut retries, mut indefinite, mut published) = (0, 0, 0);
    let mut after_last = 0;
    'open: loop {
        let mut writer = match log.writer("shard-0").await {
            Ok(writer) => writer,
            Err(Error::Retry { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let mut next = loop {
            match read_back(&log).await {
                Ok(next) => break next,
                Err(Error::Retry { .. }) => (),
                Err(error) => panic!("{error}"),
            }
        };
        loop {
            match writer.publish(batch(0, numbered(next..next + CHUNK))).await {
                Ok(()) => {
                    next += CHUNK;
                    published += 1;
                }
                Err(Error::Retry { .. }) => {
                    retries += 1;
                    continue;
                }
                // A transaction that the broker ended itself is one whose writer it fences.
                Err(Error::Indefinite { .. } | Error::Fenced { .. }) => {
                    indefinite += 1;
                    continue 'open;
                }
                Err(error) => panic!("{error}"),
            }
            if killed.load(std::sync::atomic::Ordering::Relaxed) == KILLS {
                after_last += 1;
                if after_last == 20 {
                    let found = values(&log, 0).await;
                    assert_eq!(found, (0..next).collect::<Vec<_>>());
                    break 'open;
                }
            }
        }
    }
    killer.join().unwrap();
    println!("{published} publishes, {retries} retries, {indefinite} opened anew, {KILLS} kills");
    log.close().await;
}

/// How far the numbers go.
async fn read_back(log: &topic::kafka::KafkaLog) -> Result<usize, Error> {
    let mut count = 0;
    topic::read_all(log, schemas::Topic::Records, 0, 0, |_| {
        count += 1;
        Ok::<(), Error>(())
    })
    .await?;
    Ok(count)
}
