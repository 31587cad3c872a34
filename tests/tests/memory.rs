//! Memory does not grow with the file.

use std::fs;

use crate::sender::Sent;
use crate::site::Site;

/// What a file of a million records may take more than one of a thousand.
const MORE_KIB_MAX: u64 = 100 * 1024;

/// The most memory that `run --once` had over such a file, in KiB.
fn peak_kib(records: u64) -> u64 {
    let files = [Sent::nacha("payments.ach", 81, records)];
    let site = Site::new();
    // The same accounts and events as elsewhere, and a gigabyte of them.
    site.is_not_scanned();
    site.drop_in(&files[0]);
    let mut working = site.start_with(&["run", "--config", "batchless.toml", "--once"]);
    let status = format!("/proc/{}/status", working.id());
    let mut peak = 0;
    // The kernel keeps the highest mark: the last look before the end is what counts.
    while working.ended().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = mark.and_then(|mark| mark.trim().strip_suffix("kB")?.trim().parse().ok());
        peak = peak.max(kib.unwrap_or_default());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(working.wait().success(), "{}", working.said());
    let row = site.file("payments.ach").unwrap();
    assert_eq!((&row["state"], &row["applied"]), (&"reconciled".into(), &records.into()), "{row}");
    if records <= 1_000_000 {
        assert_eq!(site.differences(&files), [] as [String; 0]);
    }
    peak
}

#[test]
fn a_million_records_take_no_more_memory_than_a_thousand() {
    if !cfg!(target_os = "linux") {
        println!("skipped: memory is read from /proc");
        return;
    }
    let (small, large) = (peak_kib(1_000), peak_kib(1_000_000));
    println!("peak memory: {small} KiB for 1,000 records, {large} KiB for 1,000,000");
    assert!(small > 0, "the peak was seen");
    assert!(large <= small + MORE_KIB_MAX, "{large} KiB is over {small} + {MORE_KIB_MAX} KiB");
}
