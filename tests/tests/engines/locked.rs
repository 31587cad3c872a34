//! Engines that are spoken to in another way than the configuration says: encrypted, signed in, or
//! with a disk that is full.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Shared;
use super::cluster::{Cluster, Plan};
use super::disk::Disk;
use super::own::{Kind, Own, free_port};
use super::settings::{self, Case};
use crate::sender::Sent;

/// A key and a certificate for 127.0.0.1 that vouches for itself: in one file, and the certificate
/// alone in another.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    fs::write(folder.join("both.pem"), read("key.pem") + &read("ca.pem")).unwrap();
}

/// A broker that takes TLS on a port 100 further on, and users with passwords on one 200 further
/// on.
fn locked_broker(folder: &Path) -> Own {
    certificate(folder);
    let port = free_port();
    let (inner, control) = (port + 2_000, port + 1_000);
    let (secure, signed) = (port + 100, port + 200);
    let names = format!(
        "CLIENT://127.0.0.1:{port},BROKER://127.0.0.1:{inner},SECURE://127.0.0.1:{secure},\
         SIGNED://127.0.0.1:{signed}"
    );
    let pem = folder.join("both.pem");
    let extra = format!(
        "listeners={names},CONTROLLER://127.0.0.1:{control}
advertised.listeners={names}
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,BROKER:PLAINTEXT,SECURE:SSL,SIGNED:SASL_PLAINTEXT
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location={}
listener.name.signed.sasl.enabled.mechanisms=PLAIN
listener.name.signed.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_batchless=\"right\";",
        pem.display()
    );
    Own::start_on(Kind::Kafka, port, &[("KAFKA_EXTRA", &extra)])
}

#[test]
fn a_locked_broker_is_named_and_opens_to_the_right_key() {
    let folder = tempfile::tempdir().unwrap();
    let kafka = locked_broker(folder.path());
    let engines = Shared { kafka: kafka.address.clone(), ..Shared::engines() };
    let cluster = Cluster::new(Plan { engines, ..Plan::shared() });
    let location = |further: u16| {
        let port = kafka.port + further;
        format!("topics.location = \"kafka://127.0.0.1:{port}\"\n")
    };
    let ca = folder.path().join("ca.pem");
    let (secure, signed) = (location(100), location(200));
    let trusted = format!("{secure}topics.tls = true\ntopics.tls_ca_file = \"{}\"", ca.display());
    let user = format!("{signed}topics.sasl = \"PLAIN\"\ntopics.user = \"batchless\"");
    let wrong = [("BATCHLESS_TOPICS_PASSWORD", "not-this-one")];
    let mut off = Vec::new();
    for (what, lines, environment, names) in [
        ("no TLS to a broker with", &secure, &[][..], &["topics.tls"][..]),
        ("a stranger's certificate", &format!("{secure}topics.tls = true"), &[], &["topics.tls"]),
        ("nobody to a broker with users", &signed, &[], &["topics.sasl"]),
        ("the broker's password", &user, &wrong, &["topics.password"]),
    ] {
        let lines = &[("topics.location", lines.as_str())];
        let case = Case { what, lines, environment, command: &["process"], names };
        off.extend(case.off(&cluster));
    }
    assert!(off.is_empty(), "{off:#?}");
    // And the right ones are let in.
    let right = [("BATCHLESS_TOPICS_PASSWORD", "right")];
    for (lines, environment) in [(&trusted, &[][..]), (&user, &right)] {
        let path = cluster.path().join("batchless.toml");
        let text = fs::read_to_string(&path).unwrap();
        cluster.configure("topics.location", lines);
        let mut command = cluster.command(&["topics", "check"]);
        command.envs(environment.iter().copied());
        let run = cluster.ended(command);
        assert_eq!(run.code, Some(0), "{lines}: {run:?}");
        fs::write(path, text).unwrap();
    }
    println!("locked broker: 4 wrong, 4 named; TLS and a password let in");
}

#[test]
fn a_server_that_takes_tls_alone_is_named() {
    let postgres = Own::start(Kind::Postgres, &[]);
    let engines = Shared { postgres: postgres.address.clone(), ..Shared::engines() };
    let cluster = Cluster::new(Plan { engines, ..Plan::shared() });
    cluster.sql(
        "DO $$ BEGIN EXECUTE format('COPY (SELECT ''hostssl all all 127.0.0.1/32 scram-sha-256'')
         TO %L', current_setting('hba_file')); END $$",
    );
    cluster.sql("SELECT pg_reload_conf()");
    let case = Case {
        what: "no TLS to a store that takes nothing else",
        lines: &[],
        environment: &[],
        command: &["process"],
        names: &["store.tls"],
    };
    assert_eq!(case.off(&cluster), None);
}

/// `run --once` ends where a server's disk stays full, says so, and goes on once there is space.
#[test]
fn a_full_disk_of_the_server_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // The server runs as a user of its own, who must get there.
    let place = Path::new("/var/tmp").join(format!("batchless-tests-{}", std::process::id()));
    let disk = Disk::mount(&place, 200);
    let settings = [("BATCHLESS_PGDATA", place.to_str().unwrap())];
    let postgres = Own::start(Kind::Postgres, &settings);
    let engines = Shared { postgres: postgres.address.clone(), ..Shared::engines() };
    let cluster = Cluster::new(Plan { engines, ..Plan::shared() });
    let files = [Sent::nacha("small.ach", 91, 200), Sent::nacha("payments.ach", 92, 30_000)];
    cluster.drop_in(&files[0]);
    assert_eq!(cluster.batchless(&["run", "--once"]).code, Some(0));
    disk.fill();
    cluster.drop_in(&files[1]);
    let run = cluster.batchless(&["run", "--once"]);
    assert_eq!(settings::off("a full disk of the store", &run, &["store.location"]), None);
    disk.clear();
    // It may have ended by that, as servers do.
    postgres.up();
    let run = cluster.batchless(&["run", "--once"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    cluster.wait_until_reconciled(&files);
    cluster.assert_verified();
    println!("full disk: the store's named, and gone on with");
    drop((cluster, postgres, disk, folder));
    fs::remove_dir(place).unwrap();
}
