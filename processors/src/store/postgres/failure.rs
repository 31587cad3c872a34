//! What a failure of the server means, and what to do about it.

use std::error::Error as _;
use std::io;

use tokio_postgres::error::{DbError, SqlState};

use crate::store::Error;
use crate::store::postgres::Settings;

/// Why an exchange with the server gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server's or the connection's.
    #[error(transparent)]
    Server(#[from] tokio_postgres::Error),
    /// No answer came in time.
    #[error("no answer came in {0} s")]
    Late(u64),
    /// What was read or is to be written has another form than the tables.
    #[error("expected {0}, found another")]
    Form(String),
}

impl Failure {
    fn of_server(&self) -> Option<&DbError> {
        match self {
            Self::Server(error) => error.as_db_error(),
            Self::Late(_) | Self::Form(_) => None,
        }
    }

    fn into_source(self) -> crate::store::Source {
        match self {
            // The outer error says no more than "db error".
            Self::Server(error) if error.as_db_error().is_some() => {
                // With its detail and hint, which stand on lines of their own, in one sentence.
                let cause = error.into_source().map(|cause| cause.to_string());
                cause.map_or_else(|| "no cause".into(), |cause| cause.replace('\n', "; ").into())
            }
            other => Box::new(other),
        }
    }
}

/// What to do about a failure of anything but a COMMIT.
pub(super) fn failed(settings: &Settings, failure: Failure) -> Error {
    let at = settings.place();
    let retry = |what: String| (what, true);
    let unusable = |what: String| (what, false);
    let (what, is_retry) = match failure.of_server().map(DbError::code) {
        None => match not_let_in(settings, &failure) {
            Some(why) => unusable(format!("the PostgreSQL server at {at} {why}")),
            None if !is_of_connection(&failure) => {
                let what = format!("the store at {at} holds what this version can't read or write");
                return Error::Invariant { what, source: Some(failure.into_source()) };
            }
            None => retry(format!("no connection to the PostgreSQL server at {at}")),
        },
        Some(code) => match of_code(settings, &at, code) {
            Some(found) => found,
            None => {
                let what = format!("the PostgreSQL server at {at} refused what it was asked for");
                return Error::Invariant { what, source: Some(failure.into_source()) };
            }
        },
    };
    let source = Some(failure.into_source());
    match is_retry {
        true => Error::Retry { what, source },
        false => Error::Unusable { what, source },
    }
}

/// What to do about a failure of a COMMIT.
///
/// Only what the server says while it keeps the session says that nothing was committed. Where the
/// session ended, it may have been before the commit or after.
pub(super) fn failed_in_commit(settings: &Settings, shard: u32, failure: Failure) -> Error {
    let is_known = failure.of_server().is_some_and(|error| {
        let is_over = matches!(error.severity(), "FATAL" | "PANIC");
        let code = error.code();
        let says_unknown =
            *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN || code.code().starts_with("08");
        !is_over && !says_unknown
    });
    match is_known {
        true => failed(settings, failure),
        false => Error::Ambiguous { shard, source: Some(failure.into_source()) },
    }
}

/// The sentence for a code, and whether trying again is enough; none for a code that tells of a
/// defect, or of a constraint that fired.
fn of_code(settings: &Settings, at: &str, code: &SqlState) -> Option<(String, bool)> {
    let Settings { user, database, schema, .. } = settings;
    let server = format!("the PostgreSQL server at {at}");
    let (what, is_retry) = match code.code() {
        "28P01" => (format!("{server} refuses the password of user `{user}`; correct it"), false),
        "28000" => (
            format!(
                "{server} does not let user `{user}` into database `{database}` from here, or not \
                 in this way (in clear or encrypted); correct the user, or the server's pg_hba.conf"
            ),
            false,
        ),
        "3D000" => (format!("{server} has no database `{database}`; make it"), false),
        "42501" => (
            format!("user `{user}` may not use schema `{schema}` of {server}; grant it, or own it"),
            false,
        ),
        "3F000" | "42P01" => {
            (format!("the tables of the store are gone from schema `{schema}` of {server}"), false)
        }
        "26000" => (
            format!("{server} forgot a prepared statement; a pooler between must pool by session"),
            false,
        ),
        "XX001" | "XX002" => (
            format!(
                "{server} says that its data is damaged; restore it, or rebuild the accounts from \
                 the topic postings in an empty schema"
            ),
            false,
        ),
        "53100" => (format!("the disk of {server} is full; free some space"), true),
        "53200" => (format!("{server} has no memory left"), true),
        "53300" => (format!("{server} has no connection left; allow it more"), true),
        "57P01" | "57P02" | "57P03" => (format!("{server} is starting or stopping"), true),
        "55P03" | "57014" | "25P03" | "25P04" => {
            (format!("{server} waited for somebody else's lock too long"), true)
        }
        "25006" => (format!("{server} can only be read: it is a standby"), true),
        "58030" => (format!("reading or writing failed on {server}"), true),
        // Something before failed that nobody was told of; a rollback follows.
        "25P02" => (format!("{server} has given up the round"), true),
        // A plan of a statement that was prepared before a table was altered.
        "0A000" => (format!("{server} altered a table"), true),
        code if code.starts_with("40") => {
            (format!("{server} has it clash with somebody else's work"), true)
        }
        code if code.starts_with("08") || code.starts_with("53") || code.starts_with("57") => {
            (format!("{server} can't be used for now"), true)
        }
        _ => return None,
    };
    Some((what, is_retry))
}

/// True where the connection failed, not what was said over it.
fn is_of_connection(failure: &Failure) -> bool {
    match failure {
        Failure::Late(_) => true,
        Failure::Form(_) => false,
        // The library tells these from each other by their words alone.
        Failure::Server(error) => {
            let is_io = error.source().is_some_and(|source| source.is::<io::Error>());
            let said = error.to_string();
            let is_lost = ["timeout waiting for server", "unexpected message from server"];
            is_io || error.is_closed() || is_lost.contains(&said.as_str())
        }
    }
}

/// Why the server and we can't come together, where that is not for the connection's sake.
fn not_let_in(settings: &Settings, failure: &Failure) -> Option<String> {
    let Failure::Server(error) = failure else { return None };
    // The library tells these from each other by their words alone.
    match error.to_string().as_str() {
        "error performing TLS handshake" => tls(error),
        "invalid configuration" => {
            Some(format!("wants a password for user `{}`; give it", settings.user))
        }
        "authentication error" => {
            Some(format!("proves the user in a way that is not known here: {}", cause(error)))
        }
        _ => None,
    }
}

fn cause(error: &tokio_postgres::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// Why there is no encryption; none where the connection was lost over it.
fn tls(error: &tokio_postgres::Error) -> Option<String> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return Some(of_rustls(error));
        }
        // An error of the stream wraps that of the protocol, and doesn't call it its source.
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            return inner.map(of_rustls);
        }
        source = cause.source();
    }
    Some("has no TLS; turn it on there, or off here".to_owned())
}

fn of_rustls(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(why) => format!(
            "has a certificate that is not trusted ({why}); name the file of the certificates to \
             trust, and the server as its certificate does"
        ),
        _ => format!("and we don't agree on an encryption ({error})"),
    }
}
