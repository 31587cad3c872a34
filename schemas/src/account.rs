//! Accounts: a keyed token instead of a number, so that no number is ever in clear.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

use crate::id::{read_hex, write_hex};

/// The canonical text of an account: `card:<digits>`, `ach:<RDFI, 9 digits>:<number>`, …
///
/// It holds the number in clear, so it never prints: Debug and Display are masked, and it is
/// neither serialised nor sent. The scheme is what stands before the first colon.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AccountText(String);

impl AccountText {
    /// No account yet; a buffer to be filled.
    pub fn new() -> Self {
        Self::default()
    }

    /// True where the record concerns no account.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Empties the text and keeps its buffer.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Begins a text: empties it, then writes the scheme and a colon.
    pub fn begin(&mut self, scheme: &str) {
        self.0.clear();
        self.0.push_str(scheme);
        self.0.push(':');
    }

    /// Adds a part of the number.
    pub fn push_str(&mut self, part: &str) {
        self.0.push_str(part);
    }

    /// Writes the text anew, scheme included, into the buffer of the former one.
    pub fn write<T>(&mut self, write: impl FnOnce(&mut String) -> T) -> T {
        self.0.clear();
        write(&mut self.0)
    }

    /// The number in clear. For tokens, labels and tests only.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The label that may travel: `****` and the last four digits, where the last part of the text
    /// has nine digits or more; else none, because four of eight digits would be half of the
    /// number.
    pub fn label(&self) -> Option<String> {
        let number = self.0.rsplit(':').next()?;
        let digits = number.bytes().filter(u8::is_ascii_digit);
        if digits.clone().count() < 9 {
            return None;
        }
        let mut label = String::from("****");
        label.extend(
            digits.skip(number.bytes().filter(u8::is_ascii_digit).count() - 4).map(char::from),
        );
        Some(label)
    }
}

impl fmt::Debug for AccountText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AccountText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split(':').next().unwrap_or_default();
        write!(f, "{scheme}:{}", self.label().as_deref().unwrap_or("****"))
    }
}

/// An account of a customer: its scheme and the keyed token of its number, such as `card:5f0c…`.
///
/// - The scheme is as [`is_scheme`] has it.
/// - The token is the first 128 bits of HMAC-SHA-256 over the canonical text under the ledger's
///   key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    scheme: [u8; 8],
    token: [u8; 16],
}

impl AccountId {
    const TEXT_LENGTH_MAX: usize = 8 + 1 + 32;

    /// The shard that all events of this account go to, in a ledger of `shards` shards.
    ///
    /// The token is a keyed hash already, so its first eight bytes spread evenly.
    ///
    /// # Panics
    ///
    /// Where `shards` is 0, which no ledger has.
    pub fn shard(&self, shards: u32) -> u32 {
        let [a, b, c, d, e, f, g, h, ..] = self.token;
        spread(u64::from_be_bytes([a, b, c, d, e, f, g, h]), shards)
    }

    fn write<'a>(&self, text: &'a mut [u8; Self::TEXT_LENGTH_MAX]) -> &'a str {
        let length = self.scheme.iter().position(|byte| *byte == 0).unwrap_or(8);
        text[..length].copy_from_slice(&self.scheme[..length]);
        text[length] = b':';
        write_hex(&self.token, &mut text[length + 1..length + 33]);
        std::str::from_utf8(&text[..length + 33]).unwrap_or_default()
    }
}

/// The partition among `shards` for a number that is spread evenly.
pub fn spread(number: u64, shards: u32) -> u32 {
    u32::try_from(number % u64::from(shards)).unwrap_or_default()
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.write(&mut [0; Self::TEXT_LENGTH_MAX]))
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that isn't an account id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an account id such as card: and 32 hexadecimal digits, found another text")]
pub struct NotAnAccountId;

impl FromStr for AccountId {
    type Err = NotAnAccountId;

    fn from_str(text: &str) -> Result<Self, NotAnAccountId> {
        let (name, token) = text.split_once(':').ok_or(NotAnAccountId)?;
        let scheme = scheme(name).ok_or(NotAnAccountId)?;
        Ok(Self { scheme, token: read_hex(token.as_bytes()).ok_or(NotAnAccountId)? })
    }
}

/// True for what can be the scheme of an account: one to eight lower-case ASCII letters.
pub fn is_scheme(name: &str) -> bool {
    (1..=8).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn scheme(name: &str) -> Option<[u8; 8]> {
    if !is_scheme(name) {
        return None;
    }
    let mut scheme = [0; 8];
    scheme[..name.len()].copy_from_slice(name.as_bytes());
    Some(scheme)
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.write(&mut [0; Self::TEXT_LENGTH_MAX]))
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = AccountId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an account id")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<AccountId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The ledger's key, which makes tokens of account numbers. It never prints.
#[derive(Clone)]
pub struct AccountKey(Hmac<Sha256>);

impl AccountKey {
    /// The key with these bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        // HMAC pads a key to the 64 bytes of a block of SHA-256 with zeros.
        let mut block = [0; 64];
        block[..32].copy_from_slice(key);
        Self(<Hmac<Sha256> as KeyInit>::new(&block.into()))
    }

    /// The account with this canonical text; none where the text is empty or has no scheme.
    pub fn account(&self, text: &AccountText) -> Option<AccountId> {
        let (name, _) = text.0.split_once(':')?;
        Some(AccountId { scheme: scheme(name)?, token: self.first_bytes(text.0.as_bytes()) })
    }

    /// A value by which two keys are told apart without showing either: 16 hexadecimal digits.
    pub fn check_value(&self) -> String {
        let value: [u8; 8] = self.first_bytes(b"batchless key check value");
        write_hex(&value, &mut [0; 16]).to_owned()
    }

    /// A key for one other purpose, which tells nothing of this one.
    pub fn for_purpose(&self, purpose: &[u8]) -> [u8; 32] {
        // No canonical text begins so: a scheme has no blank.
        self.first_bytes(&[b"batchless key for ", purpose].concat())
    }

    fn first_bytes<const N: usize>(&self, text: &[u8]) -> [u8; N] {
        let mut mac = self.0.clone();
        mac.update(text);
        let digest = mac.finalize().into_bytes();
        let mut first = [0; N];
        first.copy_from_slice(&digest[..N]);
        first
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(scheme: &str, number: &str) -> AccountText {
        let mut text = AccountText::new();
        text.begin(scheme);
        text.push_str(number);
        text
    }

    #[test]
    fn a_token_depends_on_key_scheme_and_number() {
        let key = AccountKey::new(&[7; 32]);
        let account = key.account(&text("card", "5413330089010012")).unwrap();
        assert!(account.to_string().starts_with("card:"));
        assert_eq!(account.to_string().len(), 37);
        assert_eq!(account.to_string().parse(), Ok(account));
        assert_ne!(key.account(&text("ach", "5413330089010012")).unwrap().token, account.token);
        assert_ne!(
            AccountKey::new(&[8; 32]).account(&text("card", "5413330089010012")),
            Some(account)
        );
        assert_ne!(AccountKey::new(&[8; 32]).check_value(), key.check_value());
        assert_eq!(key.account(&AccountText::new()), None);
    }

    #[test]
    fn the_token_is_an_hmac_as_rfc_4231_has_it() {
        // RFC 4231, test case 1: key 20 bytes of 0b, text "Hi There". Padded keys are equal keys.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let found: [u8; 16] = AccountKey::new(&key).first_bytes(b"Hi There");
        assert_eq!(write_hex(&found, &mut [0; 32]), "b0344c61d8db38535ca8afceaf0bf12b");
    }

    #[test]
    fn a_number_never_prints() {
        let pan = text("card", "5413330089010012");
        for shown in [format!("{pan}"), format!("{pan:?}"), pan.label().unwrap()] {
            assert!(!shown.contains("54133300"), "{shown}");
            assert!(shown.ends_with("****0012"), "{shown}");
        }
        assert_eq!(text("ach", "011401533:0072").label(), None);
        assert_eq!(text("ach", "011401533:0072").to_string(), "ach:****");
    }
}
