//! What a reader keeps between chunks, sealed: it holds what a header said, account numbers too,
//! and is kept in a topic that many may read (ADR 0008).

use aes_siv::KeyInit as _;
use aes_siv::siv::Aes128Siv;
use schemas::{AccountKey, FileId};

/// A state that was sealed under another key, for another file, or was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the reader kept was not sealed for this file under this ledger's key")]
pub struct NotOurs;

/// Seals the state of the reader of a file. The same state gives the same bytes, so that a chunk
/// made again has the same checkpoint.
pub(crate) fn seal(key: &AccountKey, file_id: &FileId, state: &[u8]) -> Result<Vec<u8>, NotOurs> {
    cipher(key).encrypt([file_id.to_string().as_bytes()], state).map_err(|_| NotOurs)
}

/// Opens what was sealed.
pub(crate) fn open(key: &AccountKey, file_id: &FileId, sealed: &[u8]) -> Result<Vec<u8>, NotOurs> {
    cipher(key).decrypt([file_id.to_string().as_bytes()], sealed).map_err(|_| NotOurs)
}

fn cipher(key: &AccountKey) -> Aes128Siv {
    Aes128Siv::new(&key.for_purpose(b"batchless reader state").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_file_and_key_open_a_state() {
        let (key, file) = (AccountKey::new(&[7; 32]), FileId([1; 16]));
        let state = br#"{"kept":"4556737586899855"}"#;
        let sealed = seal(&key, &file, state).unwrap();
        assert!(!sealed.windows(8).any(|window| state.windows(8).any(|clear| clear == window)));
        assert_eq!(seal(&key, &file, state).unwrap(), sealed);
        assert_eq!(open(&key, &file, &sealed).unwrap(), state);

        assert_eq!(open(&AccountKey::new(&[8; 32]), &file, &sealed), Err(NotOurs));
        assert_eq!(open(&key, &FileId([2; 16]), &sealed), Err(NotOurs));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&key, &file, &changed), Err(NotOurs), "byte {at}");
        }
    }
}
