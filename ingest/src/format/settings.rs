//! What of a feed changes its events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::layout::{self, Layout};

/// What of a feed changes its events: a plain value, passed down, without defaults.
///
/// A verdict is bound to [`Settings::digest`]: a file that was verified under other settings is not
/// published under these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The format's name: one of [`super::names`], or that of its own layout.
    pub format: String,
    /// A layout of its own; none where the format is one of [`super::names`].
    pub layout: Option<Arc<Layout>>,
    /// The page that text is written in.
    pub encoding: Encoding,
    /// How records are laid into the content; formats of lines ignore it.
    pub framing: Framing,
    /// On which side of the clearing the bank stands.
    pub side: Side,
    /// Which of a record's amounts is posted; formats with one amount ignore it.
    pub posted: Posted,
    /// The longest record in bytes, 24 to 4,194,304; a longer one means that framing is lost.
    pub record_bytes_max: usize,
}

impl Settings {
    /// The layout that is read by: its own, or the built-in one of the format's name. None where
    /// the format has a reader of its own in code.
    pub fn layout(&self) -> Option<Arc<Layout>> {
        self.layout.clone().or_else(|| layout::built_in(&self.format))
    }

    /// Why no content of the format can be in the page; none where it can.
    pub fn misfit(&self) -> Option<String> {
        self.encoding.misfit(&self.format, self.layout().as_deref())
    }

    /// A digest over all settings, hexadecimal, the same whatever their order in the code.
    ///
    /// Each is hashed by name and value, in the order of their names. Of a layout it is the whole
    /// text, and the revision of what reads by it: a layout that was changed in any way is another.
    pub fn digest(&self) -> String {
        // Taken apart here, so that a new setting can't be forgotten.
        let Self { format, layout: _, encoding, framing, side, posted, record_bytes_max } = self;
        let mut parts = vec![
            ("format", format.clone()),
            ("encoding", encoding.to_string()),
            ("framing", framing.to_string()),
            ("side", side.to_string()),
            ("posted", posted.to_string()),
            ("record_bytes_max", record_bytes_max.to_string()),
        ];
        if let Some(layout) = self.layout() {
            parts.push(("layout", layout.digest().to_owned()));
            parts.push(("layout_reader", layout::REVISION.to_string()));
        }
        parts.sort_unstable();
        let mut hash = Sha256::new();
        for (name, value) in parts {
            hash.update(name);
            hash.update([0x1f]);
            hash.update(value);
            hash.update([0x1e]);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A word that isn't one of those that a setting takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, found {found:?}")]
pub struct UnknownWord {
    /// The words that are allowed.
    pub expected: String,
    /// The word that was given.
    pub found: String,
}

/// Declares a setting that is one of a few words.
macro_rules! words {
    (
        $(#[$outer:meta])*
        $name:ident { $( $(#[$inner:meta])* $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $( $(#[$inner])* $variant, )+ }

        impl $name {
            /// The words that it is written with.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $( $word => Ok(Self::$variant), )+
                    _ => Err(UnknownWord {
                        expected: Self::WORDS.join(", "),
                        found: word.to_owned(),
                    }),
                }
            }
        }
    };
}

words! {
    /// The page that text is written in.
    ///
    /// The EBCDIC pages have digits and capital letters in common, so a wrong one of them is silent
    /// but in names: that is why a feed names its page, and none is guessed for it.
    Encoding {
        /// ASCII: a byte above 0x7e is no character.
        Ascii = "ascii",
        /// ISO 8859-1.
        Latin1 = "latin1",
        /// UTF-8, of rows alone: a character has one to four bytes, so columns can't be counted.
        Utf8 = "utf8",
        /// EBCDIC of the United States and Brazil.
        Cp037 = "cp037",
        /// International EBCDIC.
        Cp500 = "cp500",
        /// The first of them with the euro sign in the place of the currency sign.
        Cp1140 = "cp1140",
        /// EBCDIC of open systems, as z/OS UNIX has it.
        Cp1047 = "cp1047",
    }
}

impl Encoding {
    /// Why no content of a format, which has this layout, can be in this page; none where it can.
    pub(crate) fn misfit(self, format: &str, layout: Option<&Layout>) -> Option<String> {
        let is_one = self == Self::Utf8 && !layout.is_some_and(Layout::has_rows);
        is_one.then(|| {
            format!(
                "encoding: {self} is a page for rows of separated cells, and the columns of \
                 {format} are counted in bytes; name the page that the sender writes, such as \
                 latin1"
            )
        })
    }
}

words! {
    /// How IPM messages are laid into the content.
    Framing {
        /// Told from the first bytes: blocked or plain VBS, else RDW.
        Auto = "auto",
        /// A length of four bytes before each message.
        Vbs = "vbs",
        /// VBS, cut into blocks of 1012 bytes and two of filler.
        Blocked = "blocked",
        /// A record descriptor word before each message: two bytes of length, itself included, and
        /// two zero bytes.
        Rdw = "rdw",
    }
}

words! {
    /// On which side of the clearing the bank stands: it decides what a record does to its
    /// customer's account.
    Side {
        /// The bank of the cardholder.
        Issuer = "issuer",
        /// The bank of the merchant: every direction is the other one.
        Acquirer = "acquirer",
    }
}

words! {
    /// Which of a record's amounts is posted.
    Posted {
        /// What the cardholder is billed, where the record has it; else the transaction's amount.
        Billing = "billing",
        /// The transaction's amount.
        Transaction = "transaction",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_changes_the_digest() {
        let base = Settings {
            format: String::from("ipm"),
            layout: None,
            encoding: Encoding::Cp500,
            framing: Framing::Auto,
            side: Side::Issuer,
            posted: Posted::Billing,
            record_bytes_max: 6_000,
        };
        let digests: std::collections::BTreeSet<String> = [
            base.clone(),
            Settings { format: String::from("nacha"), ..base.clone() },
            Settings { encoding: Encoding::Cp037, ..base.clone() },
            Settings { framing: Framing::Vbs, ..base.clone() },
            Settings { side: Side::Acquirer, ..base.clone() },
            Settings { posted: Posted::Transaction, ..base.clone() },
            Settings { record_bytes_max: 6_001, ..base.clone() },
        ]
        .iter()
        .map(Settings::digest)
        .collect();
        assert_eq!(digests.len(), 7);
        // Pinned: files in flight are bound to it.
        let expected = "536d09b7aa28c6d26fdc47f9bd4a9829ec0fa7b776efa7f062c34e727efaaecd";
        assert_eq!(base.digest(), expected);
    }

    #[test]
    fn an_unknown_word_is_told_the_known_ones() {
        let error = "ebcdic".parse::<Encoding>().unwrap_err();
        let expected =
            "expected one of ascii, latin1, utf8, cp037, cp500, cp1140, cp1047, found \"ebcdic\"";
        assert_eq!(error.to_string(), expected);
        for word in Framing::WORDS {
            assert_eq!(word.parse::<Framing>().unwrap().to_string(), *word);
        }
    }
}
