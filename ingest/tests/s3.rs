//! The bucket on a real S3 server. Start it with `eval "$(engines/up)"`; every test has a bucket of
//! its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "s3/relay.rs"]
mod relay;
#[path = "s3/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use ingest::bucket::{Bucket, Error, Left, Object};
use ingest::container::Limits;
use ingest::content::{Blocks, Error as ContentError};

use relay::Relay;
use server::Own;

const LIMITS: Limits = Limits { bytes_max: 1 << 40, ratio_max: 200 };

/// Bytes that differ from one place to another.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 7 + at / 4096) % 251).unwrap()).collect()
}

fn keys(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.key.as_str()).collect()
}

/// Reads all of an object's content.
async fn content(bucket: &Bucket, object: &Object) -> Result<Vec<u8>, ContentError> {
    let mut blocks = Blocks::open(bucket, object, LIMITS, None, 0).await?;
    let mut all = Vec::new();
    while let Some(block) = blocks.next().await? {
        all.extend_from_slice(&block.bytes);
    }
    Ok(all)
}

#[tokio::test]
async fn a_prefix_is_listed_and_its_objects_are_read_by_range_and_version() {
    let own = Own::shared();
    own.put("in/ach/a.ach", b"0123456789").await;
    own.put("in/ach/deep/b.ach", b"abc").await;
    own.put("in/ach2/other.ach", b"other").await;
    own.put("in/ach.txt", b"other").await;
    let bucket = own.bucket("/in/ach/");
    bucket.check().await.unwrap();
    let listing = bucket.list().await.unwrap();
    assert_eq!(keys(&listing.objects), ["a.ach", "deep/b.ach"]);
    assert_eq!(listing.unreadable, None);
    let [a, b] = listing.objects.try_into().unwrap();
    assert_eq!(a.size, 10);
    assert_eq!(bucket.find("a.ach").await.unwrap().as_ref(), Some(&a));
    assert_eq!(bucket.read(&a, 2..5).await.unwrap(), "234");
    assert_eq!(bucket.read(&b, 0..3).await.unwrap(), "abc");
    assert_eq!(bucket.name(), format!("s3://{}/in/ach", own.name));

    own.put("in/ach/a.ach", b"abcdefghij").await;
    let replaced = bucket.read(&a, 2..5).await.unwrap_err();
    assert!(matches!(replaced, Error::Gone { .. }), "{replaced}");
    own.put("in/ach/a.ach", b"a").await;
    let shorter = bucket.read(&a, 2..5).await.unwrap_err();
    assert!(matches!(shorter, Error::Gone { .. }), "{shorter}");
    own.delete("in/ach/a.ach").await;
    let gone = bucket.read(&a, 2..5).await.unwrap_err();
    assert!(matches!(gone, Error::Gone { .. }), "{gone}");
    assert_eq!(bucket.find("a.ach").await.unwrap(), None);

    let whole = own.bucket("");
    assert_eq!(whole.list().await.unwrap().objects.len(), 3);
    let nothing = own.bucket("nothing/here");
    nothing.check().await.unwrap();
    assert!(nothing.list().await.unwrap().objects.is_empty());
}

#[tokio::test]
async fn a_listing_has_many_pages_and_no_marks_of_folders() {
    let own = Own::shared();
    for number in 0..1_203 {
        own.put(&format!("in/{number:04}.ach"), b"x").await;
    }
    own.mark_folder("in/folder/");
    own.mark_folder("in/");
    own.put("in/folder/a.ach", b"x").await;
    own.put("in/empty.ach", b"").await;
    let listing = own.bucket("in").list().await.unwrap();
    assert_eq!(listing.objects.len(), 1_205);
    let last = keys(&listing.objects[1_203..]);
    assert_eq!(last, ["empty.ach", "folder/a.ach"]);
    assert!(listing.objects.is_sorted());
}

/// Each thing that can be wrong from the start: a kind and a sentence.
#[tokio::test]
async fn a_first_look_says_what_is_wrong() {
    let own = Own::shared();
    let with = |changes: &[(&str, &str)]| {
        let mut variables: BTreeMap<String, String> = server::variables().into_iter().collect();
        for (name, value) in changes {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        variables
    };
    let check = async |name: &str, changes: &[(&str, &str)]| {
        let bucket = Bucket::s3(name, "in", with(changes))?;
        let debug = format!("{bucket:?}");
        assert!(!debug.contains("batchless-test"), "{debug}");
        bucket.check().await
    };
    check(&own.name, &[]).await.unwrap();
    let said = |result: Result<(), Error>| result.unwrap_err();

    let missing = said(check("no-such-bucket-here", &[]).await);
    assert!(matches!(missing, Error::NoBucket { .. }), "{missing}");
    assert_eq!(
        missing.to_string(),
        "there is no bucket s3://no-such-bucket-here; create it, or give another"
    );
    for (variable, value) in [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "wrong")] {
        let denied = said(check(&own.name, &[(variable, value)]).await);
        assert!(matches!(denied, Error::Denied { .. }), "{denied}");
        let text = denied.to_string();
        assert!(text.contains("AWS_SECRET_ACCESS_KEY") && !text.contains(value), "{text}");
    }
    let unknown = said(
        check(
            &own.name,
            &[("AWS_ENDPOINT_URL", "http://no-such-host.invalid:1"), ("AWS_ALLOW_HTTP", "true")],
        )
        .await,
    );
    assert!(matches!(unknown, Error::NoServer { .. }), "{unknown}");
    assert!(unknown.to_string().contains("AWS_ENDPOINT_URL"), "{unknown}");
    let tls = server::variable("AWS_ENDPOINT_URL").replace("http://", "https://");
    let no_tls = said(check(&own.name, &[("AWS_ENDPOINT_URL", tls.as_str())]).await);
    assert!(matches!(no_tls, Error::NoServer { .. }), "{no_tls}");
    // Nobody listens on a port that was just given back: that may pass.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = format!("http://127.0.0.1:{port}");
    let outage = said(check(&own.name, &[("AWS_ENDPOINT_URL", refused.as_str())]).await);
    assert!(matches!(outage, Error::Unavailable { .. }), "{outage}");

    let elsewhere = [("AWS_ENDPOINT_URL", "http://10.1.2.3:9000"), ("AWS_ALLOW_HTTP", "false")];
    let clear = said(check(&own.name, &elsewhere).await);
    assert!(matches!(clear, Error::Settings { .. }), "{clear}");
    assert!(clear.to_string().contains("AWS_ALLOW_HTTP"), "{clear}");
    let no_path = Bucket::s3(&own.name, "a//b", with(&[])).unwrap_err();
    assert!(matches!(no_path, Error::Settings { .. }), "{no_path}");
}

/// Every other request is answered 503 before it is let through: it takes longer, and that is all.
#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let own = Own::shared();
    let all = bytes(5_000_000);
    own.put("a.ach", &all).await;
    let relay = Relay::before(&server::variable("AWS_ENDPOINT_URL"));
    let bucket = own.bucket_at(&relay.url(), "");
    let [object] = bucket.list().await.unwrap().objects.try_into().unwrap();
    relay.refuse_every_other(true);
    assert_eq!(content(&bucket, &object).await.unwrap(), all);
    let refused = relay.refused();
    assert!(refused >= 4, "only {refused} were refused");
    relay.refuse_every_other(false);

    // One that is busy for good is an outage, not a missing object.
    relay.refuse_all(true);
    let error = bucket.read(&object, 0..10).await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    assert!(error.to_string().contains("SlowDown"), "{error}");
    relay.refuse_all(false);
    assert_eq!(bucket.read(&object, 0..10).await.unwrap(), &all[..10]);
}

/// Content goes on where it was after the server was killed and started again; of a block that
/// could not be read nothing is lost.
#[tokio::test]
async fn content_goes_on_once_a_killed_server_is_back() {
    let own = Own::instance("ingest-tests", 17_090);
    let all = bytes(12_000_000);
    own.put("a.ach", &all).await;
    let bucket = own.bucket("");
    let [object] = bucket.list().await.unwrap().objects.try_into().unwrap();
    let mut blocks = Blocks::open(&bucket, &object, LIMITS, None, 0).await.unwrap();
    let mut read = blocks.next().await.unwrap().unwrap().bytes.to_vec();
    own.kill();
    // What was read ahead is there; then the server is away.
    let error = loop {
        match blocks.next().await {
            Ok(block) => read.extend_from_slice(&block.unwrap().bytes),
            Err(ContentError::Bucket(error)) => break error,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(error.is_outage(), "{error}");
    assert!(read.len() < all.len(), "nothing was left to read");
    let error = bucket.list().await.unwrap_err();
    assert!(error.is_outage(), "{error}");
    own.start();
    while let Some(block) = blocks.next().await.unwrap() {
        read.extend_from_slice(&block.bytes);
    }
    assert!(read == all, "{} of {} bytes, or others", read.len(), all.len());
    // A file is resumed in its middle, by its own block size.
    let block_bytes = blocks.block_bytes() as u64;
    let mut resumed = Blocks::open(&bucket, &object, LIMITS, Some(block_bytes), 7).await.unwrap();
    let block = resumed.next().await.unwrap().unwrap();
    let from = 7 * blocks.block_bytes();
    assert_eq!(block.bytes, &all[from..from + blocks.block_bytes()]);
}

/// 300 MB through a few megabytes: what is asked for and not yet used never exceeds the bound.
#[tokio::test]
async fn a_large_object_is_never_in_memory() {
    let own = Own::shared();
    let piece = bytes(1 << 20);
    own.put_large("large.ach", &piece, 300).await;
    let relay = Relay::before(&server::variable("AWS_ENDPOINT_URL"));
    let bucket = own.bucket_at(&relay.url(), "");
    let [object] = bucket.list().await.unwrap().objects.try_into().unwrap();
    assert_eq!(object.size, 300 << 20);
    let mut blocks = Blocks::open(&bucket, &object, LIMITS, None, 0).await.unwrap();
    let (mut used, mut ahead_max) = (0_u64, 0);
    let resident = server::resident_bytes();
    let mut grown_max = 0;
    while let Some(block) = blocks.next().await.unwrap() {
        used += block.bytes.len() as u64;
        ahead_max = ahead_max.max(relay.sent().saturating_sub(used));
        grown_max = grown_max.max(server::resident_bytes().saturating_sub(resident));
    }
    assert_eq!(used, 300 << 20);
    println!(
        "300 MB: at most {} kB read ahead of their use, resident memory grew by {} kB",
        ahead_max >> 10,
        grown_max >> 10
    );
    assert!(ahead_max > 4 << 20, "nothing is read ahead");
    assert!(ahead_max < 16 << 20, "{ahead_max} bytes read ahead");
    assert!(grown_max < 64 << 20, "resident memory grew by {grown_max} bytes");
}

/// Whatever it is stopped at, what is archived is there once, and nothing else is taken.
#[tokio::test]
async fn an_object_is_archived_once_wherever_it_was_stopped() {
    let own = Own::shared();
    let bucket = own.bucket("in");
    let archive = own.bucket("done");
    bucket.check_archive(&archive).unwrap();
    for below in ["in/done", "in"] {
        let refused = bucket.check_archive(&own.bucket(below)).unwrap_err();
        assert!(refused.to_string().contains("is watched"), "{refused}");
    }
    own.put("in/a.ach", b"as reconciled").await;
    let [object] = bucket.list().await.unwrap().objects.try_into().unwrap();

    // Killed between the copy and the deletion: unwinds there, as nothing runs on.
    let mut stopped = tokio::task::JoinSet::new();
    stopped.spawn({
        let (bucket, archive, object) = (bucket.clone(), archive.clone(), object.clone());
        async move {
            let stop = || std::panic::resume_unwind(Box::new("killed"));
            bucket.archive(&object, &archive, "1/a.ach", stop).await
        }
    });
    assert!(stopped.join_next().await.unwrap().unwrap_err().is_panic());
    assert_eq!(keys(&bucket.list().await.unwrap().objects), ["a.ach"]);
    assert_eq!(keys(&archive.list().await.unwrap().objects), ["1/a.ach"]);
    let left = bucket.archive(&object, &archive, "1/a.ach", || ()).await.unwrap();
    assert_eq!(left, Left::Now);
    assert!(bucket.list().await.unwrap().objects.is_empty());
    let [archived] = archive.list().await.unwrap().objects.try_into().unwrap();
    assert_eq!(archive.read(&archived, 0..13).await.unwrap(), "as reconciled");
    let left = bucket.archive(&object, &archive, "1/a.ach", || ()).await.unwrap();
    assert_eq!(left, Left::Before);

    // Another version is neither archived nor deleted.
    own.put("in/a.ach", b"another").await;
    let nobody = || panic!("nothing is to be taken out");
    let left = bucket.archive(&object, &archive, "2/a.ach", nobody).await.unwrap();
    assert_eq!(left, Left::Replaced);
    assert_eq!(bucket.delete(&object, nobody).await.unwrap(), Left::Replaced);
    assert_eq!(keys(&archive.list().await.unwrap().objects), ["1/a.ach"]);
    let [another] = bucket.list().await.unwrap().objects.try_into().unwrap();
    assert_eq!(bucket.delete(&another, || ()).await.unwrap(), Left::Now);
    assert_eq!(bucket.delete(&another, nobody).await.unwrap(), Left::Before);

    // Into another bucket it goes through us, in parts.
    let other = Own::shared();
    let all = bytes(20_000_000);
    own.put("in/large.ach", &all).await;
    let [large] = bucket.list().await.unwrap().objects.try_into().unwrap();
    let to = other.bucket("archive");
    assert_eq!(bucket.archive(&large, &to, "3/large.ach", || ()).await.unwrap(), Left::Now);
    let [archived] = to.list().await.unwrap().objects.try_into().unwrap();
    assert!(content(&to, &archived).await.unwrap() == all, "other bytes");
    assert!(bucket.list().await.unwrap().objects.is_empty());
}

/// A server that is paused answers nothing at all: that ends as well, and is an outage.
#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let bucket = Own::shared().bucket_at(&url, "");
    let checked = tokio::time::timeout(Duration::from_secs(30), bucket.check()).await.unwrap();
    let error = checked.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}
