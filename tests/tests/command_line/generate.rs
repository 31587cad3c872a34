//! Files of every format, written and read by commands.

use std::fs;

use crate::batchless;

/// The same plan writes the same bytes, and they read as what was planned.
#[test]
fn generate_writes_what_parse_reads() {
    let folder = tempfile::tempdir().unwrap();
    // The last four begin with nothing by which they are known for certain.
    for (format, more, said) in [
        ("nacha", &[][..], &[][..]),
        ("ipm", &["--encoding", "cp500"], &[]),
        ("cnab240", &[], &[]),
        ("cnab400", &[], &[]),
        ("adyen_settlement", &[], &[]),
        ("base2", &[], &["--format", "base2"]),
        ("base2_itf", &["--encoding", "cp500"], &["--format", "base2_itf"]),
        ("paypal_stl", &[], &["--format", "paypal_stl"]),
        ("statement_csv", &[], &["--format", "statement_csv"]),
    ] {
        let plan = [&["generate", "--format", format, "--records", "50"], more].concat();
        let to_file = |name: &str| {
            let run = batchless::run(folder.path(), &[&plan[..], &[name]].concat());
            assert_eq!(run.code, Some(0), "{run:?}");
            fs::read(folder.path().join(name)).unwrap()
        };
        assert!(to_file("a") == to_file("b"), "{format}");
        let run = batchless::run(folder.path(), &[&["parse", "a"], said].concat());
        assert_eq!((run.code, run.objects().len()), (Some(0), 50), "{format}: {}", run.stderr);
    }
}
