//! Encrypted, on a server with a certificate that is made here.

use std::path::{Path, PathBuf};
use std::process::Command;

use processors::store::postgres::{PostgresStore, Settings, Tls};
use processors::store::{Error, conformance};

use crate::own::Own;
use crate::server::{SERVER, Schema, engine, of_url};

/// Who signs, and what they signed for 127.0.0.1 (and not for `localhost`).
struct Certificates {
    directory: tempfile::TempDir,
}

impl Certificates {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = Self { directory };
        made.sh("
            chmod 755 .
            key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
            for ca in ca other; do
              openssl req -x509 $key -days 30 -subj \"/CN=$ca\" -keyout $ca.key -out $ca.pem
            done
            openssl req $key -subj /CN=server -keyout server.key -out server.csr
            echo subjectAltName=IP:127.0.0.1 >names
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \\
              -extfile names -out server.pem
            chmod 600 server.key
            if [ $(id -u) = 0 ]; then chown postgres server.key; fi
            echo 'hostssl all all 127.0.0.1/32 scram-sha-256' >only-encrypted
            echo 'nothing' >no-certificate
            chmod 644 only-encrypted *.pem
        ");
        made
    }

    fn sh(&self, script: &str) {
        let done = Command::new("sh")
            .args(["-euc", script])
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn options(&self) -> String {
        format!(
            "-c ssl=on -c ssl_cert_file={} -c ssl_key_file={}",
            self.path("server.pem").display(),
            self.path("server.key").display()
        )
    }
}

fn encrypted(settings: &Settings, ca_file: &Path) -> Settings {
    Settings { tls: Some(Tls { ca_file: Some(ca_file.to_owned()) }), ..settings.clone() }
}

/// The refusal of these settings, with its causes.
async fn refusal(settings: Settings) -> String {
    let error = PostgresStore::open(settings).await.unwrap_err();
    assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn an_encrypted_connection_is_kept_to_whom_it_is_meant_for() {
    let made = Certificates::make();
    let server = Own::start(&made.options());
    let settings = of_url(&server.url);

    let mut schemas = Vec::new();
    let make = async || {
        let mut schema = Schema::of(&server.url);
        schema.settings = encrypted(&schema.settings, &made.path("ca.pem"));
        let store = schema.open().await;
        schemas.push(schema);
        store
    };
    assert_eq!(conformance::all(make).await, Ok(()));
    // All of them are encrypted but the one that asks.
    let plain = schemas[0].connect().await;
    let sql = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl)
               FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE application_name = 'batchless'";
    let store = schemas[0].open().await;
    let row = plain.query_one(sql, &[]).await.unwrap();
    let (in_cipher, in_clear): (i64, i64) = (row.get(0), row.get(1));
    assert!(0 < in_cipher && in_clear == 0, "{in_cipher} encrypted, {in_clear} not");
    drop(store);

    for (settings, expected) in [
        (encrypted(&settings, &made.path("other.pem")), "has a certificate that is not trusted"),
        (Settings { tls: Some(Tls::default()), ..settings.clone() }, "not trusted (UnknownIssuer)"),
        (
            Settings { host: "localhost".to_owned(), ..encrypted(&settings, &made.path("ca.pem")) },
            "the server as its certificate does",
        ),
        (encrypted(&settings, &made.path("no-certificate")), "no-certificate, found none"),
    ] {
        let words = refusal(settings).await;
        assert!(words.contains(expected) && !words.contains('\n'), "{words}");
    }
    drop(schemas);
}

/// One side wants it, the other doesn't have it.
#[tokio::test]
async fn encryption_on_one_side_alone_is_refused() {
    let made = Certificates::make();
    let clear = encrypted(&of_url(&engine(SERVER)), &made.path("ca.pem"));
    let words = refusal(clear).await;
    assert!(words.contains("has no TLS; turn it on there, or off here"), "{words}");

    let only = format!("{} -c hba_file={}", made.options(), made.path("only-encrypted").display());
    let server = Own::start(&only);
    let words = refusal(of_url(&server.url)).await;
    assert!(words.contains("not in this way (in clear or encrypted)"), "{words}");
}
