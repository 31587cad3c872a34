//! Registers our schemas with a real registry, and meets what can be wrong with one.
//!
//! Start it with `eval "$(engines/up)"`. Every test has a prefix of its own.
#![expect(clippy::unwrap_used, reason = "a test ends where its surroundings fail")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Client, Method};
use schemas::Topic;
use schemas::codec::EventType;
use serde_json::{Value, json};
use topic::registry::{Error, Ids, Settings, subject};

use relay::{Asked, Relay};

#[path = "registry/relay.rs"]
mod relay;

/// Where the registry of `engines/up` is.
#[expect(clippy::disallowed_methods, reason = "where the test's surroundings are")]
fn registry() -> String {
    std::env::var("BATCHLESS_TEST_REGISTRY").expect("start the engines: eval \"$(engines/up)\"")
}

/// A prefix that no test had before, of this run or of another on the same registry.
fn own_prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "a name, not a time")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("t{}-{since}-{}.", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn settings(url: &str) -> Settings {
    Settings { url: url.to_owned(), user: None, password: None, ca_file: None }
}

/// Asks the registry past our client.
async fn ask(method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = Client::new().request(method, format!("{}/{path}", registry()));
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

async fn register_by_hand(subject: &str, schema: &str) -> u32 {
    let path = format!("subjects/{subject}/versions");
    let (status, body) = ask(Method::POST, &path, Some(json!({ "schema": schema }))).await;
    assert_eq!(status, 200, "{body}");
    u32::try_from(body["id"].as_u64().unwrap()).unwrap()
}

/// A relay before the registry of the test; what `refuse` gives is answered instead.
async fn relay(refuse: impl Fn(&Asked) -> Option<(u16, Value)> + Send + Sync + 'static) -> Relay {
    Relay::before(&registry(), refuse).await
}

#[tokio::test]
async fn registering_again_gives_the_same_ids() {
    let prefix = own_prefix();
    let first = Ids::register(&settings(&registry()), &prefix).await.unwrap();
    let again = Ids::register(&settings(&registry()), &prefix).await.unwrap();
    assert_eq!(first.subjects().len(), EventType::ALL.len());
    assert_eq!(first.subjects(), again.subjects());
    for &event in EventType::ALL {
        let (status, versions) =
            ask(Method::GET, &format!("subjects/{}/versions", subject(&prefix, event)), None).await;
        assert_eq!((status, versions), (200, json!([1])));
    }
}

/// As when all instances are started together on a registry that is empty.
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_at_once_get_the_same_ids() {
    let (prefix, settings) = (own_prefix(), settings(&registry()));
    let one = || Ids::register(&settings, &prefix);
    let (a, b, c, d) = tokio::try_join!(one(), one(), one(), one()).unwrap();
    for other in [b, c, d] {
        assert_eq!(a.subjects(), other.subjects());
    }
}

#[tokio::test]
async fn an_id_stands_for_its_event_on_its_topic_alone() {
    let ids = Ids::register(&settings(&registry()), &own_prefix()).await.unwrap();
    assert!(!ids.is_built_in());
    for &event in EventType::ALL {
        let built_in = event.built_in_id();
        for topic in Topic::ALL {
            let wire = ids.to_wire(topic, built_in);
            assert_eq!(wire.is_some(), topic == event.topic());
            let Some(wire) = wire else { continue };
            assert_eq!(ids.from_wire(topic, wire), Some(built_in));
            let (status, kept) = ask(Method::GET, &format!("schemas/ids/{wire}"), None).await;
            assert_eq!(status, 200);
            assert!(event.is_written_as(kept["schema"].as_str().unwrap()));
        }
    }
    let unknown = ids.unknown(Topic::Records, 999_999).to_string();
    assert!(unknown.contains("999999") && unknown.contains(&registry()), "{unknown}");
    assert!(unknown.contains("records-"), "{unknown}");
    assert_eq!(ids.from_wire(Topic::Records, 999_999), None);
    assert_eq!(ids.to_wire(Topic::Records, 0), None);
}

#[test]
fn without_a_registry_ids_travel_as_they_are() {
    let ids = Ids::built_in();
    assert!(ids.is_built_in());
    assert_eq!(ids.to_wire(Topic::Postings, 6), Some(6));
    assert_eq!(ids.from_wire(Topic::Postings, 6), Some(6));
    assert!(ids.subjects().is_empty());
}

#[tokio::test]
async fn every_subject_is_fully_transitive_whatever_it_was() {
    let prefix = own_prefix();
    let loose = subject(&prefix, EventType::Ledger);
    register_by_hand(&loose, EventType::Ledger.schema_text()).await;
    let none = json!({ "compatibility": "NONE" });
    assert_eq!(ask(Method::PUT, &format!("config/{loose}"), Some(none)).await.0, 200);

    Ids::register(&settings(&registry()), &prefix).await.unwrap();
    for &event in EventType::ALL {
        let path = format!("config/{}", subject(&prefix, event));
        let (status, config) = ask(Method::GET, &path, None).await;
        assert_eq!(status, 200);
        assert_eq!(config["compatibilityLevel"], "FULL_TRANSITIVE");
    }
}

/// Somebody else holds the subject with what ours can't be read beside: the registry's own words,
/// compared with what passed by.
#[tokio::test]
async fn an_incompatible_schema_is_refused_with_the_registrys_reason() {
    let prefix = own_prefix();
    let held = subject(&prefix, EventType::SegmentClosed);
    let ours = EventType::SegmentClosed.schema_text();
    register_by_hand(&held, &ours.replace("\"shard\"", "\"shard_number\"")).await;

    let relay = relay(|_| None).await;
    let error = Ids::register(&settings(&relay.url), &prefix).await.unwrap_err();
    let said = error.to_string();
    assert!(!error.is_outage());
    let Error::Incompatible { subject, reason, .. } = error else { panic!("{said}") };
    assert_eq!(subject, held);
    let answered: Value = serde_json::from_str(&relay.last_answer_of(409)).unwrap();
    assert_eq!(answered["message"], reason);
    assert!(reason.contains("shard_number") && said.ends_with(&reason), "{said}");
}

/// An older version that differs in its words alone is read; one with a field more is not, because
/// nothing here decodes it.
#[tokio::test]
async fn older_versions_that_read_the_same_are_read() {
    let prefix = own_prefix();
    let held = subject(&prefix, EventType::Ledger);
    let ours = EventType::Ledger.schema_text();
    let older = register_by_hand(&held, &ours.replace("Its name", "The name")).await;
    let field = r#"{"name": "more", "doc": "More.", "type": "int", "default": 0}, {"name": "name""#;
    let longer = register_by_hand(&held, &ours.replace(r#"{"name": "name""#, field)).await;

    let ids = Ids::register(&settings(&registry()), &prefix).await.unwrap();
    let newest = ids.to_wire(Topic::Files, EventType::Ledger.built_in_id()).unwrap();
    assert!(newest != older && newest != longer);
    for wire in [older, newest] {
        assert_eq!(ids.from_wire(Topic::Files, wire), Some(EventType::Ledger.built_in_id()));
    }
    assert_eq!(ids.from_wire(Topic::Files, longer), None);
}

#[tokio::test]
async fn what_is_no_registry_is_said_to_be_none() {
    // A port that nobody listens on: reserved and let go.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let plain = registry().replace("http://", "https://");
    let cases = [
        (format!("http://{free}"), true, "is away: Connection refused"),
        ("http://registry.invalid:1".to_owned(), false, "no connection to the schema registry at"),
        (plain, false, "no connection to the schema registry at https://"),
        (format!("{}/nothing", registry()), false, "expected a schema registry at"),
        ("kafka://127.0.0.1:1".to_owned(), false, "found the scheme kafka"),
        ("no address".to_owned(), false, "expected the address of a schema registry"),
        ("http://ana:secret@127.0.0.1:1".to_owned(), false, "found a user in it"),
    ];
    for (url, is_outage, expected) in cases {
        let settings = settings(&url);
        let error = Ids::register(&settings, &own_prefix()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{url}: {error}");
        assert_eq!(error.is_outage(), is_outage, "{url}: {error}");
        assert!(!format!("{error}{error:?}{settings:?}").contains("secret"));
        let as_log = topic::Error::from(error);
        assert_eq!(matches!(as_log, topic::Error::Retry { .. }), is_outage);
    }
}

#[tokio::test]
async fn a_wrong_password_is_named_and_the_right_one_is_let_in() {
    // base64 of `ana:right`.
    let relay = relay(|asked| {
        let is_right = asked.authorization.as_deref() == Some("Basic YW5hOnJpZ2h0");
        (!is_right).then(|| (401, json!({ "error_code": 401, "message": "Unauthorized" })))
    })
    .await;
    let with = |password: &str| Settings {
        user: Some("ana".to_owned()),
        password: Some(password.to_owned()),
        ..settings(&relay.url)
    };
    for settings in [with("wrong-secret"), settings(&relay.url)] {
        let error = Ids::register(&settings, &own_prefix()).await.unwrap_err();
        assert!(matches!(error, Error::Denied { status: 401, .. }), "{error}");
        assert!(error.to_string().contains("the user or the password is wrong"), "{error}");
        assert!(!format!("{error}{error:?}{settings:?}").contains("wrong-secret"));
    }
    Ids::register(&with("right"), &own_prefix()).await.unwrap();
}

/// Once the schemas are there, a user who may only read is enough.
#[tokio::test]
async fn a_user_who_may_only_read_is_enough_later() {
    let relay = relay(|asked| {
        let is_write = asked.method == "PUT" || asked.path.ends_with("/versions");
        let is_write = is_write && asked.method != "GET";
        is_write.then(|| (403, json!({ "error_code": 403, "message": "read only" })))
    })
    .await;
    let prefix = own_prefix();
    let error = Ids::register(&settings(&relay.url), &prefix).await.unwrap_err();
    assert!(matches!(error, Error::Denied { status: 403, .. }), "{error}");
    let ids = Ids::register(&settings(&registry()), &prefix).await.unwrap();
    let read = Ids::register(&settings(&relay.url), &prefix).await.unwrap();
    assert_eq!(ids.subjects(), read.subjects());
}

#[tokio::test]
async fn a_registry_that_is_just_starting_is_asked_again() {
    let refused = AtomicU32::new(0);
    let relay = relay(move |_| {
        let is_early = refused.fetch_add(1, Ordering::Relaxed) < 3;
        is_early.then(|| (503, json!({ "error_code": 50_301, "message": "starting" })))
    })
    .await;
    Ids::register(&settings(&relay.url), &own_prefix()).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_a_refusal_is_passed_on_in_its_words() {
    let relay = relay(|asked| {
        let is_ours = asked.method == "POST" && asked.path.ends_with("/versions");
        is_ours.then(|| (422, json!({ "error_code": 42_201, "message": "too long a schema" })))
    })
    .await;
    let error = Ids::register(&settings(&relay.url), &own_prefix()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 422, .. }), "{error}");
    assert!(error.to_string().ends_with("too long a schema"), "{error}");
}

/// A registry that says yes and does otherwise.
#[tokio::test]
async fn what_was_said_is_read_back() {
    let prefix = own_prefix();
    let forgets = relay(|asked| {
        let is_config = asked.method == "GET" && asked.path.contains("/config/");
        is_config.then(|| (200, json!({ "compatibilityLevel": "NONE" })))
    })
    .await;
    let error = Ids::register(&settings(&forgets.url), &prefix).await.unwrap_err();
    assert!(matches!(&error, Error::Compatibility { found, .. } if found == "NONE"), "{error}");

    let other = relay(|asked| {
        let schema = EventType::Outcome.schema_text();
        asked.path.contains("/schemas/ids/").then(|| (200, json!({ "schema": schema })))
    })
    .await;
    let error = Ids::register(&settings(&other.url), &prefix).await.unwrap_err();
    assert!(matches!(error, Error::OtherSchema { .. }), "{error}");
}

/// Both are held until both are known, so that they differ.
fn two_free_ports() -> (u16, u16) {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (first, second) = (free(), free());
    (first.local_addr().unwrap().port(), second.local_addr().unwrap().port())
}

/// A registry of this test's own, so that it can be stopped: over TLS, with a certificate that only
/// our file knows.
struct Own {
    folder: tempfile::TempDir,
    instance: String,
    url: String,
}

impl Own {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (plain, tls) = two_free_ports();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (key, certificate) = (at("key.pem"), at("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &key, "-out", &certificate])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let instance = format!("own-{plain}");
        let own =
            Self { url: format!("https://127.0.0.1:{tls}/apis/ccompat/v7"), instance, folder };
        let extra = format!(
            "-Dquarkus.http.ssl-port={tls} -Dquarkus.http.ssl.certificate.files={certificate} \
             -Dquarkus.http.ssl.certificate.key-files={key}"
        );
        own.script(&["up", &plain.to_string()], &extra);
        own
    }

    fn script(&self, arguments: &[&str], extra: &str) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engines/registry.sh");
        let done = Command::new(script)
            .args(arguments)
            .env("REGISTRY_INSTANCE", &self.instance)
            .env("REGISTRY_EXTRA", extra)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.script(&["wipe"], "");
    }
}

#[tokio::test]
async fn ids_outlive_a_registry_that_goes_away() {
    let own = Own::start();
    let prefix = own_prefix();
    let error = Ids::register(&settings(&own.url), &prefix).await.unwrap_err();
    assert!(matches!(error, Error::Connection { .. }), "{error}");
    let ca_file = Some(own.folder.path().join("certificate.pem"));
    let trusting = Settings { ca_file, ..settings(&own.url) };
    let ids = Ids::register(&trusting, &prefix).await.unwrap();
    let subjects = ids.subjects();

    own.script(&["down"], "");
    let error = Ids::register(&trusting, &prefix).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    assert_eq!(ids.subjects(), subjects);
    for &event in EventType::ALL {
        let wire = ids.to_wire(event.topic(), event.built_in_id()).unwrap();
        assert_eq!(ids.from_wire(event.topic(), wire), Some(event.built_in_id()));
    }

    let key = Some(own.folder.path().join("key.pem"));
    let missing = Some(own.folder.path().join("nothing.pem"));
    for ca_file in [key, missing] {
        let settings = Settings { ca_file, ..trusting.clone() };
        let error = Ids::register(&settings, &prefix).await.unwrap_err();
        assert!(matches!(error, Error::Certificates { .. }), "{error}");
    }
}
