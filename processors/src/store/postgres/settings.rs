//! Where the server is, and who we are to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The port that PostgreSQL listens on unless told otherwise.
const PORT: u16 = 5432;

/// The schema that holds our tables unless told otherwise.
const SCHEMA: &str = "batchless";

/// The longest name that PostgreSQL keeps whole, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Rounds that are committed side by side. The server syncs what commits at the same moment
/// together, so that some are needed to keep its disk busy; each costs it a process of some 10 MiB.
const CONNECTIONS: usize = 8;

/// How long an answer is waited for. Longer than what the server itself puts an end to (see
/// `session.rs`), so that its own sentence comes first where it can say one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the server is, who we are to it, and how it is spoken with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who asks.
    pub user: String,
    /// The user's password, where the server wants one.
    pub password: Option<Password>,
    /// The database.
    pub database: String,
    /// The schema in it that holds our tables: small letters, digits and underscores. It is made
    /// where there is none.
    pub schema: String,
    /// Encryption; none is in clear.
    pub tls: Option<Tls>,
    /// Connections that read and commit, at most; views have connections of their own.
    pub connections: usize,
    /// How long an answer is waited for before the connection is given up.
    pub answer_timeout: Duration,
}

/// How the connection is encrypted.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates (PEM) to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// A password, which does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Takes a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is wrong with a location. None of them says what it holds: there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Another scheme, or none.
    #[error("expected postgres://USER@HOST:PORT/DATABASE, found another form")]
    Form,
    /// A password in the location.
    #[error(
        "expected no password in postgres://USER@HOST:PORT/DATABASE, found one: give it as the \
         store's password"
    )]
    Password,
    /// A host that is no name or address.
    #[error("expected a host after the user in postgres://USER@HOST:PORT/DATABASE, found none")]
    Host,
    /// A port that is no number from 1 to 65535.
    #[error("expected a port from 1 to 65535 in postgres://USER@HOST:PORT/DATABASE, found another")]
    Port,
    /// A user or database of characters that a location can't hold.
    #[error(
        "expected a user and a database of letters, digits, '_', '-' and '.' in \
         postgres://USER@HOST:PORT/DATABASE, found another character or none"
    )]
    Name,
    /// A schema that is no plain name.
    #[error(
        "expected a schema of small letters, digits and '_' (not a digit first, 63 at most) after \
         ?schema=, found another"
    )]
    Schema,
}

impl Settings {
    /// Settings for a server, with what is left out at its default: in clear, without a password.
    pub fn new(host: &str, port: u16, user: &str, database: &str) -> Self {
        Self {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password: None,
            database: database.to_owned(),
            schema: SCHEMA.to_owned(),
            tls: None,
            connections: CONNECTIONS,
            answer_timeout: ANSWER_TIMEOUT,
        }
    }

    /// Reads `postgres://USER@HOST:PORT/DATABASE`, or the same with `postgresql`. The port may be
    /// left out, and `?schema=NAME` may follow. An IPv6 address stands in brackets.
    ///
    /// # Errors
    ///
    /// What is wrong with it; a password is refused here.
    pub fn from_location(text: &str) -> Result<Self, LocationError> {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or(LocationError::Form)?;
        // Where a password is in it, it may hold any character: the last `@` ends it.
        let (user, rest) = rest.rsplit_once('@').ok_or(LocationError::Form)?;
        if user.contains(':') {
            return Err(LocationError::Password);
        }
        let (place, rest) = rest.split_once('/').ok_or(LocationError::Form)?;
        let (host, port) = host_and_port(place)?;
        let (database, schema) = match rest.split_once('?') {
            Some((database, options)) => {
                let schema = options.strip_prefix("schema=").ok_or(LocationError::Form)?;
                (database, schema)
            }
            None => (rest, SCHEMA),
        };
        if !is_name(user) || !is_name(database) {
            return Err(LocationError::Name);
        }
        if !is_schema(schema) {
            return Err(LocationError::Schema);
        }
        Ok(Self { schema: schema.to_owned(), ..Self::new(host, port, user, database) })
    }

    /// Where it is, as errors say it: without the user.
    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

fn host_and_port(place: &str) -> Result<(&str, u16), LocationError> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(LocationError::Port)?)),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(LocationError::Host);
    }
    let port = port.map_or(Ok(PORT), str::parse).map_err(|_| LocationError::Port)?;
    if port == 0 {
        return Err(LocationError::Port);
    }
    Ok((host, port))
}

fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_plain)
}

/// True where a schema can be named so. It is written into statements, so this is also what keeps
/// anything else out of them.
pub(super) fn is_schema(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins_well = !text.starts_with(|first: char| first.is_ascii_digit());
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && begins_well && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read() {
        let read = |text| {
            Settings::from_location(text)
                .map(|s| format!("{} {} {} {} {}", s.host, s.port, s.user, s.database, s.schema))
        };
        for (text, expected) in [
            ("postgres://me@db:5433/bank", "db 5433 me bank batchless"),
            ("postgresql://me@db.example.com/bank", "db.example.com 5432 me bank batchless"),
            ("postgres://me@[::1]:7/bank?schema=one_2", "::1 7 me bank one_2"),
            ("postgres://me@[::1]/bank", "::1 5432 me bank batchless"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("mysql://me@db/bank", LocationError::Form),
            ("postgres://db/bank", LocationError::Form),
            ("postgres://me@db", LocationError::Form),
            ("postgres://me@db/bank?sslmode=require", LocationError::Form),
            ("postgres://me:secret@db/bank", LocationError::Password),
            ("postgres://me:se@ret@db/bank", LocationError::Password),
            ("postgres://me@/bank", LocationError::Host),
            ("postgres://me@a b/bank", LocationError::Host),
            ("postgres://me@db:0/bank", LocationError::Port),
            ("postgres://me@db:70000/bank", LocationError::Port),
            ("postgres://me@[::1]5/bank", LocationError::Port),
            ("postgres://me@db/", LocationError::Name),
            ("postgres://@db/bank", LocationError::Name),
            ("postgres://me@db/ba/nk", LocationError::Name),
            ("postgres://me@db/bank?schema=One", LocationError::Schema),
            ("postgres://me@db/bank?schema=1one", LocationError::Schema),
            ("postgres://me@db/bank?schema=a\";drop", LocationError::Schema),
        ] {
            assert_eq!(read(text), Err(expected), "{text}");
            assert!(!expected.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_password_does_not_print() {
        let mut settings = Settings::new("db", 5432, "me", "bank");
        settings.password = Some(Password::new("secret"));
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
