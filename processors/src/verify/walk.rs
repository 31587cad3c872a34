//! The postings of one account.

use schemas::codec::Codec;
use schemas::outcome::{Leg, Outcome};

use crate::account::{Account, AccountName};
use crate::fate::Error;
use crate::store::View;

/// The postings of an account, newest first, at most `max` outcomes: walked back from each balance
/// by the number before.
///
/// # Errors
///
/// Where the store can't be read, or an outcome doesn't decode.
pub async fn postings<V: View>(
    view: &mut V,
    shard: u32,
    account: &Account,
    max: usize,
) -> Result<Vec<Outcome>, Error> {
    let codec = Codec::built_in();
    let mut next: Vec<Option<i64>> =
        account.balances.iter().map(|balance| Some(balance.last_number)).collect();
    let units: Vec<_> = account.balances.iter().map(|b| (b.currency, b.exponent)).collect();
    let name = AccountName::to_string(&account.name);
    let mut found: Vec<Outcome> = Vec::new();
    while found.len() < max {
        let Some(newest) = next.iter().flatten().max().copied() else { break };
        let page = view.outcomes(shard, newest, 1).await.map_err(Error::Store)?;
        let Some(row) = page.first().filter(|row| row.number == newest) else { break };
        let outcome: Outcome = codec.decode(&row.body)?;
        for (number, unit) in next.iter_mut().zip(&units) {
            if *number == Some(newest) {
                let of_balance =
                    |leg: &&Leg| leg.account == name && (leg.currency, leg.exponent) == *unit;
                // The first of an outcome's legs on a balance names the outcome before.
                let first = outcome.legs.iter().find(of_balance);
                *number = first.and_then(|leg| leg.previous_number);
            }
        }
        found.push(outcome);
    }
    Ok(found)
}
