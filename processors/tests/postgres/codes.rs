//! Every code that the server may answer a commit with, raised in its statements and in its COMMIT.

use std::sync::Arc;

use processors::account::AccountName;
use processors::digest::digest;
use processors::event::What;
use processors::run::Run;
use processors::store::conformance::{self, Driver, customer, debit, file, ledger};
use processors::store::postgres::{PostgresStore, PostgresView};
use processors::store::{Commit, Error, Fetched, OutcomeRow, Range, ShardRow, Store};
use schemas::ledger::Ledger;
use schemas::{Digest, FileId};
use tokio_postgres::Client;

use crate::server::{SERVER, Schema, connect, engine};

/// Where the server refuses.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Statement,
    Commit,
}

/// Has the server raise a code, the next time and no more: by a trigger of the test's own, whose
/// count outlives what is rolled back.
async fn plant(plain: &Client, at: At, code: &str) {
    let when = match at {
        At::Statement => "CREATE TRIGGER planted BEFORE INSERT ON outcomes",
        At::Commit => {
            "CREATE CONSTRAINT TRIGGER planted AFTER INSERT ON outcomes
             DEFERRABLE INITIALLY DEFERRED"
        }
    };
    let sql = format!(
        "DROP TRIGGER IF EXISTS planted ON outcomes;
         DROP SEQUENCE IF EXISTS plantings;
         CREATE SEQUENCE plantings;
         CREATE OR REPLACE FUNCTION plant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF nextval('plantings') = 1 THEN
             RAISE EXCEPTION 'planted' USING ERRCODE = '{code}';
           END IF;
           RETURN NEW;
         END $$;
         {when} FOR EACH ROW EXECUTE FUNCTION plant()"
    );
    plain.batch_execute(&sql).await.unwrap();
}

async fn digest_of(store: &PostgresStore) -> Digest {
    digest(&mut store.view().await.unwrap()).await.unwrap()
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::Fenced { .. } => "fenced",
        Error::Retry { .. } => "retry",
        Error::Ambiguous { .. } => "ambiguous",
        Error::Invariant { .. } => "invariant",
        Error::Unusable { .. } => "unusable",
    }
}

/// Nothing happened, whatever the code; and where it says that it may pass, the same commit again
/// is all that is needed.
#[tokio::test]
async fn each_code_has_its_fate_and_leaves_no_trace() {
    let schema = Schema::new();
    let store = schema.open().await;
    store.open_ledger(&ledger(2)).await.unwrap();
    let plain = schema.connect().await;
    let mut driver = Driver::new(&store, 0, 2).await.unwrap();
    let mut sequence = 0;
    for (code, in_statement, in_commit) in [
        // Another was faster, as CockroachDB may say of anything at any moment.
        ("40001", "retry", "retry"),
        ("40P01", "retry", "retry"),
        ("55P03", "retry", "retry"),
        ("57014", "retry", "retry"),
        ("53100", "retry", "retry"),
        ("53200", "retry", "retry"),
        ("25006", "retry", "retry"),
        ("58030", "retry", "retry"),
        // Only in the commit it is not known.
        ("40003", "retry", "ambiguous"),
        ("08006", "retry", "ambiguous"),
        ("23505", "invariant", "invariant"),
        ("23514", "invariant", "invariant"),
        ("22003", "invariant", "invariant"),
        ("XX000", "invariant", "invariant"),
        ("42501", "unusable", "unusable"),
        ("XX001", "unusable", "unusable"),
    ] {
        for (at, expected) in [(At::Statement, in_statement), (At::Commit, in_commit)] {
            let record = debit(file(1), sequence, customer(0, 0, 2), sequence + 1);
            let commit = driver.prepare(vec![What::Record(record)]).await.unwrap();
            let before = digest_of(&store).await;
            plant(&plain, at, code).await;
            let error = store.commit(Arc::clone(&commit)).await.unwrap_err();
            assert_eq!(kind(&error), expected, "{code} {at:?}: {error}");
            assert!(!error.to_string().contains('\n'));
            assert_eq!(digest_of(&store).await, before, "{code} {at:?}");
            store.commit(Arc::clone(&commit)).await.unwrap();
            store.commit(commit).await.unwrap();
            sequence += 1;
        }
    }
    // Plain SQL, which knows nothing of all that.
    let row = plain
        .query_one(
            "SELECT (SELECT count(*) FROM outcomes), (SELECT max(number) + 1 FROM outcomes),
                    (SELECT sum(debits_minor)::INT8 FROM balances WHERE account LIKE 'card:%'),
                    (SELECT sum(credits_minor - debits_minor)::INT8 FROM balances)",
            &[],
        )
        .await
        .unwrap();
    let sum = sequence * (sequence + 1) / 2;
    let found: (i64, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
    assert_eq!(found, (sequence, sequence, sum, 0));
}

/// A store whose commits are tried again where it says that this is all that is needed.
#[derive(Clone)]
struct Patient(PostgresStore);

impl Store for Patient {
    type View = PostgresView;

    async fn open_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        self.0.open_ledger(ledger).await
    }

    async fn acquire(&self, shard: u32) -> Result<ShardRow, Error> {
        loop {
            match self.0.acquire(shard).await {
                Err(Error::Retry { .. }) => (),
                done => return done,
            }
        }
    }

    async fn fetch(
        &self,
        shard: u32,
        accounts: Vec<AccountName>,
        files: Vec<FileId>,
    ) -> Result<Fetched, Error> {
        self.0.fetch(shard, accounts, files).await
    }

    async fn fingerprints(
        &self,
        shard: u32,
        file: FileId,
        sequences: Vec<i64>,
    ) -> Result<Vec<(i64, i64)>, Error> {
        self.0.fingerprints(shard, file, sequences).await
    }

    async fn reversing(&self, shard: u32) -> Result<Vec<Run>, Error> {
        self.0.reversing(shard).await
    }

    async fn taken(
        &self,
        shard: u32,
        file: FileId,
        range: Range,
    ) -> Result<Vec<OutcomeRow>, Error> {
        self.0.taken(shard, file, range).await
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<(), Error> {
        loop {
            match self.0.commit(Arc::clone(&commit)).await {
                Err(Error::Retry { .. }) => (),
                done => return done,
            }
        }
    }

    async fn view(&self) -> Result<PostgresView, Error> {
        self.0.view().await
    }
}

/// Where every session is serializable, as CockroachDB's are, the contract is kept as well by those
/// who try again: rounds of shards that have nothing in common may still be refused there.
#[tokio::test]
async fn a_serializable_server_keeps_the_contract() {
    let plain = connect(&engine(SERVER)).await;
    let database = format!("test_serializable_{}", std::process::id());
    plain.batch_execute(&format!("DROP DATABASE IF EXISTS {database}")).await.unwrap();
    plain.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
    let set = "default_transaction_isolation = 'serializable'";
    plain.batch_execute(&format!("ALTER DATABASE {database} SET {set}")).await.unwrap();

    let mut schemas = Vec::new();
    let make = async || {
        let mut schema = Schema::new();
        schema.settings.database.clone_from(&database);
        let store = Patient(schema.open().await);
        schemas.push(schema);
        store
    };
    let checked = conformance::all(make).await;
    plain.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
    assert_eq!(checked, Ok(()));
}
