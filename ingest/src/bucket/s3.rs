//! An S3 bucket, or what of it lies below a prefix.
//!
//! A request is tried a few times over some seconds by `object_store`; whoever asked decides
//! whether to wait longer. Keys are those below the prefix, so that an object is called the same in
//! a folder, in a bucket, and after the prefix was moved.

use std::error::Error as _;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt,
    RetryConfig,
};

use super::{Error, Listing, object_of};
use crate::feed::MARKER_SUFFIX;

/// How many keys are asked for at once: as many as a server gives.
const PAGE_KEYS: usize = 1_000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing came for so long.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// A range of 8 MiB takes no longer than this, or the line is too slow for files of any size.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A request is tried again so often, and for so long: a server that is busy for a moment is not
/// worth a line in the log.
const RETRIES_MAX: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(5);

/// A bucket and a prefix.
#[derive(Debug)]
pub(super) struct S3 {
    bucket: String,
    /// Without a slash at either end; empty for the whole bucket.
    prefix: String,
    store: AmazonS3,
    /// The same without a second try, for the first look.
    impatient: AmazonS3,
}

impl S3 {
    pub(super) fn new(
        bucket: &str,
        prefix: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let prefix = prefix.trim_matches('/').to_owned();
        object_store::path::Path::parse(&prefix).map_err(|error| Error::Settings {
            what: format!("the prefix can't be that of an object: {error}; give another"),
        })?;
        let options = ClientOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(READ_TIMEOUT)
            .with_timeout(REQUEST_TIMEOUT);
        let mut builder = AmazonS3Builder::new().with_client_options(options);
        for (name, value) in variables {
            let name = name.to_ascii_lowercase();
            if name.starts_with("aws_")
                && let Ok(key) = name.parse::<AmazonS3ConfigKey>()
            {
                builder = builder.with_config(key, value);
            }
        }
        let builder = guard_clear_text(builder.with_bucket_name(bucket))?;
        let build = |retries| {
            let backoff = BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            };
            let retry = RetryConfig { backoff, max_retries: retries, retry_timeout: RETRY_FOR };
            builder.clone().with_retry(retry).build().map_err(|error| Error::Settings {
                what: format!("s3://{bucket} can't be used: {}", chain(&error)),
            })
        };
        let (store, impatient) = (build(RETRIES_MAX)?, build(0)?);
        Ok(Self { bucket: bucket.to_owned(), prefix, store, impatient })
    }

    pub(super) fn name(&self) -> String {
        match self.prefix.as_str() {
            "" => format!("s3://{}", self.bucket),
            prefix => format!("s3://{}/{prefix}", self.bucket),
        }
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        &self.store
    }

    /// The whole key of an object.
    pub(super) fn full_key(&self, key: &str) -> String {
        match self.prefix.as_str() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    /// True where both are of one bucket.
    pub(super) fn is_same_bucket(&self, other: &Self) -> bool {
        self.bucket == other.bucket
    }

    /// True where `other` is this prefix or lies below it.
    pub(super) fn holds(&self, other: &Self) -> bool {
        let below = other.prefix.strip_prefix(self.prefix.as_str());
        let is_below =
            |rest: &str| self.prefix.is_empty() || rest.is_empty() || rest.starts_with('/');
        self.is_same_bucket(other) && below.is_some_and(is_below)
    }

    /// Asks for one key.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let options = PaginatedListOptions { max_keys: Some(1), ..PaginatedListOptions::default() };
        match self.impatient.list_paginated(self.list_prefix().as_deref(), options).await {
            // Such a key is told of at each look.
            Ok(_) | Err(object_store::Error::InvalidPath { .. }) => Ok(()),
            Err(error) => Err(self.bucket_error(&error)),
        }
    }

    pub(super) async fn list(&self) -> Result<Listing, Error> {
        let (prefix, mut pages) = (self.list_prefix(), Pages::new());
        while let Some(options) = pages.next() {
            let page = self.store.list_paginated(prefix.as_deref(), options).await;
            pages.take(page).map_err(|error| self.bucket_error(&error))?;
        }
        let Pages { metas, unusable: unreadable, .. } = pages;
        let mut objects = Vec::with_capacity(metas.len());
        for meta in metas {
            let location = meta.location.to_string();
            let key = match self.prefix.as_str() {
                "" => Some(location.as_str()),
                prefix => location.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')),
            };
            if let Some(key) = key
                && !self.is_folder_mark(&meta).await?
            {
                objects.push(object_of(key.to_owned(), &meta));
            }
        }
        Ok(Listing { objects, unreadable })
    }

    /// True where this is no object but the mark of a folder, as consoles make them: a key that
    /// ends with a slash, which is lost when it is listed.
    async fn is_folder_mark(&self, meta: &ObjectMeta) -> Result<bool, Error> {
        if 0 < meta.size || meta.location.as_ref().ends_with(MARKER_SUFFIX) {
            return Ok(false);
        }
        match self.store.head(&meta.location).await {
            Ok(found) => Ok(found.e_tag != meta.e_tag),
            Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(self.bucket_error(&error)),
        }
    }

    fn list_prefix(&self) -> Option<String> {
        (!self.prefix.is_empty()).then(|| format!("{}/", self.prefix))
    }

    /// What an error about one object means.
    pub(super) fn error(&self, key: &str, error: object_store::Error) -> Error {
        match &error {
            // It may be this object's own: encrypted, or put away to tape.
            object_store::Error::PermissionDenied { .. } => Error::object(key, chain(&error)),
            object_store::Error::InvalidPath { .. } => Error::object(key, error),
            _ => self.bucket_error(&error),
        }
    }

    /// What an error about the bucket means.
    fn bucket_error(&self, error: &object_store::Error) -> Error {
        let (name, what) = (self.name(), what(error));
        match trouble(error) {
            Trouble::NoBucket => Error::NoBucket { name: format!("s3://{}", self.bucket) },
            Trouble::Denied => Error::Denied { name, what },
            Trouble::NoServer => Error::NoServer { name, what },
            Trouble::Passes => Error::Unavailable { name, what },
        }
    }
}

/// Plain HTTP sends credentials and bank files in clear: on this machine that is nobody's matter,
/// beyond it somebody must have asked for it.
fn guard_clear_text(builder: AmazonS3Builder) -> Result<AmazonS3Builder, Error> {
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::S3Endpoint);
    let endpoint = endpoint.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let Some(rest) = endpoint.as_deref().and_then(|url| url.strip_prefix("http://")) else {
        return Ok(builder);
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_loopback = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_loopback {
        return Ok(builder.with_allow_http(true));
    }
    let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
    if builder.get_config_value(&allow_http).is_some_and(|value| value == "true") {
        return Ok(builder);
    }
    Err(Error::Settings {
        what: format!(
            "AWS_ENDPOINT_URL is plaintext to {host}: use https, or allow it with \
             AWS_ALLOW_HTTP=true"
        ),
    })
}

/// Collects every key that pages give.
///
/// A page that holds a key that is no path (`a//b`) can't be had; it is asked for again in smaller
/// pieces until that key stands alone and can be passed over.
#[derive(Debug)]
struct Pages {
    metas: Vec<ObjectMeta>,
    /// Why the first key that can't be used can't.
    unusable: Option<String>,
    /// Behind which key to go on; none where a token says it.
    offset: Option<String>,
    token: Option<String>,
    keys: usize,
    is_at_end: bool,
}

impl Pages {
    fn new() -> Self {
        let (metas, keys) = (Vec::new(), PAGE_KEYS);
        Self { metas, unusable: None, offset: None, token: None, keys, is_at_end: false }
    }

    /// What to ask for next; none at the end.
    fn next(&self) -> Option<PaginatedListOptions> {
        (!self.is_at_end).then(|| PaginatedListOptions {
            offset: self.offset.clone(),
            page_token: self.token.clone(),
            max_keys: Some(self.keys),
            ..PaginatedListOptions::default()
        })
    }

    fn take(
        &mut self,
        page: object_store::Result<PaginatedListResult>,
    ) -> Result<(), object_store::Error> {
        match page {
            Ok(page) => {
                self.metas.extend(page.result.objects);
                self.is_at_end = page.page_token.is_none();
                self.token = page.page_token;
                self.keys = self.keys.saturating_mul(2).min(PAGE_KEYS);
            }
            Err(object_store::Error::InvalidPath { .. }) if 1 < self.keys => self.keys /= 2,
            Err(object_store::Error::InvalidPath { source }) => {
                let Some(key) = key_of(&source) else {
                    return Err(object_store::Error::InvalidPath { source });
                };
                let what = || format!("an object's key can't be used: {source}");
                self.unusable.get_or_insert_with(what);
                (self.offset, self.token, self.keys) = (Some(key), None, PAGE_KEYS);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The key that a path could not be made of.
fn key_of(error: &object_store::path::Error) -> Option<String> {
    use object_store::path::Error as Path;
    match error {
        Path::EmptySegment { path } | Path::BadSegment { path, .. } => Some(path.clone()),
        _ => None,
    }
}

/// Who must do something about an error.
#[derive(Debug, PartialEq)]
enum Trouble {
    NoBucket,
    Denied,
    NoServer,
    Passes,
}

/// Codes of S3 that say that the caller is not known, or may not; also versitygw's for a key that
/// it does not know.
const DENIED: [&str; 7] = [
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "XAdminUserNotFound",
    "AllAccessDisabled",
];

/// Codes that say that the bucket lies elsewhere.
const ELSEWHERE: [&str; 4] = [
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "BucketRegionError",
];

fn trouble(error: &object_store::Error) -> Trouble {
    use object_store::Error as Store;
    let text = chain(error);
    match element(&text, "Code") {
        Some("NoSuchBucket") => return Trouble::NoBucket,
        Some(code) if DENIED.contains(&code) => return Trouble::Denied,
        Some(code) if ELSEWHERE.contains(&code) => return Trouble::NoServer,
        _ => (),
    }
    if matches!(error, Store::PermissionDenied { .. } | Store::Unauthenticated { .. }) {
        return Trouble::Denied;
    }
    let cannot_be_reached = ["dns error", "invalid peer certificate", "InvalidContentType"];
    let is_bare_redirect = text.contains("redirect without LOCATION");
    let is_no_server = cannot_be_reached.iter().any(|what| text.contains(what));
    if is_bare_redirect || (is_no_server && is_connect(error)) {
        return Trouble::NoServer;
    }
    Trouble::Passes
}

/// True where an error is one of the whole bucket although it reads as if one object weren't there:
/// servers say 404 to these as well.
pub(super) fn is_of_bucket(error: &object_store::Error) -> bool {
    let text = chain(error);
    element(&text, "Code").is_some_and(|code| !["NoSuchKey", "NoSuchVersion"].contains(&code))
}

fn is_connect(error: &object_store::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<HttpError>() {
            return error.kind() == HttpErrorKind::Connect;
        }
        source = error.source();
    }
    false
}

/// What an error says, in few words: the server's own where it gave some.
fn what(error: &object_store::Error) -> String {
    let text = chain(error);
    match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {}", message.trim_end_matches('.')),
        (Some(code), None) => code.to_owned(),
        (None, _) => innermost(error),
    }
}

/// The innermost cause, which names what happened; the outer ones name our own request.
fn innermost(error: &object_store::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// An error with all its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        // Most of them say their source already.
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        source = error.source();
    }
    text
}

/// What stands in the first element of this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;
    use object_store::{ListResult, Result};

    use super::*;

    /// A page of these keys as S3 gives it: whole, or nothing of it.
    fn page(keys: &[String], options: PaginatedListOptions) -> Result<PaginatedListResult> {
        let after = options.page_token.or(options.offset).unwrap_or_default();
        let mut keys = keys.iter().filter(|key| **key > after);
        let (mut objects, mut last) = (Vec::new(), None);
        for key in keys.by_ref().take(options.max_keys.unwrap_or(PAGE_KEYS)) {
            let (last_modified, location) = (Default::default(), Path::parse(key)?);
            objects.push(ObjectMeta {
                location,
                last_modified,
                size: 1,
                e_tag: None,
                version: None,
            });
            last = Some(key.clone());
        }
        let page_token = keys.next().and(last);
        let (common_prefixes, extensions) = (Vec::new(), Default::default());
        let result = ListResult { objects, common_prefixes, extensions };
        Ok(PaginatedListResult { result, page_token })
    }

    /// Keys that are no paths, wherever they stand, hide no others.
    #[test]
    fn a_key_that_cannot_be_used_hides_no_others() {
        let good = |number: usize| format!("in/{number:05}.ach");
        let mut keys: Vec<String> = (0..2_500).map(good).collect();
        let bad = ["in//first", "in/00007.ach//b", "in/01999.ach/../x", "in/z//last"];
        keys.extend(bad.map(String::from));
        keys.sort();
        let mut pages = Pages::new();
        while let Some(options) = pages.next() {
            pages.take(page(&keys, options)).unwrap();
        }
        let found: Vec<String> = pages.metas.iter().map(|meta| meta.location.to_string()).collect();
        assert_eq!(found, (0..2_500).map(good).collect::<Vec<_>>());
        assert!(pages.unusable.unwrap().contains("in//first"));
    }

    #[test]
    fn plaintext_beyond_this_machine_must_be_asked_for() {
        for (endpoint, allow, is_fine) in [
            ("http://127.0.0.1:17070", None, true),
            ("http://[::1]:17070", None, true),
            ("http://localhost", Some("false"), true),
            ("http://s3.example:9000", None, false),
            ("http://s3.example:9000", Some("false"), false),
            ("http://s3.example:9000", Some("true"), true),
            ("http://127.0.0.1.example", None, false),
            ("https://s3.example", None, true),
        ] {
            let variables = [
                ("AWS_ENDPOINT_URL", Some(endpoint)),
                ("AWS_ALLOW_HTTP", allow),
                ("AWS_ACCESS_KEY_ID", Some("a")),
                ("AWS_SECRET_ACCESS_KEY", Some("b")),
                ("PATH", Some("/bin")),
            ];
            let said = variables
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
            assert_eq!(S3::new("bucket", "", said).is_ok(), is_fine, "{endpoint} {allow:?}");
        }
    }
}
