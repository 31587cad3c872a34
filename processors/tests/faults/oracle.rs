//! What a store must hold in the end, by plain SQL: nothing of the code that is tested.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use crate::house::SHARDS;
use crate::stream::Stream;

/// What is wrong, in numbers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Off {
    /// Numbers of outcomes that are missing, and accounts whose balance is not what it must be.
    pub(crate) lost: i64,
    /// Sequences of a file that were taken more than once.
    pub(crate) doubled: i64,
}

/// Compares the tables with what was said.
pub(crate) async fn off(plain: &Client, stream: &Stream) -> Off {
    let sql = "SELECT count(*) FROM (
                 SELECT 1 FROM outcomes WHERE sequence IS NOT NULL
                 GROUP BY shard, file, sequence HAVING 1 < count(*)) AS doubled";
    let doubled: i64 = plain.query_one(sql, &[]).await.unwrap().get(0);
    let mut lost = 0;
    for shard in 0..SHARDS {
        let number = i32::try_from(shard).unwrap();
        let sql =
            "SELECT next_number - (SELECT count(*) FROM outcomes WHERE shard = $1), next_number
                   FROM shards WHERE shard = $1";
        let row = plain.query_one(sql, &[&number]).await.unwrap();
        let (missing, all): (i64, i64) = (row.get(0), row.get(1));
        // Outcomes of reversals come on top of one for each event.
        assert!(i64::try_from(stream.events(shard)).unwrap() <= all, "{all} outcomes");
        lost += missing;

        let sql = "SELECT account, (sum(credits_minor) - sum(debits_minor))::INT8
                   FROM balances WHERE shard = $1 GROUP BY account";
        let rows = plain.query(sql, &[&number]).await.unwrap();
        let found: BTreeMap<String, i64> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let expected = stream.balances(shard);
        assert!(found.keys().eq(expected.keys()), "accounts of shard {shard}");
        let is_off = |(name, balance): &(&String, &i64)| found.get(*name) != Some(*balance);
        lost += i64::try_from(expected.iter().filter(is_off).count()).unwrap();
    }
    Off { lost, doubled }
}
