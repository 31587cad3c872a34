//! What keeps the store from being opened is said in one sentence, at once.

use std::net::TcpListener;

use processors::event::What;
use processors::store::conformance::{Driver, customer, debit, file, ledger};
use processors::store::postgres::{Password, PostgresStore, Settings, Tls};
use processors::store::{Error, Store, View};

use crate::server::{SERVER, Schema, connect, engine};

/// The words of an error and its causes.
fn words(error: &Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

#[tokio::test]
async fn what_is_wrong_with_the_settings_is_said_at_once() {
    let schema = Schema::new();
    let with = |change: fn(&mut Settings)| {
        let mut settings = schema.settings.clone();
        change(&mut settings);
        settings
    };
    for (settings, expected) in [
        (
            with(|settings| settings.password = Some(Password::new("open sesame"))),
            "refuses the password of user `batchless`; correct it",
        ),
        (with(|settings| settings.password = None), "wants a password for user `batchless`"),
        (
            with(|settings| settings.user = "nobody".to_owned()),
            "refuses the password of user `nobody`; correct it",
        ),
        (
            with(|settings| settings.database = "none_such".to_owned()),
            "has no database `none_such`; make it",
        ),
        (
            with(|settings| settings.host = "no.such.host.invalid".to_owned()),
            "no host `no.such.host.invalid` is known",
        ),
        (
            with(|settings| {
                let ca_file = Some("/no/such/file.pem".into());
                settings.tls = Some(Tls { ca_file });
            }),
            "the certificates to trust, /no/such/file.pem, can't be read",
        ),
        (
            with(|settings| settings.schema = "drop\";".to_owned()),
            "expected a schema of small letters",
        ),
    ] {
        let error = PostgresStore::open(settings).await.unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
        let words = words(&error);
        assert!(words.contains(expected) && !words.contains('\n'), "{words}");
        assert!(!format!("{words} {error:?}").contains("sesame"), "{error:?}");
    }
}

/// Nobody listens there, or somebody who says nothing: that may pass, and is not called a mistake.
#[tokio::test]
async fn a_server_that_is_away_is_an_outage() {
    let mut settings = Schema::new().settings.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    settings.port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = PostgresStore::open(settings).await.unwrap_err();
    assert!(matches!(error, Error::Retry { .. }), "{error:?}");
    let expected = "no connection to the PostgreSQL server at 127.0.0.1:";
    assert!(words(&error).contains(expected), "{error:?}");
}

#[tokio::test]
async fn tables_of_another_layout_or_program_are_refused() {
    let schema = Schema::new();
    let none = PostgresStore::open_read_only(schema.settings.clone()).await.unwrap_err();
    assert!(none.to_string().contains("found none; the first instance that processes makes it"));

    let store = schema.open().await;
    store.open_ledger(&ledger(2)).await.unwrap();
    let plain = schema.connect().await;
    for (layout, age) in [(7, "newer"), (0, "older")] {
        plain.batch_execute(&format!("UPDATE layout SET layout = {layout}")).await.unwrap();
        for opened in [
            PostgresStore::open(schema.settings.clone()).await,
            PostgresStore::open_read_only(schema.settings.clone()).await,
        ] {
            let error = opened.unwrap_err();
            assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
            let expected = format!("found layout {layout}, which is {age}");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }

    let other = Schema::new();
    let plain = connect(&engine(SERVER)).await;
    let name = &other.settings.schema;
    let make = format!("CREATE SCHEMA {name}; CREATE TABLE {name}.accounts (one INT4)");
    plain.batch_execute(&make).await.unwrap();
    let error = PostgresStore::open(other.settings.clone()).await.unwrap_err();
    assert!(error.to_string().contains("found some of another program"), "{error}");
}

/// Who only reads sees what others commit, and changes nothing.
#[tokio::test]
async fn a_store_for_reading_only_reads() {
    let schema = Schema::new();
    let store = schema.open().await;
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(&store, 0, 2).await.unwrap();
    let reader = PostgresStore::open_read_only(schema.settings.clone()).await.unwrap();
    let record = What::Record(debit(file(1), 0, customer(0, 0, 2), 5));
    let commit = driver.round(vec![record]).await.unwrap();
    let rows = reader.view().await.unwrap().shards().await.unwrap();
    assert_eq!(rows[0], commit.to());
    for refused in [
        reader.acquire(0).await.map(drop),
        reader.commit(commit).await,
        reader.open_ledger(&ledger(2)).await,
    ] {
        assert!(matches!(refused, Err(Error::Unusable { .. })), "{refused:?}");
    }
}

/// Instances that start at the same moment make the tables and the ledger once, and all go on.
#[tokio::test]
async fn instances_that_start_together_make_one_store() {
    let schema = Schema::new();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let settings = schema.settings.clone();
        tasks.spawn(async move {
            let store = PostgresStore::open(settings).await?;
            store.open_ledger(&ledger(16)).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    let mut view = schema.open().await.view().await.unwrap();
    assert_eq!(view.ledger().await.unwrap(), Some(ledger(16)));
    assert_eq!(view.shards().await.unwrap().len(), 16);
}
