//! IPM: one line a case.

use ingest::format::{Encoding, Framing, Posted, Settings, Side};

use crate::whole::{read, settings, text};

/// A message: MTI and its elements in ascending order, those of variable length with their lengths.
fn message(mti: &str, elements: &[(u32, &str)]) -> Vec<u8> {
    let mut bits: u128 = 1 << 127;
    let mut body = String::new();
    for (bit, text) in elements {
        bits |= 1 << (128 - bit);
        body.push_str(text);
    }
    [mti.as_bytes(), &bits.to_be_bytes(), body.as_bytes()].concat()
}

/// A plain VBS file of these messages.
fn vbs(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend(u32::try_from(message.len()).unwrap_or_default().to_be_bytes());
        bytes.extend(message);
    }
    bytes.extend([0; 4]);
    bytes
}

const FILE_ID: &str = "01050250022607220000001294000001";
const NEXT_ID: &str = "01050250022607220000001294000002";

fn header() -> Vec<u8> {
    header_of(FILE_ID)
}

fn header_of(id: &str) -> Vec<u8> {
    message("1644", &[(24, "697"), (48, &format!("032{id}")), (71, "00000001")])
}

fn trailer(sum: u64, count: usize) -> Vec<u8> {
    trailer_of(FILE_ID, sum, count)
}

fn trailer_of(id: &str, sum: u64, count: usize) -> Vec<u8> {
    let totals = format!("{id}0301016{sum:016}0306008{count:08}");
    let totals = format!("{:03}{totals}", totals.len());
    message("1644", &[(24, "695"), (48, &totals), (71, &format!("{count:08}"))])
}

const PAN: (u32, &str) = (2, "165413330089010012");

/// A purchase with its own elements in place of those of the same bits.
fn purchase(own: &[(u32, &'static str)]) -> Vec<u8> {
    of("1240", own)
}

fn of(mti: &str, own: &[(u32, &'static str)]) -> Vec<u8> {
    let mut elements =
        vec![PAN, (3, "000000"), (4, "000000012345"), (24, "200"), (49, "986"), (71, "00000002")];
    for (bit, text) in own {
        elements.retain(|(known, _)| known != bit);
        if !text.is_empty() {
            elements.push((*bit, text));
        }
    }
    elements.sort_unstable();
    message(mti, &elements)
}

/// What a file with this one message reads as, without position and attributes.
fn first_of(settings: &Settings, message: Vec<u8>, sum: u64) -> String {
    let content = vbs(&[header(), message, trailer(sum, 3)]);
    let text = text(&read(settings, &content));
    let line = text.lines().next().unwrap_or_default();
    if let Some((_, shown)) = line.split_once(" rejected ") {
        return shown.to_owned();
    }
    if line.starts_with("refused") {
        return line.to_owned();
    }
    let shown = line.splitn(3, ' ').nth(2).unwrap_or_default();
    shown.split(" encoding=").next().unwrap_or_default().to_owned()
}

fn issuer() -> Settings {
    Settings { framing: Framing::Vbs, ..settings("ipm", Encoding::Ascii) }
}

macro_rules! reads {
    ($($name:ident: $message:expr, $sum:literal => $expected:literal;)+) => {
        $( #[test] fn $name() {
            assert_eq!(first_of(&issuer(), $message, $sum), $expected);
        } )+
    };
}

reads! {
    a_purchase_debits: purchase(&[]), 12345 => "1240/200 presentment debit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_refund_credits: purchase(&[(3, "200000")]), 12345 => "1240/200 refund credit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_payment_credits: purchase(&[(3, "280000")]), 12345 => "1240/200 payment credit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_fee_debits: purchase(&[(3, "190000")]), 12345 => "1240/200 fee debit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_fee_to_the_cardholder_credits: purchase(&[(3, "290000")]), 12345 => "1240/200 fee credit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_reversed_purchase_credits: purchase(&[(48, "0080025001R")]), 12345 => "1240/200 reversal credit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_reversed_refund_debits: purchase(&[(3, "200000"), (48, "0140025007R260722")]), 12345 => "1240/200 reversal debit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_second_presentment_debits: purchase(&[(24, "205")]), 12345 => "1240/205 representment debit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_chargeback_credits: of("1442", &[(24, "450")]), 12345 => "1442/450 chargeback credit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_reversed_chargeback_debits: of("1442", &[(24, "454"), (48, "0080025001R")]), 12345 => "1442/454 reversal debit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    a_fee_collection_concerns_no_account: of("1740", &[(3, "190000"), (24, "700")]), 12345 => "1740/700 fee debit 12345 BRL/2 transaction=12345 BRL";
    a_settlement_position_moves_nothing: of("1644", &[(2, ""), (3, ""), (4, ""), (49, ""), (24, "688")]), 0 => "1644/688 settlement none 0";
    an_addendum_informs: of("1644", &[(3, ""), (4, ""), (49, ""), (24, "696")]), 0 => "1644/696 information none 0 card:****0012";
    billing_is_posted_before_the_transaction: purchase(&[(6, "000000061725"), (49, "840"), (51, "986")]), 12345 => "1240/200 presentment debit 61725 BRL/2 card:****0012 transaction=12345 USD billing=61725 BRL control=\"12345\"";
    a_stated_exponent_wins: purchase(&[(48, "01101480049863")]), 12345 => "1240/200 presentment debit 12345 BRL/3 card:****0012 transaction=12345 BRL";
    yen_have_no_decimals: purchase(&[(49, "392")]), 12345 => "1240/200 presentment debit 12345 JPY/0 card:****0012 transaction=12345 JPY";
    fees_are_amounts: purchase(&[(48, "0430146036000001986000000000077986000000000077")]), 12345 => "1240/200 presentment debit 12345 BRL/2 card:****0012 transaction=12345 BRL fee=77 BRL";
    a_zero_posts_nothing: purchase(&[(4, "000000000000")]), 0 => "1240/200 presentment none 0 BRL/2 card:****0012 transaction=0 BRL";
    a_broken_location_is_the_name: purchase(&[(43, "06AB\\CDE")]), 12345 => "1240/200 presentment debit 12345 BRL/2 card:****0012 transaction=12345 BRL counterparty=\"AB\"";
    a_number_in_the_location_is_masked: purchase(&[(43, "23PAY*4111111111111111\\X\\")]), 12345 => "1240/200 presentment debit 12345 BRL/2 card:****0012 transaction=12345 BRL counterparty=\"PAY*****1111\"";
    a_broken_chip_element_is_no_matter: purchase(&[(55, "003\u{1}\u{2}\u{3}")]), 12345 => "1240/200 presentment debit 12345 BRL/2 card:****0012 transaction=12345 BRL";
    an_impossible_time_is_none: purchase(&[(12, "261341250000")]), 12345 => "1240/200 presentment debit 12345 BRL/2 card:****0012 transaction=12345 BRL";

    a_letter_in_the_card: purchase(&[(2, "165413330089X10012")]), 12345 => "not_digits: DE 2 primary account number: expected digits, found a letter at position 11 of 16; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    a_short_card: purchase(&[(2, "041234")]), 12345 => "account_length: DE 2 primary account number: expected 8 to 19 digits, found 4 digits; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    no_card: purchase(&[(2, "")]), 12345 => "account_missing: DE 2 primary account number: expected a card number, found no such element; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    a_letter_in_the_amount: purchase(&[(4, "0000000123X5")]), 12345 => "not_digits: DE 4 amount, transaction: expected digits, found a letter at position 11 of 12; control None";
    an_unknown_bit: purchase(&[(64, "12345678")]), 12345 => "unknown_element: bitmap: expected data elements whose length is known, found bit 64; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    an_unknown_currency: purchase(&[(49, "000")]), 12345 => "currency: DE 49 currency code, transaction: expected a numeric code of ISO 4217, found 000; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    an_unknown_processing_code: purchase(&[(3, "990000")]), 12345 => "processing_code: DE 3 processing code: expected a processing code, found 990000; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    an_unknown_function_code: purchase(&[(24, "999")]), 12345 => "message_type: MTI and DE 24 function code: expected a pair that is known, found 1240/999; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    no_amount: purchase(&[(4, ""), (49, "")]), 0 => "amount_missing: DE 4 amount, transaction: expected an amount and its currency, found none; control Some(Control { debits: 0, credits: 0, unsigned: 0 })";
    an_amount_without_its_currency: purchase(&[(49, "")]), 12345 => "currency_missing: DE 49 currency code, transaction: expected the currency of DE 4 amount, transaction, found no such element; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    a_billing_amount_without_its_currency: purchase(&[(6, "000000061725")]), 12345 => "currency_missing: DE 51 currency code, cardholder billing: expected the currency of DE 6 amount, cardholder billing, found no such element; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    an_element_that_runs_over: purchase(&[(127, "999AB")]), 12345 => "element_cut: DE 127 network data: expected 999 bytes, found 2 bytes to the end of the message; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    a_broken_subelement: purchase(&[(48, "0050148X")]), 12345 => "subelement: DE 48 additional data: expected tags of 4 and lengths of 3 digits, found 5 bytes; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    a_subelement_that_runs_over: purchase(&[(48, "0080025009R")]), 12345 => "subelement: DE 48 additional data: expected tags of 4 and lengths of 3 digits, found a length of 9 with 1 bytes left; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    no_message_number: purchase(&[(71, "")]), 12345 => "message_number: DE 71 message number: expected a message number in digits, found none; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";

    the_checksum_differs: purchase(&[]), 12346 => "refused: record 1, byte 144, PDS 0301 file amount checksum: totals differ: expected 12345 as counted, found 12346 as stated";
    the_numbers_do_not_ascend: purchase(&[(71, "00000001")]), 12345 => "refused: record 0, byte 70, DE 71 message number: message numbers not ascending: expected more than 1, found 1";
}

macro_rules! the_acquirer_reads {
    ($($name:ident: $message:expr => $expected:literal;)+) => {
        $( #[test] fn $name() {
            let acquirer = Settings { side: Side::Acquirer, ..issuer() };
            let shown = first_of(&acquirer, $message, 12_345);
            assert_eq!(shown.split(" transaction=").next().unwrap_or_default(), $expected);
        } )+
    };
}

const MERCHANT: (u32, &str) = (42, "MERCHANT0000001");

the_acquirer_reads! {
    a_purchase_is_the_merchant_s_credit: purchase(&[MERCHANT]) => "1240/200 presentment credit 12345 BRL/2 merchant:****";
    a_refund_is_the_merchant_s_debit: purchase(&[MERCHANT, (3, "200000")]) => "1240/200 refund debit 12345 BRL/2 merchant:****";
    a_chargeback_is_the_merchant_s_debit: of("1442", &[MERCHANT, (24, "450")]) => "1442/450 chargeback debit 12345 BRL/2 merchant:****";
    a_reversed_purchase_is_the_merchant_s_debit: purchase(&[MERCHANT, (48, "0080025001R")]) => "1240/200 reversal debit 12345 BRL/2 merchant:****";
    a_merchant_is_paid_the_transaction_not_the_billing: purchase(&[MERCHANT, (6, "000000061725"), (49, "840"), (51, "986")]) => "1240/200 presentment credit 12345 USD/2 merchant:****";
    a_fee_collection_is_its_receiver_s_whatever_the_side: of("1740", &[(3, "190000"), (24, "700")]) => "1740/700 fee debit 12345 BRL/2";
    a_fee_collection_in_favour_is_a_credit: of("1740", &[(3, "290000"), (24, "700")]) => "1740/700 fee credit 12345 BRL/2";
    no_merchant: purchase(&[]) => "account_missing: DE 42 card acceptor ID code: expected a merchant's ID, found none; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
    a_blank_merchant: purchase(&[(42, "               ")]) => "account_missing: DE 42 card acceptor ID code: expected a merchant's ID, found none; control Some(Control { debits: 0, credits: 0, unsigned: 12345 })";
}

#[test]
fn a_merchant_s_id_is_trimmed_and_keeps_its_zeros() {
    let padded = purchase(&[(42, "0000042        ")]);
    let content = vbs(&[header(), padded, trailer(12_345, 3)]);
    let whole = read(&Settings { side: Side::Acquirer, ..issuer() }, &content);
    let whole = whole.unwrap_or_else(|refusal| panic!("{}", refusal.0));
    assert_eq!(whole.found[0].draft.account.reveal(), "merchant:0000042");
}

#[test]
fn to_the_acquirer_the_merchant_is_shown_nowhere_in_clear() {
    let content = vbs(&[header(), purchase(&[MERCHANT]), trailer(12_345, 3)]);
    let acquirer = Settings { side: Side::Acquirer, ..issuer() };
    for (settings, is_shown) in [(issuer(), true), (acquirer, false)] {
        let shown = format!("{:?}", read(&settings, &content));
        assert_eq!(shown.contains(MERCHANT.1), is_shown, "{shown}");
    }
}

#[test]
fn a_feed_may_post_the_transaction_amount() {
    let own = Settings { posted: Posted::Transaction, ..issuer() };
    let message = purchase(&[(6, "000000061725"), (49, "840"), (51, "986")]);
    let shown = first_of(&own, message, 12_345);
    assert!(shown.starts_with("1240/200 presentment debit 12345 USD/2"), "{shown}");
}

/// What whole contents read as: the last line.
fn last(settings: &Settings, content: &[u8]) -> String {
    text(&read(settings, content)).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn several_logical_files_are_one_file_with_totals_each() {
    let one = [header(), purchase(&[]), trailer(12_345, 3)];
    let next = [header_of(NEXT_ID), purchase(&[]), trailer_of(NEXT_ID, 12_345, 3)];
    let whole = read(&issuer(), &vbs(&[one, next].concat()));
    let whole = whole.unwrap_or_else(|refusal| panic!("{}", refusal.0));
    assert_eq!(whole.found.len(), 2);
    assert_eq!(whole.summary.control_totals.len(), 4);
    assert_eq!(whole.summary.claimed_unsigned, Some(24_690));
    assert_eq!(whole.summary.identifier.as_deref(), Some(&FILE_ID[7..]));
    assert_eq!(whole.summary.identifiers, [&FILE_ID[7..], &NEXT_ID[7..]]);
}

#[test]
fn a_file_id_has_a_length() {
    let long = format!("0105065{:065}", 1);
    let header = message("1644", &[(24, "697"), (48, &format!("072{long}")), (71, "00000001")]);
    assert_eq!(
        last(&issuer(), &vbs(&[header, purchase(&[]), trailer(12_345, 3)])),
        "refused: record 0, byte 0, PDS 0105 file ID: file id length: expected at most 64 characters, found 65"
    );
}

/// The same logical file twice, or two under one identifier, would be posted twice.
#[test]
fn a_file_id_that_comes_twice_in_an_object_is_refused() {
    let one = [header(), purchase(&[]), trailer(12_345, 3)];
    let content = vbs(&[one.clone(), one].concat());
    assert_eq!(
        last(&issuer(), &content),
        "refused: record 1, byte 252, PDS 0105 file ID: file id twice: expected a file ID that did not come before in this object, found `0022607220000001294000001`, as of logical file 1"
    );
}

/// Whatever else bears the card's number, it is shown nowhere.
#[test]
fn a_card_number_in_free_text_is_shown_nowhere() {
    let own = [(43, "195413330089010012\\A\\"), (48, "02601650195413-3300-8901-0012")];
    let whole = read(&issuer(), &vbs(&[header(), purchase(&own), trailer(12_345, 3)]));
    let whole = whole.unwrap_or_else(|refusal| panic!("{}", refusal.0));
    let record = &whole.found[0].draft.record;
    assert_eq!(record.counterparty.as_deref(), Some("****0012"));
    let shown = record.attributes.iter().find(|(name, _)| *name == "settlement_indicator");
    assert_eq!(shown.map(|(_, value)| value), Some("****0012"));
    assert!(!format!("{record:?}").contains("541333008901"), "{record:?}");
}

#[test]
fn the_end_of_the_messages_is_told_from_their_loss() {
    // Without the warning that no record has a billing amount.
    let feed = Settings { posted: Posted::Transaction, ..issuer() };
    let whole = vbs(&[header(), purchase(&[]), trailer(12_345, 3)]);
    let bare = &whole[..whole.len() - 4];
    let warning =
        "warning: terminator missing: expected a length of 0 behind the last message, found none";
    let filled = |filler: &[u8]| [bare, filler].concat();
    assert_eq!(last(&feed, bare), warning);
    assert_eq!(last(&feed, &filled(&[0x40; 40])), warning);
    assert_eq!(last(&feed, &filled(&[0, 0])), warning);
    assert!(!last(&feed, &[whole.as_slice(), &[0x40; 9]].concat()).starts_with("refused"));
    assert_eq!(
        last(&feed, &[whole.as_slice(), b"X"].concat()),
        format!(
            "refused: record 1, byte {}, after the end: expected filler behind the end of the messages, found other bytes",
            whole.len()
        )
    );
    assert_eq!(
        last(&feed, &filled(&[9, 9, 9, 9])),
        format!(
            "refused: record 1, byte {}, framing lost: expected a length of 20 to 1048576, found another value",
            bare.len()
        )
    );
}

#[test]
fn what_is_not_the_feed_s_is_refused_by_name() {
    use crate::generated::{bytes, plan, settings_of};
    use ingest::generate::Plan;
    let of = |encoding, framing| Plan { encoding, framing, ..plan("ipm", 20) };
    let blocked = bytes(&of(Encoding::Cp500, Framing::Blocked)).0;
    let vbs_feed = settings_of(&of(Encoding::Cp500, Framing::Vbs));
    let ascii_feed = settings_of(&of(Encoding::Ascii, Framing::Auto));
    let nacha_feed = settings("nacha", Encoding::Ascii);
    let nacha = bytes(&plan("nacha", 20)).0;
    let pre_edit = [vec![0; 128], vec![0x40, 0, 0, 74], header()].concat();
    for (settings, content, expected) in [
        (
            &vbs_feed,
            &blocked,
            "refused: record 0, byte 0, wrong framing: expected vbs, found blocked; change the feed's framing",
        ),
        (
            &ascii_feed,
            &blocked,
            "refused: byte 0, wrong encoding: expected ipm in ascii, found ipm in EBCDIC, blocked; drop it where its format is expected, or change the feed",
        ),
        (
            &nacha_feed,
            &blocked,
            "refused: byte 0, wrong format: expected nacha in ascii, found ipm in EBCDIC, blocked; drop it where its format is expected, or change the feed",
        ),
        (
            &ascii_feed,
            &nacha,
            "refused: byte 0, wrong format: expected ipm in ascii, found nacha in ASCII; drop it where its format is expected, or change the feed",
        ),
        (
            &ascii_feed,
            &pre_edit,
            "refused: record 0, byte 0, pre edit: expected ipm in VBS, blocked or not, or with RDW, found a pre-edit container; ask for the file as the network delivers it",
        ),
    ] {
        assert_eq!(last(settings, content), expected);
    }
}

#[test]
fn damaged_block_filler_is_found() {
    use crate::generated::{bytes, plan, settings_of};
    let plan = plan("ipm", 20);
    let mut content = bytes(&plan).0;
    content[1_013] = 0;
    let shown = last(&settings_of(&plan), &content);
    assert!(shown.contains("block filler: expected 40 40 at the end of a block"), "{shown}");
}
