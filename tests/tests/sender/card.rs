//! IPM files.

use super::Dice;

/// The code page of a file's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// ASCII.
    Ascii,
    /// What all pages of EBCDIC have in common.
    Ebcdic,
}

/// One message between header and trailer.
#[derive(Clone, Debug)]
pub(crate) struct Card {
    /// Message type and function code, such as `1240` and `200`.
    pub(crate) kind: (&'static str, &'static str),
    /// The processing code, six digits.
    pub(crate) processing: &'static str,
    /// The card's number.
    pub(crate) pan: String,
    /// The transaction's amount in minor units, as text so that it can be spoilt, and its currency.
    pub(crate) amount: (String, &'static str),
    /// What the cardholder is billed, where that is said.
    pub(crate) billed: Option<(u64, &'static str)>,
    /// Whether it takes an earlier one back.
    pub(crate) reversal: bool,
}

impl Card {
    /// A purchase.
    pub(crate) fn purchase(pan: &str, minor: u64, currency: &'static str) -> Self {
        Self {
            kind: ("1240", "200"),
            processing: "000000",
            pan: pan.to_owned(),
            amount: (format!("{minor:012}"), currency),
            billed: None,
            reversal: false,
        }
    }
}

/// A file of one header, messages and one trailer.
#[derive(Clone, Debug)]
pub(crate) struct Clearing {
    /// Makes the file's own identifier.
    pub(crate) identity: u64,
    /// The messages between.
    pub(crate) cards: Vec<Card>,
    /// The page.
    pub(crate) page: Page,
    /// Whether it is cut into blocks of 1014 bytes.
    pub(crate) blocked: bool,
}

impl Clearing {
    /// Drawn messages of several kinds on some hundred cards, in ASCII and blocks.
    pub(crate) fn drawn(seed: u64, messages: u64) -> Self {
        let mut dice = Dice::new(seed);
        let cards = (0..messages).map(|_| {
            let pan = format!("5413330{:09}", 89_010_000 + dice.below(103) * 31);
            let card = Card::purchase(&pan, 1 + dice.below(500_000), "986");
            match dice.below(10) {
                0 => Card { processing: "200000", ..card },
                1 => Card { reversal: true, ..card },
                2 => Card { kind: ("1442", "450"), ..card },
                3 => Card { kind: ("1240", "205"), processing: "010000", ..card },
                4 => Card { billed: Some((1 + dice.below(90_000), "840")), ..card },
                5 => Card { processing: "280000", reversal: true, ..card },
                6 => Card { kind: ("1740", "700"), processing: "190000", ..card },
                _ => card,
            }
        });
        Self { identity: seed, cards: cards.collect(), page: Page::Ascii, blocked: true }
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let identifier = format!("002260722{:011}{:05}", 12_940, self.identity % 100_000);
        let mut stream = Vec::new();
        let mut message = |kind: (&str, &str), elements: Vec<(usize, String)>| {
            let mut bytes = text(kind.0, self.page);
            bytes.extend(bitmap(&elements));
            for (_, element) in &elements {
                bytes.extend(text(element, self.page));
            }
            stream.extend((bytes.len() as u32).to_be_bytes());
            stream.extend(bytes);
        };
        let private = |subelements: &[(&str, &str)]| {
            let inner: String = subelements
                .iter()
                .map(|(tag, value)| format!("{tag}{:03}{value}", value.len()))
                .collect();
            format!("{:03}{inner}", inner.len())
        };
        message(
            ("1644", "697"),
            vec![
                (24, "697".to_owned()),
                (48, private(&[("0105", &identifier), ("0122", "T")])),
                (71, format!("{:08}", 1)),
            ],
        );
        let mut sum = 0;
        for (number, card) in (2..).zip(&self.cards) {
            sum += card.amount.0.parse::<u64>().unwrap_or_default();
            message(card.kind, card.elements(number, &private));
        }
        let count = format!("{:08}", self.cards.len() + 2);
        message(
            ("1644", "695"),
            vec![
                (24, "695".to_owned()),
                (
                    48,
                    private(&[
                        ("0105", &identifier),
                        ("0301", &format!("{sum:016}")),
                        ("0306", &count),
                    ]),
                ),
                (71, count.clone()),
            ],
        );
        stream.extend([0; 4]);
        if self.blocked { in_blocks(&stream) } else { stream }
    }
}

impl Card {
    fn elements(
        &self,
        number: u64,
        private: &impl Fn(&[(&str, &str)]) -> String,
    ) -> Vec<(usize, String)> {
        let mut elements = vec![
            (2, format!("{:02}{}", self.pan.len(), self.pan)),
            (3, self.processing.to_owned()),
            (4, self.amount.0.clone()),
        ];
        elements.extend(self.billed.map(|(minor, _)| (6, format!("{minor:012}"))));
        elements.extend([(12, "260722101112".to_owned()), (24, self.kind.1.to_owned())]);
        elements.extend([(26, "5411".to_owned()), (38, "A1B2C3".to_owned())]);
        let reversal: &[(&str, &str)] =
            if self.reversal { &[("0023", "POI"), ("0025", "R")] } else { &[("0023", "POI")] };
        elements.extend([(48, private(reversal)), (49, self.amount.1.to_owned())]);
        elements.extend(self.billed.map(|(_, currency)| (51, currency.to_owned())));
        elements.extend([(71, format!("{number:08}")), (94, "1100000012940".to_owned())]);
        elements
    }
}

fn bitmap(elements: &[(usize, String)]) -> [u8; 16] {
    // The first bit says that there is a second half.
    let mut bits = 1_u128 << 127;
    for (element, _) in elements {
        bits |= 1 << (128 - element);
    }
    bits.to_be_bytes()
}

fn in_blocks(stream: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::new();
    for piece in stream.chunks(1012) {
        blocks.extend_from_slice(piece);
        blocks.resize(blocks.len() + 1014 - piece.len(), 0x40);
    }
    blocks
}

fn text(text: &str, page: Page) -> Vec<u8> {
    let ebcdic = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0' + 0xf0,
        b'A'..=b'I' => byte - b'A' + 0xc1,
        b'J'..=b'R' => byte - b'J' + 0xd1,
        b'S'..=b'Z' => byte - b'S' + 0xe2,
        b' ' => 0x40,
        other => unreachable!("{other} is not written in EBCDIC here"),
    };
    match page {
        Page::Ascii => text.as_bytes().to_vec(),
        Page::Ebcdic => text.bytes().map(ebcdic).collect(),
    }
}
