//! The server that tests share, and a schema of it for each.

use std::sync::atomic::{AtomicU32, Ordering};

use processors::store::postgres::{Password, PostgresStore, Settings};
use tokio_postgres::{Client, NoTls};

/// Where the server is, set by `engines/up`.
pub(crate) const SERVER: &str = "BATCHLESS_TEST_POSTGRES";

/// What a variable of `engines/up` says.
pub(crate) fn engine(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test of this binary")]
    let named = std::env::var(name);
    named.unwrap_or_else(|_| panic!("start the engines: eval \"$(engines/up)\""))
}

/// Settings from an address with a password in it, as the engines print it.
pub(crate) fn of_url(url: &str) -> Settings {
    let (user, rest) = url.strip_prefix("postgres://").unwrap().split_once(':').unwrap();
    let (password, rest) = rest.split_once('@').unwrap();
    let mut settings = Settings::from_location(&format!("postgres://{user}@{rest}")).unwrap();
    settings.password = Some(Password::new(password));
    settings
}

/// A schema of its own, dropped at the end.
pub(crate) struct Schema {
    pub(crate) settings: Settings,
    url: String,
}

impl Schema {
    /// A schema of the shared server.
    pub(crate) fn new() -> Self {
        Self::of(&engine(SERVER))
    }

    /// A schema of the server with this address.
    pub(crate) fn of(url: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut settings = of_url(url);
        settings.schema = format!("test_{}_{n}", std::process::id());
        Self { settings, url: url.to_owned() }
    }

    pub(crate) async fn open(&self) -> PostgresStore {
        PostgresStore::open(self.settings.clone()).await.unwrap()
    }

    /// A plain connection to it, which shares no code with the store.
    pub(crate) async fn connect(&self) -> Client {
        let client = connect(&self.url).await;
        let path = format!("SET search_path = {}", self.settings.schema);
        client.batch_execute(&path).await.unwrap();
        client
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (url, schema) = (self.url.clone(), self.settings.schema.clone());
        // In a thread of its own, since the test's runtime may be what drops it. Where the server
        // is gone its schema is, too.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let client = connect(&url).await;
                let drop = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
                client.batch_execute(&drop).await.unwrap();
            });
        });
        let _ = dropping.join();
    }
}

/// A plain connection, driven by a task that ends with it.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(connection);
    client
}
