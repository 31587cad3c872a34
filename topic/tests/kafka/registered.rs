//! On the topics stand the registry's ids of schemas, and on our side the built-in ones.

use std::sync::Arc;

use bytes::Bytes;
use schemas::Topic;
use schemas::codec::EventType;
use topic::conformance::layout;
use topic::kafka::KafkaLog;
use topic::kafka::admin::Policy;
use topic::registry::{self, Ids};
use topic::{Batch, Error, Log, Message, MessageSet, Writer};

use crate::cluster::Ledger;

fn framed(id: u32) -> Bytes {
    [&[0], &id.to_be_bytes()[..], b"body"].concat().into()
}

async fn publish(log: &KafkaLog, value: Bytes) -> Result<(), Error> {
    let message = Message { id: "id".into(), key: "key".into(), value: Some(value) };
    let (topic, headers) = (Topic::Commands, Arc::from([]));
    let sets = vec![MessageSet { topic, partition: 0, headers, messages: vec![message] }];
    log.writer("w").await?.publish(Batch { sets, consumed: None }).await
}

async fn only(log: &KafkaLog) -> Result<Bytes, Error> {
    let found = log.read(Topic::Commands, 0, 0..i64::MAX, 1 << 20).await?;
    Ok(found[0].value.clone().unwrap())
}

/// A log with a registry publishes under its ids and gives back the built-in ones; one without sees
/// what stands on the topic. A value of no schema of the topic's is refused, and nothing of it is
/// there.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "where the engines are is said in the environment")]
async fn ids_are_translated_at_the_edge() {
    let url = std::env::var("BATCHLESS_TEST_REGISTRY")
        .expect("start the engines: eval \"$(engines/up)\"");
    let mut ledger = Ledger::create(layout(), &Policy::default()).await;
    let raw = ledger.open().await;
    let registry = registry::Settings { url, user: None, password: None, ca_file: None };
    ledger.settings.registry = Some(registry.clone());
    let log = ledger.open().await;
    let ids = Ids::register(&registry, &ledger.settings.prefix).await.unwrap();
    let on_the_wire = |kind: EventType| {
        let built_in = kind.built_in_id();
        Some((built_in, ids.to_wire(Topic::Commands, built_in)?))
    };
    // The registry counts as it likes, and may give out the very same numbers: then what is shown
    // here is only that they are taken as they are.
    let all: Vec<(u32, u32)> = EventType::ALL.iter().copied().filter_map(on_the_wire).collect();
    let differing = all.iter().find(|(built_in, wire)| built_in != wire);
    let (built_in, wire) = *differing.unwrap_or(&all[0]);

    for wrong in [framed(EventType::ClearingRecord.built_in_id()), Bytes::from_static(b"{}")] {
        let refused = publish(&log, wrong).await;
        assert!(matches!(refused, Err(Error::Fatal { .. })), "{refused:?}");
    }
    publish(&log, framed(built_in)).await.unwrap();
    assert_eq!(only(&log).await.unwrap(), framed(built_in));
    assert_eq!(only(&raw).await.unwrap(), framed(wire));
    ledger.delete().await;
}
