//! Calls to a registry: bounded in time and size, tried again where that may help.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, StatusCode, Url};
use serde_json::Value;

use super::{Error, Settings};

/// How often a call is tried. With the waits between, a registry that starts together with us has
/// three seconds to answer.
const ATTEMPTS: u32 = 5;
/// The wait after the first attempt; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For a whole call. Registries answer in milliseconds, but one that has just started may not.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Far more than any schema: what is longer is no answer of a registry.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The media type of Confluent's API.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    /// The base as it is named in errors.
    url: String,
    user: Option<String>,
    password: Option<String>,
}

/// What a registry answered: 200, 404, 409 or 422; all else is an error.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    /// True where what was asked for isn't there.
    pub(super) fn is_absent(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// The registry's own words.
    pub(super) fn reason(&self) -> String {
        self.body["message"].as_str().unwrap_or("it gives no reason").to_owned()
    }
}

/// How one attempt ended.
enum Failure {
    /// Trying again may help.
    Away(String),
    /// Trying again won't.
    Final(Error),
}

impl Client {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let address = |found: &str| Error::Address { found: found.to_owned() };
        let base = Url::parse(&settings.url).map_err(|error| address(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(address(&format!("the scheme {}", base.scheme())));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(address("a user in it"));
        }
        // The environment is read only by the binary, so no proxy of it is used; and a registry
        // never sends one elsewhere.
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT);
        if let Some(path) = &settings.ca_file {
            let unusable = |reason: String| Error::Certificates { path: path.clone(), reason };
            let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| unusable(innermost(&error)))?;
            if certificates.is_empty() {
                return Err(unusable("expected certificates in PEM, found none".to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        }
        let url = base.as_str().trim_end_matches('/').to_owned();
        let http = builder
            .build()
            .map_err(|error| Error::Connection { url: url.clone(), reason: innermost(&error) })?;
        let (user, password) = (settings.user.clone(), settings.password.clone());
        Ok(Self { http, base, url, user, password })
    }

    /// The address, as it is named in errors.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks, again where the registry is away.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            match self.attempt(&method, path, body).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Away(reason)) if attempt == ATTEMPTS => {
                    return Err(Error::Away { url: self.url.clone(), reason });
                }
                Err(Failure::Away(_)) => {}
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2);
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        method: &Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut at = self.base.clone();
        if let Ok(mut segments) = at.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self
            .http
            .request(method.clone(), at)
            .header("accept", format!("{MEDIA_TYPE}, application/json"));
        if let Some(user) = &self.user {
            request = request.basic_auth(user, self.password.as_ref());
        }
        if let Some(body) = body {
            request = request.header("content-type", MEDIA_TYPE).body(body.to_string());
        }
        let mut response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.failed(&error))? {
            bytes.extend_from_slice(&part);
            if ANSWER_BYTES_MAX < bytes.len() {
                break;
            }
        }
        // What is no JSON has no members.
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        self.judge(Answer { status, body }, method, path)
    }

    fn judge(&self, answer: Answer, method: &Method, path: &[&str]) -> Result<Answer, Failure> {
        let url = self.url.clone();
        let call = format!("{method} /{}", path.join("/"));
        let status = answer.status.as_u16();
        let failed = match status {
            200..=299 if !answer.body.is_null() => return Ok(answer),
            409 | 422 if answer.body["message"].is_string() => return Ok(answer),
            // A registry's 404 has a code of its own, 40401 and on; a web server's has not.
            404 if answer.body["error_code"].as_u64().is_some_and(|code| 40_400 <= code) => {
                return Ok(answer);
            }
            401 | 403 => Error::Denied { url, status, call },
            408 | 429 | 500.. => return Err(Failure::Away(format!("{status} to {call}"))),
            _ if answer.body["message"].is_string() && status != 404 => {
                Error::Refused { url, status, call, reason: answer.reason() }
            }
            _ => Error::NoRegistry { url, status, call },
        };
        Err(Failure::Final(failed))
    }

    /// Tells an outage from what no waiting mends: a host that nobody knows, TLS against plaintext,
    /// a certificate that isn't trusted.
    fn failed(&self, error: &reqwest::Error) -> Failure {
        let reason = innermost(error);
        if error.is_timeout() {
            return Failure::Away("it didn't answer in time".to_owned());
        }
        let mut cause = error.source();
        while let Some(one) = cause {
            if one.downcast_ref::<io::Error>().is_some_and(|error| is_outage(error.kind())) {
                return Failure::Away(reason);
            }
            cause = one.source();
        }
        // A connection that was made and broke before the answer: the server went away.
        if !error.is_connect() && !error.is_builder() {
            return Failure::Away(reason);
        }
        Failure::Final(Error::Connection { url: self.url.clone(), reason })
    }
}

fn is_outage(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::TimedOut
    )
}

/// The words of the deepest cause: those above it only repeat what was tried.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}
