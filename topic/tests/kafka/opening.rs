//! Opening a log: what is wrong is said at once, and whose fault it is.

use schemas::Topic;
use topic::conformance::layout;
use topic::kafka::admin::{self, Policy};
use topic::kafka::{KafkaLog, Mechanism, Sasl, Security, Tls, Unusable};
use topic::{Layout, Log, Writer};

use crate::cluster::{Broker, Ledger, batch, brokers, numbered, settings, values};

/// Topics are made once, as they must be kept; what is missing or different is named.
#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_checked_and_described() {
    let of = settings(&brokers());
    let none = KafkaLog::open(of.clone(), layout()).await.err();
    assert!(
        matches!(&none, Some(Unusable::Missing { missing, .. }) if missing.len() == 6),
        "{none:?}"
    );
    assert_eq!(KafkaLog::layout_in(&of).await.unwrap(), None);

    let created = admin::create(&of, layout(), &Policy::default()).await.unwrap();
    assert_eq!(created, Topic::ALL);
    assert_eq!(admin::create(&of, layout(), &Policy::default()).await.unwrap(), []);
    assert_eq!(KafkaLog::layout_in(&of).await.unwrap(), Some(layout()));
    assert!(admin::check(&of, layout()).await.unwrap().is_empty());

    let described = admin::describe(&of).await.unwrap();
    let kept: Vec<_> = (described.iter())
        .map(|it| (it.topic, it.partitions, it.is_compacted, it.retention.map(|it| it.as_secs())))
        .collect();
    let weeks = Some(4 * 7 * 24 * 60 * 60);
    let expected = [
        (Topic::Arrivals, 1, true, None),
        (Topic::Commands, 4, false, weeks),
        (Topic::Files, 4, true, None),
        (Topic::Records, 4, false, None),
        (Topic::Rejects, 4, false, None),
        (Topic::Postings, 4, false, None),
    ];
    assert_eq!(kept, expected);

    let other = Layout::new(1, 4, 8);
    let wrong = KafkaLog::open(of.clone(), other).await.err();
    assert!(
        matches!(
            wrong,
            Some(Unusable::Partitions { topic: Topic::Records, expected: 8, found: 4, .. })
        ),
        "{wrong:?}"
    );
    let wrong = admin::check(&of, other).await.unwrap();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    admin::delete(&of).await.unwrap();
}

/// A topic that would lose rows or outcomes is found.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_keep_too_little_are_found() {
    let extra = vec![("cleanup.policy".to_owned(), "compact,delete".to_owned())];
    let ledger = Ledger::create(layout(), &Policy { extra, ..Policy::default() }).await;
    let wrong = admin::check(&ledger.settings, ledger.layout).await.unwrap();
    let named: Vec<_> = (wrong.iter())
        .filter_map(|it| match it {
            Unusable::Kept { topic, name: "cleanup.policy", .. } => Some(*topic),
            _ => None,
        })
        .collect();
    assert_eq!(named, Topic::ALL);
    ledger.delete().await;
}

/// Nobody at the address, and no such host: an outage, which says where.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_an_outage() {
    for nowhere in ["127.0.0.1:1", "no-such-host.invalid:9092"] {
        let error = KafkaLog::open(settings(nowhere), layout()).await.unwrap_err();
        assert!(matches!(&error, Unusable::Unreachable { .. }) && error.is_outage(), "{error:?}");
        assert!(error.to_string().contains(nowhere), "{error}");
    }
}

/// TLS is asked for where the broker speaks plain text.
#[tokio::test(flavor = "multi_thread")]
async fn tls_against_plain_text_is_told_from_an_outage() {
    let mut of = settings(&brokers());
    of.security.tls = Some(Tls::default());
    let error = KafkaLog::open(of, layout()).await.unwrap_err();
    assert!(matches!(error, Unusable::PlainListener { .. }) && !error.is_outage(), "{error:?}");
}

/// Lines of a broker that has a listener for each way to speak to it, besides the plain one.
fn listeners(folder: &std::path::Path, at: u16) -> String {
    let store = folder.join("broker.p12");
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                 username=\"admin\" password=\"admin\" user_admin=\"admin\" user_ours=\"right\";";
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let (tls, sasl, both) = (at + 1, at + 2, at + 3);
    [
        format!(
            "listeners=CLIENT://127.0.0.1:{at},TLS://127.0.0.1:{tls},SASL://127.0.0.1:{sasl},\
             BOTH://127.0.0.1:{both},CONTROLLER://127.0.0.1:{},BROKER://127.0.0.1:{}",
            at + 1000,
            at + 2000
        ),
        format!(
            "advertised.listeners=CLIENT://127.0.0.1:{at},TLS://localhost:{tls},\
             SASL://127.0.0.1:{sasl},BOTH://localhost:{both},BROKER://127.0.0.1:{}",
            at + 2000
        ),
        "listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,BROKER:PLAINTEXT,\
         TLS:SSL,SASL:SASL_PLAINTEXT,BOTH:SASL_SSL"
            .to_owned(),
        format!("ssl.keystore.location={}", store.display()),
        "ssl.keystore.password=secret".to_owned(),
        "ssl.keystore.type=PKCS12".to_owned(),
        "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256".to_owned(),
        format!("listener.name.sasl.plain.sasl.jaas.config={plain}"),
        format!("listener.name.both.plain.sasl.jaas.config={plain}"),
        format!("listener.name.sasl.scram-sha-256.sasl.jaas.config={scram}"),
        format!("listener.name.both.scram-sha-256.sasl.jaas.config={scram}"),
    ]
    .join("\n")
}

/// Makes the broker's key, and gives the certificate that vouches for it.
fn certificate(folder: &std::path::Path) -> std::path::PathBuf {
    let keytool = |arguments: &[&str]| {
        let common = ["-keystore", "broker.p12", "-storepass", "secret", "-alias", "broker"];
        let mut command = std::process::Command::new("keytool");
        let done = command.args(arguments).args(common).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    };
    let names = "SAN=dns:localhost,ip:127.0.0.1";
    keytool(&["-genkeypair", "-keyalg", "EC", "-dname", "CN=localhost", "-ext", names]);
    keytool(&["-exportcert", "-rfc", "-file", "broker.pem"]);
    folder.join("broker.pem")
}

/// On a broker with TLS and users: what is right works, and what is wrong is told from an outage,
/// each by its name.
#[tokio::test(flavor = "multi_thread")]
async fn encryption_and_users_work_and_what_is_wrong_with_them_is_named() {
    const AT: u16 = 29_192;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = certificate(folder.path());
    let broker = Broker::start("topic-secure", AT, &listeners(folder.path(), AT));
    broker.engine(&[
        "run",
        "kafka.admin.ConfigCommand",
        "--bootstrap-server",
        &broker.address(),
        "--alter",
        "--add-config",
        "SCRAM-SHA-256=[iterations=4096,password=right]",
        "--entity-type",
        "users",
        "--entity-name",
        "ours",
    ]);
    let ledger = Ledger::create_at(&broker.address(), layout(), &Policy::default()).await;

    let tls = Some(Tls { ca_file: Some(ca_file), certificate: None });
    let user = |mechanism, password: &str| {
        Some(Sasl { mechanism, user: "ours".to_owned(), password: password.to_owned() })
    };
    let open = |port: u16, tls: Option<Tls>, sasl: Option<Sasl>| {
        let mut of = ledger.settings.clone();
        of.brokers = format!("localhost:{port}");
        of.security = Security { tls, sasl };
        KafkaLog::open(of, layout())
    };
    let (plain, scram) = (Mechanism::Plain, Mechanism::ScramSha256);
    for (port, tls, sasl) in [
        (AT + 1, tls.clone(), None),
        (AT + 2, None, user(plain, "right")),
        (AT + 3, tls.clone(), user(plain, "right")),
        (AT + 3, tls.clone(), user(scram, "right")),
    ] {
        let log = open(port, tls, sasl).await.unwrap();
        let before = values(&log, 0).await.len();
        log.writer("w").await.unwrap().publish(batch(0, numbered(0..3))).await.unwrap();
        assert_eq!(values(&log, 0).await.len(), before + 3, "port {port}");
        log.close().await;
    }

    let wrong = open(AT + 3, tls.clone(), user(plain, "wrong")).await.unwrap_err();
    assert!(matches!(wrong, Unusable::SignIn { .. }), "{wrong:?}");
    let wrong = open(AT + 3, tls.clone(), user(scram, "wrong")).await.unwrap_err();
    assert!(matches!(wrong, Unusable::SignIn { .. }), "{wrong:?}");
    assert!(!format!("{wrong:?} {wrong}").contains("wrong\""), "{wrong:?}");
    let stranger = open(AT + 1, Some(Tls::default()), None).await.unwrap_err();
    assert!(matches!(stranger, Unusable::Tls { .. }), "{stranger:?}");
    let clear = open(AT + 1, None, None).await.unwrap_err();
    assert!(matches!(clear, Unusable::TlsListener { .. }), "{clear:?}");
    let missing = Some(Tls { ca_file: Some("/no/such/file.pem".into()), certificate: None });
    let missing = open(AT + 1, missing, None).await.unwrap_err();
    assert!(matches!(missing, Unusable::Tls { .. }), "{missing:?}");
    drop(broker);
}
