//! What a reader keeps of headers is in the rows of files, and says nothing to who reads them.

use std::sync::Arc;

use ingest::feed::Config;
use ingest::format::{Draft, Encoding, Layout, Reader, Settings, Step};
use schemas::Topic;
use schemas::codec::Codec;
use schemas::file::File;

use super::house::{Fault, House};

const ACCOUNT: &str = "7001000009876543";

/// Twenty chunks of ten: at most four are published together, so several rows hold a state.
const RECORDS: usize = 200;

/// Movements of one account, which stands in the header alone.
const STATEMENT: &str = r#"
layout = "ledgerly"
title = "Movements of one account"
revision = 1
network = "ledgerly"

[file]
cut = "lines"
length = 30
encoding = "ascii"
identifier = ["header.number"]

[[record]]
name = "header"
role = "file_header"
when = { "1" = "H" }
[record.fields]
number = { at = "2-9", type = "number" }
account = { at = "10-25", type = "digits" }

[[record]]
name = "movement"
role = "detail"
when = { "1" = "D" }
[record.fields]
amount = { at = "2-13", type = "number", scale = 2 }

[[record]]
name = "trailer"
role = "file_trailer"
when = { "1" = "T" }
[record.fields]
movements = { at = "2-9", type = "number" }

[[event]]
of = "movement"
kind = "payment"
code = "X"
account = "card:{header.account}"
direction = "credit"
amount = "amount"
currency = "EUR"

[[total]]
name = "movements"
stated = "trailer.movements"
scope = "file"
counts = "events"
"#;

fn statement(records: usize) -> Vec<u8> {
    let mut lines = vec![format!("{:30}", format!("H{:08}{ACCOUNT}", 7))];
    lines.extend((1..=records).map(|amount| format!("{:30}", format!("D{amount:012}"))));
    lines.push(format!("{:30}", format!("T{records:08}")));
    lines.join("\n").into_bytes()
}

/// True where the digits of the account stand in a row, nine of them.
fn has_account(bytes: &[u8]) -> bool {
    let digits = ACCOUNT.as_bytes();
    digits.windows(9).any(|part| bytes.windows(9).any(|found| found == part))
}

#[tokio::test(start_paused = true)]
async fn an_account_of_a_header_stands_in_no_topic() {
    let layout = Arc::new(Layout::parse(STATEMENT).unwrap());
    let mut house = House::new(Fault::Retry, 0);
    let mut config = Config::clone(&house.config);
    let settings = Settings {
        format: "ledgerly".to_owned(),
        layout: Some(layout),
        encoding: Encoding::Ascii,
        ..config.feeds[0].settings.clone()
    };
    config.feeds[0].settings = settings.clone();
    config.chunk_records = 10;
    house.config = config.into();
    let content = statement(RECORDS);
    house.put("july.txt", content.clone()).await;
    house.start();
    house.settled().await;
    house.stop().await;

    let (mut states, mut messages) = (0, 0);
    for topic in Topic::ALL {
        for partition in 0..topic::Log::partitions(&house.log, topic) {
            topic::read_all(&house.log, topic, partition, 0, |received| {
                let value = received.value.as_deref().unwrap_or_default();
                assert!(!has_account(value), "a message of {topic}");
                messages += 1;
                if let Ok(row) = Codec::built_in().decode::<File>(value) {
                    states += usize::from(!row.checkpoint.reader.is_empty());
                }
                Ok::<(), topic::Error>(())
            })
            .await
            .unwrap();
        }
    }
    assert!(states >= 3 && messages > RECORDS, "{states} states in {messages} messages");

    // The control: before it is sealed, the state has it.
    let mut reader = Reader::new(&settings).unwrap();
    let mut draft = Draft::new("test", "ledgerly");
    let (mut at, mut records) = (0, 0);
    while records < 2 {
        let (used, step) = reader.step(&content[at..], true, &mut draft).unwrap();
        at += used;
        records += usize::from(matches!(step, Step::Record));
    }
    assert!(has_account(&reader.state().unwrap()));
}
