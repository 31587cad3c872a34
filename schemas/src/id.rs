//! Identities that anyone can recompute from the file's bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a file's content, taken inside its container: `x.ach.gz` has the digest of
/// `x.ach`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// The identity of a file: one occurrence of one content in one ledger.
///
/// The first 128 bits of SHA-256(ledger name, 0x00, occurrence as u32 big-endian, content digest).
/// The feed isn't part of it, so renaming a feed changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub [u8; 16]);

impl FileId {
    /// The identity of the `occurrence`-th acceptance (from 0) of a content in a ledger.
    pub fn new(ledger: &str, occurrence: u32, content: &Digest) -> Self {
        let digest = Sha256::new()
            .chain_update(ledger.as_bytes())
            .chain_update([0])
            .chain_update(occurrence.to_be_bytes())
            .chain_update(content.0)
            .finalize();
        Self(half(&digest.into()))
    }

    /// The identity of the `attempt`-th try (from 1) of a rejected record, which is a file of its
    /// own: the first 128 bits of SHA-256("resubmit", 0x00, file id, index as i64 big-endian,
    /// attempt as u32 big-endian).
    pub fn resubmitted(file: &Self, index: i64, attempt: u32) -> Self {
        let digest = Sha256::new()
            .chain_update(b"resubmit\0")
            .chain_update(file.0)
            .chain_update(index.to_be_bytes())
            .chain_update(attempt.to_be_bytes())
            .finalize();
        Self(half(&digest.into()))
    }

    /// A stable number to spread files by: the first eight bytes, big-endian.
    pub fn spread(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// The identity of a record: its file, and its index there from 0.
///
/// Two identical lines differ by index; content is never used to dedupe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The file that the record is in.
    pub file: FileId,
    /// The record's index in its file, from 0.
    pub index: i64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.file, self.index)
    }
}

/// The identity of a command: 128 bits, drawn or derived by whoever gives it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub [u8; 16]);

impl CommandId {
    /// The identity of the command that this SHA-256 tells from all others: its first 128 bits.
    pub fn derived(digest: &[u8; 32]) -> Self {
        Self(half(digest))
    }
}

/// The first 128 bits.
fn half(digest: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// A text that isn't the hexadecimal form of an identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} hexadecimal digits, found `{found}`")]
pub struct NotHexadecimal {
    digits: usize,
    found: String,
}

macro_rules! hexadecimal {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $bytes * 2];
                f.pad(write_hex(&self.0, &mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NotHexadecimal;

            fn from_str(text: &str) -> Result<Self, NotHexadecimal> {
                read_hex(text.as_bytes())
                    .map(Self)
                    .ok_or_else(|| NotHexadecimal { digits: $bytes * 2, found: text.to_owned() })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; $bytes * 2];
                serializer.serialize_str(write_hex(&self.0, &mut text))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Hexadecimal;
                impl serde::de::Visitor<'_> for Hexadecimal {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} hexadecimal digits", $bytes * 2)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Hexadecimal)
            }
        }
    };
}

hexadecimal!(Digest, 32);
hexadecimal!(FileId, 16);
hexadecimal!(CommandId, 16);

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` as lower-case hexadecimal into `text`, which holds two digits a byte.
pub(crate) fn write_hex<'a>(bytes: &[u8], text: &'a mut [u8]) -> &'a str {
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX_DIGITS[usize::from(byte >> 4)];
        pair[1] = HEX_DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(text).unwrap_or_default()
}

/// Reads exactly `N` bytes of lower-case hexadecimal; none where the text is anything else.
pub(crate) fn read_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N.checked_mul(2)? {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_id_is_what_the_design_says() {
        // Worked out with: printf 'main\0\0\0\0\0' > m
        // printf '' | sha256sum | xxd -r -p >> m; sha256sum m
        let empty = Digest(Sha256::digest(b"").into());
        let mut text = b"main\0\0\0\0\0".to_vec();
        text.extend_from_slice(&empty.0);
        let expected = Sha256::digest(&text);
        assert_eq!(FileId::new("main", 0, &empty).0, expected[..16]);
        assert_ne!(FileId::new("main", 1, &empty), FileId::new("main", 0, &empty));
        assert_ne!(FileId::new("other", 0, &empty), FileId::new("main", 0, &empty));
    }

    #[test]
    fn each_try_of_a_record_has_an_id_of_its_own() {
        let file = FileId([1; 16]);
        let mut text = b"resubmit\0".to_vec();
        text.extend_from_slice(&[1; 16]);
        text.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2]);
        assert_eq!(FileId::resubmitted(&file, 5, 2).0, Sha256::digest(&text)[..16]);
        assert_ne!(FileId::resubmitted(&file, 5, 1), FileId::resubmitted(&file, 5, 2));
    }

    #[test]
    fn hexadecimal_reads_what_it_writes_and_nothing_else() {
        let id = FileId([0, 1, 2, 253, 254, 255, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]);
        assert_eq!(id.to_string(), "000102fdfeff10111213141516171819");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in
            ["", "00", "000102FDFEFF10111213141516171819", "zz0102fdfeff10111213141516171819"]
        {
            assert!(wrong.parse::<FileId>().is_err(), "{wrong}");
        }
    }
}
