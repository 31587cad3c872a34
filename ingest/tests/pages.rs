//! The pages against another program's: all 256 bytes of each, as Python decodes them.

use std::process::Command;

use ingest::format::Encoding;

#[test]
fn every_byte_is_the_character_that_python_decodes() {
    #[expect(clippy::disallowed_methods, reason = "./test says where its Python is")]
    let python = std::env::var("BATCHLESS_PYTHON");
    let python = python.unwrap_or_else(|_| {
        panic!("BATCHLESS_PYTHON names no Python that has ebcdic; run ./test, which makes one")
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pages.py");
    let output = Command::new(python).arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    let mut pages = Vec::new();
    for row in output.lines() {
        let mut columns = row.split(' ');
        let page = columns.next().unwrap();
        let encoding: Encoding = page.parse().unwrap();
        let expected: Vec<char> =
            columns.map(|point| char::from_u32(point.parse().unwrap()).unwrap()).collect();
        assert_eq!(expected.len(), 256, "{page}");
        for (byte, expected) in (0..=u8::MAX).zip(expected) {
            assert_eq!(encoding.character(byte), expected, "{page} {byte:02x}");
        }
        pages.push(page);
    }
    // Each that there is, but for ASCII, whose upper half is nothing, and UTF-8, which has more.
    let others = ["ascii", "utf8"];
    let named = Encoding::WORDS.iter().copied().filter(|word| !others.contains(word));
    assert!(pages.iter().copied().eq(named), "{pages:?}");
}
