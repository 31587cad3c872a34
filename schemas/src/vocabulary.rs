//! Words that may grow: a string on the wire, a constant in the code.
//!
//! An Avro enum can't gain a symbol without breaking readers of the older schema, so what may grow
//! (kinds, states, reasons) is a string in every schema.
//! In Rust such a word is a newtype with one constant a known word: known words cost no allocation,
//! and a word from a newer writer is kept as it is instead of failing.

/// Declares a vocabulary: a newtype over its word, with a constant for each word known today.
#[macro_export]
macro_rules! vocabulary {
    (
        $(#[$outer:meta])*
        $name:ident { $( $(#[$inner:meta])* $constant:ident = $word:literal, )+ }
    ) => {
        $(#[$outer])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::borrow::Cow<'static, str>);

        impl $name {
            $( $(#[$inner])* pub const $constant: Self = Self(std::borrow::Cow::Borrowed($word)); )+

            /// Every word known today, in the order of declaration.
            pub const KNOWN: &'static [&'static str] = &[$($word),+];

            /// The word itself, as it stands on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match Self::KNOWN.iter().find(|known| **known == word) {
                    Some(known) => Self(std::borrow::Cow::Borrowed(known)),
                    None => Self(std::borrow::Cow::Owned(word.to_owned())),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl serde::de::Visitor<'_> for Word {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a word")
                    }

                    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<$name, E> {
                        Ok($name::from(word))
                    }
                }
                deserializer.deserialize_str(Word)
            }
        }
    };
}
