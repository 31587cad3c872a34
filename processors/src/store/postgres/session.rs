//! A connection to the server.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::Error;
use crate::store::postgres::failure::{Failure, failed};
use crate::store::postgres::settings::{Settings, is_schema};
use crate::store::postgres::tls;

/// How long making a connection may take: as long as what is lost is waited for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After so long without a word the other side is asked whether it is still there, so often again,
/// and so many times: a server that vanished is noticed after some 10 s.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(4);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long what was sent may stay without the other side's system acknowledging it.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);

/// What is set on each connection that works on shards.
///
/// - A commit that was answered is on the server's disk, whatever the server's default is.
/// - A process that was stopped, or whose host vanished, in the middle of a commit holds the
///   shard's row for 10 s at most: then the server ends its session. So whoever waits for that row
///   waits a little longer than that, and longer than any of our own rounds takes.
/// - Each round asks for rows by their whole keys, and hundreds of them. Plans are made once, some
///   before the tables have grown; without the ways of joining that read a whole table they are
///   right for tables of any size. A server that has no such settings is not told.
const OF_SHARDS: &str = "
SET synchronous_commit = on;
SET idle_in_transaction_session_timeout = 10000;
SET lock_timeout = 12000;
SET statement_timeout = 20000;
SELECT set_config(name, 'off', false) FROM pg_catalog.pg_settings
WHERE name IN ('enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'jit')";

/// What is set on each connection of a view. Between two reads of a long verification the other
/// side of the comparison, the log, may be away for minutes; a process that is stopped for ever
/// must not keep the server from clearing up for ever.
const OF_VIEWS: &str = "
SET idle_in_transaction_session_timeout = 600000;
SET lock_timeout = 12000;
SET statement_timeout = 60000";

/// What a connection is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Shards,
    View,
}

/// Makes connections.
pub(super) struct Connector {
    pub(super) settings: Settings,
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Connector {
    /// Settles how connections are made.
    ///
    /// # Errors
    ///
    /// *Unusable* where the settings can't be.
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        if !is_schema(&settings.schema) {
            let what = "expected a schema of small letters, digits and '_', found another";
            return Err(Error::Unusable { what: what.to_owned(), source: None });
        }
        let mut config = Config::new();
        config
            .host(&settings.host)
            .port(settings.port)
            .user(&settings.user)
            .dbname(&settings.database)
            .application_name("batchless")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(UNACKNOWLEDGED_MAX)
            .keepalives(true)
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .channel_binding(ChannelBinding::Prefer)
            .ssl_mode(if settings.tls.is_some() { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = &settings.password {
            config.password(password.reveal());
        }
        let tls = settings.tls.as_ref().map(tls::connector).transpose()?;
        Ok(Self { settings, config, tls })
    }

    /// Checks that the server's name is known, which a connection doesn't tell from an outage.
    ///
    /// # Errors
    ///
    /// *Unusable* where it is not.
    pub(super) async fn find_host(&self) -> Result<(), Error> {
        let Settings { host, port, .. } = &self.settings;
        match tokio::net::lookup_host((host.as_str(), *port)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Unusable {
                what: format!("no host `{host}` is known; correct the store's location"),
                source: Some(Box::new(error)),
            }),
        }
    }

    /// Makes a connection.
    ///
    /// # Errors
    ///
    /// *Retry* where the server can't be reached, *unusable* where it doesn't let us in.
    pub(super) async fn connect(&self, purpose: Purpose) -> Result<Session, Error> {
        let connecting = async {
            let (client, connection): (Client, Connection) = match &self.tls {
                Some(tls) => {
                    let (client, connection) = self.config.connect(tls.clone()).await?;
                    (client, Box::pin(connection))
                }
                None => {
                    let (client, connection) = self.config.connect(NoTls).await?;
                    (client, Box::pin(connection))
                }
            };
            Ok::<_, tokio_postgres::Error>((client, connection))
        };
        let late = || failed(&self.settings, Failure::Late(CONNECT_TIMEOUT.as_secs()));
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let connected = connected.map_err(|_| late())?;
        let (client, connection) =
            connected.map_err(|error| failed(&self.settings, error.into()))?;
        let mut session = Session {
            client,
            connection: Some(connection),
            prepared: HashMap::new(),
            answer_timeout: self.settings.answer_timeout,
        };
        let settings = match purpose {
            Purpose::Shards => OF_SHARDS,
            Purpose::View => OF_VIEWS,
        };
        let all = format!("SET search_path = \"{}\";{settings}", self.settings.schema);
        let set = session.batch(&all).await;
        set.map_err(|failure| failed(&self.settings, failure))?;
        Ok(session)
    }
}

type Connection = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// A connection. It is driven by whoever asks something over it: there is no task beside.
pub(super) struct Session {
    client: Client,
    /// None once it has ended.
    connection: Option<Connection>,
    prepared: HashMap<&'static str, Statement>,
    answer_timeout: Duration,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("is_connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// True where nothing is known to be wrong with it: looks whether the server has ended it
    /// while it lay idle.
    pub(super) fn is_alive(&mut self) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let mut context = Context::from_waker(Waker::noop());
        match connection.as_mut().poll(&mut context) {
            Poll::Pending => true,
            Poll::Ready(_) => {
                self.connection = None;
                false
            }
        }
    }

    /// Asks what `work` says of the client, and waits for the answer.
    pub(super) async fn ask<'a, T, F>(
        &'a mut self,
        work: impl FnOnce(&'a Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let (client, connection) = (&self.client, &mut self.connection);
        let answer = drive(connection, work(client));
        let answered = tokio::time::timeout(self.answer_timeout, answer).await;
        answered.unwrap_or_else(|_| {
            // The answer may still come, and would be taken for that of the next question.
            self.connection = None;
            Err(Failure::Late(self.answer_timeout.as_secs()))
        })
    }

    /// Ends it: the server rolls back what is not committed.
    pub(super) fn give_up(&mut self) {
        self.connection = None;
    }

    /// Runs statements without parameters.
    pub(super) async fn batch(&mut self, statements: &str) -> Result<(), Failure> {
        self.ask(|client| client.batch_execute(statements)).await
    }

    /// A statement, prepared on this connection once.
    pub(super) async fn prepared(&mut self, sql: &'static str) -> Result<Statement, Failure> {
        if let Some(statement) = self.prepared.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.ask(|client| client.prepare(sql)).await?;
        self.prepared.insert(sql, statement.clone());
        Ok(statement)
    }
}

/// Drives the connection until the work has its answer, or the connection has ended.
async fn drive<T>(
    connection: &mut Option<Connection>,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    tokio::pin!(work);
    if let Some(driven) = connection {
        tokio::select! {
            biased;
            answer = &mut work => return answer.map_err(Failure::from),
            ended = driven => {
                // With it goes what would have told the work of an answer: so the work ends, with
                // the answer where it came before the end.
                *connection = None;
                let answer = work.await;
                return match (answer, ended) {
                    (Err(error), Err(why)) if error.is_closed() => Err(why.into()),
                    (answer, _) => answer.map_err(Failure::from),
                };
            }
        }
    }
    work.await.map_err(Failure::from)
}
