//! Opening a log: what is wrong is said at once, and whose fault it is.

use schemas::Topic;
use topic::Layout;
use topic::conformance::layout;
use topic::kafka::admin::{self, Policy};
use topic::kafka::{KafkaLog, Tls, Unusable};

use crate::cluster::{Ledger, brokers, settings};

/// Topics are made once, as they must be kept; what is missing or different is named.
#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_checked_and_described() {
    let of = settings(&brokers());
    let none = KafkaLog::open(of.clone(), layout()).await.err();
    assert!(
        matches!(&none, Some(Unusable::Missing { missing, .. }) if missing.len() == 6),
        "{none:?}"
    );
    assert_eq!(KafkaLog::layout_in(&of).await.unwrap(), None);

    let created = admin::create(&of, layout(), &Policy::default()).await.unwrap();
    assert_eq!(created, Topic::ALL);
    assert_eq!(admin::create(&of, layout(), &Policy::default()).await.unwrap(), []);
    assert_eq!(KafkaLog::layout_in(&of).await.unwrap(), Some(layout()));
    assert!(admin::check(&of, layout()).await.unwrap().is_empty());

    let described = admin::describe(&of).await.unwrap();
    let kept: Vec<_> = (described.iter())
        .map(|it| (it.topic, it.partitions, it.is_compacted, it.retention.map(|it| it.as_secs())))
        .collect();
    let weeks = Some(4 * 7 * 24 * 60 * 60);
    let expected = [
        (Topic::Arrivals, 1, true, None),
        (Topic::Commands, 4, false, weeks),
        (Topic::Files, 4, true, None),
        (Topic::Records, 4, false, None),
        (Topic::Rejects, 4, false, None),
        (Topic::Postings, 4, false, None),
    ];
    assert_eq!(kept, expected);

    let other = Layout::new(1, 4, 8);
    let wrong = KafkaLog::open(of.clone(), other).await.err();
    assert!(
        matches!(
            wrong,
            Some(Unusable::Partitions { topic: Topic::Records, expected: 8, found: 4, .. })
        ),
        "{wrong:?}"
    );
    let wrong = admin::check(&of, other).await.unwrap();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    admin::delete(&of).await.unwrap();
}

/// A topic that would lose rows or outcomes is found.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_keep_too_little_are_found() {
    let extra = vec![("cleanup.policy".to_owned(), "compact,delete".to_owned())];
    let ledger = Ledger::create(layout(), &Policy { extra, ..Policy::default() }).await;
    let wrong = admin::check(&ledger.settings, ledger.layout).await.unwrap();
    let named: Vec<_> = (wrong.iter())
        .filter_map(|it| match it {
            Unusable::Kept { topic, name: "cleanup.policy", .. } => Some(*topic),
            _ => None,
        })
        .collect();
    assert_eq!(named, Topic::ALL);
    ledger.delete().await;
}

/// Nobody at the address, and no such host: an outage, which says where.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_an_outage() {
    for nowhere in ["127.0.0.1:1", "no-such-host.invalid:9092"] {
        let error = KafkaLog::open(settings(nowhere), layout()).await.unwrap_err();
        assert!(matches!(&error, Unusable::Unreachable { .. }) && error.is_outage(), "{error:?}");
        assert!(error.to_string().contains(nowhere), "{error}");
    }
}

/// TLS is asked for where the broker speaks plain text.
#[tokio::test(flavor = "multi_thread")]
async fn tls_against_plain_text_is_told_from_an_outage() {
    let mut of = settings(&brokers());
    of.security.tls = Some(Tls::default());
    let error = KafkaLog::open(of, layout()).await.unwrap_err();
    assert!(matches!(error, Unusable::PlainListener { .. }) && !error.is_outage(), "{error:?}");
}
