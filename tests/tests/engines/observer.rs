//! The subscriber that is not ours, beside the product while it works.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::patiently;
use crate::oracle::audit::Message;
use crate::oracle::avro;

/// All topics, as they are named without a prefix.
const TOPICS: [&str; 6] = ["arrivals", "commands", "files", "records", "rejects", "postings"];

/// A reader of committed messages, from the first of each partition on.
#[derive(Debug)]
pub(crate) struct Observer {
    child: Child,
    printed: PathBuf,
    said: PathBuf,
}

/// What it read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// The messages of each topic, by partition, in order, under the ids of the built-in schemas.
    pub(crate) topics: BTreeMap<String, Vec<Vec<Message>>>,
    /// Where and when each of them was written: its offset, and milliseconds on the wall clock.
    pub(crate) places: BTreeMap<String, Vec<Vec<(i64, i64)>>>,
    /// How many messages.
    pub(crate) messages: u64,
    /// What is not as every subscriber relies on it: a sentence each.
    pub(crate) off: Vec<String>,
}

impl Observer {
    /// Starts it, to print into this folder.
    pub(crate) fn start(folder: &Path, bootstrap: &str, prefix: &str, registry: &str) -> Self {
        let python = std::env::var("BATCHLESS_PYTHON").unwrap_or_else(|_| {
            panic!("BATCHLESS_PYTHON is not set: a Python with fastavro and confluent-kafka")
        });
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/engines/observer.py");
        let (printed, said) = (folder.join("observed.ndjson"), folder.join("observer.txt"));
        let child = Command::new(python)
            .arg(script)
            .args([bootstrap, prefix, registry])
            .args(TOPICS)
            .stdin(Stdio::piped())
            .stdout(File::create(&printed).unwrap())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .unwrap();
        Self { child, printed, said }
    }

    /// Lets it read to where the topics end now, and gives what it has read.
    pub(crate) fn end(mut self) -> Observed {
        drop(self.child.stdin.take());
        let mut status = None;
        let child = &mut self.child;
        patiently(
            "the observer has read all",
            || {
                status = child.try_wait().unwrap();
                status.is_some()
            },
            || fs::read_to_string(&self.said).unwrap(),
        );
        let said = fs::read_to_string(&self.said).unwrap();
        assert!(status.unwrap().success(), "the observer: {said}");
        read(&self.printed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // It has mostly ended already, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(printed: &Path) -> Observed {
    let mut observed = Observed::default();
    let mut last: BTreeMap<(String, usize), i64> = BTreeMap::new();
    for line in BufReader::new(File::open(printed).unwrap()).lines() {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let topic = text("topic");
        let partition = usize::try_from(row["partition"].as_u64().unwrap()).unwrap();
        let offset = row["offset"].as_i64().unwrap();
        let before = last.insert((topic.clone(), partition), offset);
        if before.is_some_and(|before| before >= offset) {
            observed.off.push(format!("{topic} {partition}: offset {offset} after {before:?}"));
        }
        if !row["said"].is_null() && row["said"] != row["id"] {
            let (id, said) = (text("id"), text("said"));
            observed.off.push(format!("{topic} {partition} {offset}: {id} says that it is {said}"));
        }
        let value = row["value"].as_str().map(|body| framed(&text("type"), body));
        let (id, key) = (text("id").into_bytes(), bytes(&text("key")));
        let place = (offset, row["time"].as_i64().unwrap());
        at(&mut observed.places, &topic, partition).push(place);
        at(&mut observed.topics, &topic, partition).push(Message { id, key, value });
        observed.messages += 1;
    }
    observed
}

impl Observed {
    /// How many different messages of a topic there are, by their ids; those left out in whose id
    /// this stands.
    pub(crate) fn ids(&self, topic: &str, but: &str) -> u64 {
        let messages = self.topics.get(topic).into_iter().flatten().flatten();
        let ids = messages.map(|message| String::from_utf8_lossy(&message.id));
        let ids: BTreeSet<_> = ids.filter(|id| !id.contains(but)).collect();
        ids.len() as u64
    }
}

/// A partition of a topic, as far as anything is known of it.
fn at<'a, T: Clone>(
    topics: &'a mut BTreeMap<String, Vec<Vec<T>>>,
    topic: &str,
    partition: usize,
) -> &'a mut Vec<T> {
    if !topics.contains_key(topic) {
        topics.insert(topic.to_owned(), Vec::new());
    }
    let partitions = topics.get_mut(topic).unwrap();
    if partitions.len() <= partition {
        partitions.resize(partition + 1, Vec::new());
    }
    &mut partitions[partition]
}

/// A value under the id that its schema has where no registry is: the oracle knows these.
fn framed(name: &str, body: &str) -> Vec<u8> {
    let mut value = vec![0];
    value.extend(avro::id(name).to_be_bytes());
    value.extend(bytes(body));
    value
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn bytes(digits: &str) -> Vec<u8> {
    let digit = |it: u8| char::from(it).to_digit(16).unwrap() as u8;
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) * 16 + digit(pair[1])).collect()
}
