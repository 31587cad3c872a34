//! Brings to the oracle what lies in a log and a store.

use std::path::Path;

use processors::store::memory::MemoryStore;
use processors::store::{Store as _, View as _};
use rusqlite::Connection;
use schemas::Topic;
use topic::Log as _;
use topic::memory::MemoryLog;

use crate::oracle::audit::{Balance, Evidence, Message};
use crate::oracle::topics;

/// Of the embedded log and store: their files, read as databases.
pub(crate) fn embedded(data: &Path) -> Evidence {
    let mut evidence = Evidence::default();
    let log = open(&data.join("log.db"));
    let mut partitions =
        log.prepare("SELECT topic, count(*) FROM partitions GROUP BY topic").unwrap();
    let counts = partitions.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    for (topic, count) in counts.map(Result::<(String, u32), _>::unwrap) {
        evidence.topics.insert(topic, vec![Vec::new(); count as usize]);
    }
    topics::each_batch(&log, None, |batch| {
        let messages = batch.messages().into_iter().map(|message| Message {
            id: message.id.as_bytes().to_vec(),
            key: message.key.to_vec(),
            value: message.value.map(<[u8]>::to_vec),
        });
        evidence.topics.get_mut(&batch.topic).unwrap()[batch.partition as usize].extend(messages);
    });
    let store = open(&data.join("accounts.db"));
    let mut query = store
        .prepare(
            "SELECT shard, account, currency, debits_minor, credits_minor, version FROM balances",
        )
        .unwrap();
    let rows = query.query_map([], |row| {
        Ok(Balance {
            shard: row.get(0)?,
            account: row.get(1)?,
            currency: row.get(2)?,
            debits: row.get::<_, i64>(3)?.into(),
            credits: row.get::<_, i64>(4)?.into(),
            version: row.get(5)?,
        })
    });
    evidence.balances = rows.unwrap().map(Result::unwrap).collect();
    let mut query =
        store.prepare("SELECT shard, number, body FROM outcomes ORDER BY shard, number").unwrap();
    let mut rows = query.query([]).unwrap();
    evidence.outcomes = vec![Vec::new(); evidence.topics["postings"].len()];
    while let Some(row) = rows.next().unwrap() {
        let shard: u32 = row.get(0).unwrap();
        evidence.outcomes[shard as usize].push((row.get(1).unwrap(), row.get(2).unwrap()));
    }
    evidence
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "query_only", true).unwrap();
    connection
}

/// Of the memory log and store, by the readers that every user of them has.
pub(crate) async fn memory(log: &MemoryLog, store: &MemoryStore) -> Evidence {
    let mut evidence = Evidence::default();
    for topic in Topic::ALL {
        let mut partitions = Vec::new();
        for partition in 0..log.partitions(topic) {
            let mut messages = Vec::new();
            let keep = |received: topic::Received| {
                messages.push(Message {
                    id: received.id.to_vec(),
                    key: received.key.to_vec(),
                    value: received.value.map(|value| value.to_vec()),
                });
                Ok::<(), topic::Error>(())
            };
            topic::read_all(log, topic, partition, 0, keep).await.unwrap();
            partitions.push(messages);
        }
        evidence.topics.insert(topic.name().to_owned(), partitions);
    }
    let mut view = store.view().await.unwrap();
    for row in view.shards().await.unwrap() {
        for account in view.accounts(row.shard, None, usize::MAX).await.unwrap() {
            evidence.balances.extend(account.balances.iter().map(|balance| Balance {
                shard: row.shard,
                account: account.name.to_string(),
                currency: balance.currency.as_str().to_owned(),
                debits: balance.debits_minor.into(),
                credits: balance.credits_minor.into(),
                version: balance.version,
            }));
        }
        let outcomes = view.outcomes(row.shard, 0, usize::MAX).await.unwrap();
        let outcomes = outcomes.into_iter().map(|row| (row.number, row.body.to_vec()));
        evidence.outcomes.push(outcomes.collect());
    }
    evidence
}
