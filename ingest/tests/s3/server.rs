//! Buckets of a test on a real server, and what stands behind our client: the server's own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use ingest::bucket::Bucket;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    MultipartUpload as _, ObjectStore as _, ObjectStoreExt as _, PutMultipartOptions, PutPayload,
};

/// The variables that `engines/up` prints for S3.
#[expect(clippy::disallowed_methods, reason = "where the test's surroundings are")]
pub(crate) fn variables() -> Vec<(String, String)> {
    std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect()
}

#[expect(clippy::disallowed_methods, reason = "where the test's surroundings are")]
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).expect("start the engines: eval \"$(engines/up)\"")
}

/// The resident memory of this process.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// A bucket of a test's own.
pub(crate) struct Own {
    pub(crate) name: String,
    url: String,
    store: AmazonS3,
    /// Where the server keeps what it stores.
    data: PathBuf,
    /// The server's instance, where it is one of ours to kill.
    instance: Option<(String, u16)>,
}

impl Own {
    /// On the server that all tests share.
    pub(crate) fn shared() -> Self {
        Self::at(variable("AWS_ENDPOINT_URL"), variable("S3_DATA").into(), None)
    }

    /// On a server of a test's own.
    pub(crate) fn instance(name: &str, port: u16) -> Self {
        let said = script(name, &["up", &port.to_string()]);
        let env = script(name, &["env"]);
        let data = env.lines().find_map(|line| line.strip_prefix("export S3_DATA="));
        let instance = Some((name.to_owned(), port));
        Self::at(said.trim().to_owned(), data.unwrap().into(), instance)
    }

    fn at(url: String, data: PathBuf, instance: Option<(String, u16)>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // A directory of the server's data is a bucket.
        let name = loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("ingest-{}-{count}", std::process::id());
            if std::fs::create_dir(data.join(&name)).is_ok() {
                break name;
            }
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(&url)
            .with_allow_http(true)
            .with_bucket_name(&name)
            .with_region("us-east-1")
            .with_access_key_id(variable("AWS_ACCESS_KEY_ID"))
            .with_secret_access_key(variable("AWS_SECRET_ACCESS_KEY"))
            .build()
            .unwrap();
        Self { name, url, store, data, instance }
    }

    pub(crate) fn bucket(&self, prefix: &str) -> Bucket {
        self.bucket_at(&self.url, prefix)
    }

    pub(crate) fn bucket_at(&self, url: &str, prefix: &str) -> Bucket {
        let others = variables().into_iter().filter(|(name, _)| name != "AWS_ENDPOINT_URL");
        let endpoint = ("AWS_ENDPOINT_URL".to_owned(), url.to_owned());
        Bucket::s3(&self.name, prefix, others.chain([endpoint])).unwrap()
    }

    pub(crate) async fn put(&self, key: &str, bytes: &[u8]) {
        self.store.put(&Path::from(key), PutPayload::from(bytes.to_vec())).await.unwrap();
    }

    /// Puts an object of so many equal pieces.
    pub(crate) async fn put_large(&self, key: &str, piece: &[u8], pieces: usize) {
        let part: bytes::Bytes = piece.repeat(20).into();
        assert_eq!(pieces % 20, 0);
        let options = PutMultipartOptions::default();
        let mut upload = self.store.put_multipart_opts(&Path::from(key), options).await.unwrap();
        for _ in 0..pieces / 20 {
            upload.put_part(part.clone().into()).await.unwrap();
        }
        upload.complete().await.unwrap();
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.store.delete(&Path::from(key)).await.unwrap();
    }

    /// Puts the mark of a folder, as consoles do: a key that ends with a slash. Our client can't.
    pub(crate) fn mark_folder(&self, key: &str) {
        let user =
            format!("{}:{}", variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
        let url = format!("{}/{}/{key}", self.url, self.name);
        // The digest of nothing, which is what is put.
        let digest = "x-amz-content-sha256: \
                      e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let put = ["-sf", "-X", "PUT", "-d", "", "--aws-sigv4", "aws:amz:us-east-1:s3"];
        let put = [&put[..], &["--user", &user, "-H", digest, &url]].concat();
        assert!(Command::new("curl").args(put).status().unwrap().success());
    }

    pub(crate) fn kill(&self) {
        script(&self.instance.as_ref().unwrap().0, &["kill9"]);
    }

    pub(crate) fn start(&self) {
        let (name, port) = self.instance.as_ref().unwrap();
        script(name, &["up", &port.to_string()]);
    }
}

/// Runs the script of the server, for one instance, and gives what it prints.
fn script(instance: &str, arguments: &[&str]) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../engines/s3.sh");
    let mut script = Command::new(path);
    let said = script.args(arguments).env("S3_INSTANCE", instance).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap()
}

impl Drop for Own {
    fn drop(&mut self) {
        match &self.instance {
            Some((name, _)) => drop(script(name, &["wipe"])),
            // A directory that is not there any more is as well.
            None => drop(std::fs::remove_dir_all(self.data.join(&self.name))),
        }
    }
}
