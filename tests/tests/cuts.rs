//! A file that was cut anywhere before its trailer's last significant byte publishes nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::sender::{Clearing, Dice, Page, Sent};
use crate::site::Site;

/// How many cuts of each file.
const CUTS: usize = 500;

/// Cut copies of a file, of as many lengths as wanted from 0 to below `end`; among them the
/// shortest and the longest.
fn cuts(sent: &Sent, end: usize, seed: u64) -> Vec<Sent> {
    let mut dice = Dice::new(seed);
    let mut lengths = BTreeSet::from([0, 1, end - 1]);
    while lengths.len() < CUTS {
        lengths.insert(usize::try_from(dice.below(end as u64)).unwrap());
    }
    lengths.into_iter().map(|length| sent.cut(&format!("cut-{length}"), length)).collect()
}

/// Where the last significant byte of the file control is: the last digit of its credits.
fn end_of_payments(bytes: &[u8]) -> usize {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let is_control = |line: &&[u8]| line.starts_with(b"9") && !line.starts_with(b"99");
    let at = lines.iter().position(is_control).unwrap();
    lines[..at].iter().map(|line| line.len()).sum::<usize>() + 55
}

/// Where the last byte of the trailer is: a digit; after it are the end mark and filler.
fn end_of_messages(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| !matches!(byte, 0x00 | 0x40)).unwrap() + 1
}

#[test]
fn a_cut_file_publishes_nothing() {
    let payments = Sent::nacha("", 71, 60);
    let blocked = Sent::ipm("", 71, 60);
    let plain = Clearing { blocked: false, page: Page::Ebcdic, ..Clearing::drawn(72, 60) }.bytes();
    let plain = Sent { feed: "cards-ebcdic", bytes: plain, ..blocked.clone() };
    let all = [
        cuts(&payments, end_of_payments(&payments.bytes), 1),
        cuts(&blocked, end_of_messages(&blocked.bytes), 2),
        cuts(&plain, end_of_messages(&plain.bytes), 3),
    ]
    .concat();
    let site = Site::with(&all);
    let run = site.once();
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let not_refused: Vec<Value> =
        site.files().into_iter().filter(|row| row["state"] != "refused").collect();
    assert!(not_refused.is_empty(), "{not_refused:#?}");
    assert_eq!(site.files().len(), all.len());
    assert_eq!(site.list("rejects"), [] as [Value; 0]);
    assert_eq!(site.list("accounts"), [] as [Value; 0]);

    // The control: the whole files, dropped beside their pieces, are applied.
    let whole = [
        payments.renamed("whole.ach"),
        blocked.renamed("whole.ipm"),
        plain.renamed("whole-ebcdic.ipm"),
    ];
    for sent in &whole {
        site.drop_in(sent);
    }
    assert_eq!(site.once().code, Some(0));
    site.assert_whole(&whole);
}
