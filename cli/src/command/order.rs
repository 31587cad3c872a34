//! `batchless hold | release | cancel FILE` and `batchless accept OBJECT`: what acts at once.

use anyhow::bail;
use clap::Args;
use schemas::arrival::{Arrival, ArrivalState};
use schemas::command::{Action, FileCommand};
use schemas::file::File;
use schemas::{CommandId, FileId};
use sha2::{Digest as _, Sha256};

use super::books::{Books, BooksFlags, block_on_work, id_start, is_named};
use super::{Ending, Failure};
use crate::operate::answers::{ask, command, drawn_id};
use crate::operate::asked::Asked;
use crate::output::counted;

/// How many resubmitted records a refusal names.
const LEFT_NAMED: usize = 10;

/// What `hold`, `release` and `cancel` are told.
#[derive(Args, Debug)]
pub(crate) struct OrderFlags {
    /// The file: its name, or the first 8 digits of its id or more.
    file: String,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    books: BooksFlags,
}

/// What `accept` is told.
#[derive(Args, Debug)]
pub(crate) struct AcceptFlags {
    /// The object: its key or name, or the first 8 digits or more of the id of the file that it
    /// repeats.
    object: String,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    books: BooksFlags,
}

pub(crate) fn run(action: Action, flags: &OrderFlags) -> Result<Ending, Failure> {
    let books = Books::open(&flags.books)?;
    block_on_work(async {
        let file = books.file(&flags.file).await?;
        let command = command(&file, drawn_id()?, action, &flags.asked);
        ask(books, &[file], vec![command], false, flags.books.output).await
    })
}

pub(crate) fn accept(flags: &AcceptFlags) -> Result<Ending, Failure> {
    let books = Books::open(&flags.books)?;
    block_on_work(async {
        let (file, command) = accepted(&books, flags).await?;
        ask(books, &[file], vec![command], false, flags.books.output).await
    })
}

/// The command that takes an object's content again, and the newest file of that content.
async fn accepted(books: &Books, flags: &AcceptFlags) -> anyhow::Result<(File, FileCommand)> {
    let wanted = flags.object.as_str();
    let roll = books.roll().await?;
    let mut named: Vec<&Arrival> = roll.arrivals.values().collect();
    named.retain(|arrival| is_named(wanted, arrival.file_id.as_ref(), &arrival.object));
    let is_verified =
        |arrival: &&&Arrival| arrival.state.is_sent() || arrival.state == ArrivalState::DUPLICATE;
    let Some(arrival) = named.iter().find(is_verified).copied() else {
        return Err(not_accepted(wanted, &named));
    };
    let contents =
        named.iter().filter_map(|it| it.file_id).collect::<std::collections::BTreeSet<_>>();
    if contents.len() > 1 {
        let ids: Vec<String> = contents.iter().map(FileId::to_string).collect();
        bail!(
            "objects called {wanted} have {} contents: {}; name one by the id of its file",
            ids.len(),
            ids.join(", ")
        );
    }
    let known = arrival.file_id.and_then(|file_id| roll.files.get(&file_id));
    let Some(known) = known else {
        bail!("{}: its file is not there yet; wait until it is verified", arrival.object);
    };
    let digest = known.verdict.content_digest;
    let occurrences = roll
        .files
        .values()
        .filter(|file| file.verdict.content_digest == digest && file.resubmits.is_none());
    let newest = occurrences.max_by_key(|file| file.verdict.occurrence).unwrap_or(known);
    let is_left = |file: &&File| {
        file.verdict.content_digest == digest
            && file.resubmits.is_some()
            && !file.has_ended_without_effect()
    };
    let left: Vec<FileId> = roll.files.values().filter(is_left).map(|file| file.file_id).collect();
    if !left.is_empty() {
        return Err(would_post_twice(&arrival.object, &left));
    }
    // The same object of the file's own feed: another feed's rules are not the file's.
    let here = named.iter().find(|it| it.feed == newest.feed && is_verified(it)).copied();
    let Some(arrival) = here else {
        bail!(
            "{} lies in feed {}, and its content was taken in feed {}; drop it there",
            arrival.object,
            arrival.feed,
            newest.feed
        );
    };
    let id = accept_id(newest, arrival);
    let command = FileCommand {
        object: Some(arrival.object.clone()),
        version: Some(arrival.version.clone()),
        size_bytes: Some(arrival.size_bytes),
        ..command(newest, id, Action::ACCEPT, &flags.asked)
    };
    Ok((newest.clone(), command))
}

/// Why nothing of that name can be taken again.
fn not_accepted(wanted: &str, named: &[&Arrival]) -> anyhow::Error {
    match named.first() {
        None => anyhow::anyhow!("no object is called {wanted}; `batchless files` lists them"),
        Some(arrival) => {
            let why = arrival.reason.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            anyhow::anyhow!(
                "{} is {}{why}; only a verified content is taken again",
                arrival.object,
                arrival.state
            )
        }
    }
}

/// That records of a content stand that were resubmitted: with all of it they would stand twice.
fn would_post_twice(name: &str, left: &[FileId]) -> anyhow::Error {
    let mut ids: Vec<String> = left.iter().take(LEFT_NAMED).map(id_start).collect();
    if LEFT_NAMED < left.len() {
        ids.push("...".to_owned());
    }
    let (count, ids) = (counted(left.len(), "resubmitted record"), ids.join(" "));
    let stand = if left.len() == 1 { "stands" } else { "stand" };
    anyhow::anyhow!(
        "{count} of {name} {stand} and would be posted twice; undo with `batchless reverse {ids}` \
         first"
    )
}

/// Derived, not drawn: a command that was killed and is given again, while the first one is still
/// on its way, is the same command, and the content is taken once.
fn accept_id(newest: &File, arrival: &Arrival) -> CommandId {
    let digest = Sha256::new()
        .chain_update(b"accept\0")
        .chain_update(newest.file_id.0)
        .chain_update(newest.answers.len().to_be_bytes())
        .chain_update(arrival.feed.as_bytes())
        .chain_update([0])
        .chain_update(arrival.object.as_bytes())
        .chain_update([0])
        .chain_update(arrival.version.as_bytes())
        .finalize();
    CommandId::derived(&digest.into())
}
