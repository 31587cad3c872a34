//! One subject: its compatibility, its schema, the ids of its versions.

use reqwest::{Method, StatusCode};
use schemas::codec::EventType;
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::{Error, subject};

/// What every version of a subject must keep: each reads, and is read by, every other.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// Registers the newest schema of an event where it is not there yet. Gives its id, and after it
/// those of other versions that read the same.
pub(super) async fn register(
    client: &Client,
    prefix: &str,
    event: EventType,
) -> Result<Vec<u32>, Error> {
    let subject = &subject(prefix, event);
    // Compatibility first: from here on nobody adds what ours can't stand beside.
    let is_kept = compatibility(client, subject).await?.as_deref() == Some(COMPATIBILITY);
    if !is_kept {
        let body = json!({ "compatibility": COMPATIBILITY });
        let path = ["config", subject];
        let answer = client.call(Method::PUT, &path, Some(&body)).await?;
        // A conflict: another instance sets it at this moment. What is read back below decides.
        if answer.status != StatusCode::CONFLICT {
            expect_done(client, &answer, &format!("PUT /config/{subject}"))?;
        }
    }
    let id = id(client, subject, event).await?;
    if !is_kept {
        let found = compatibility(client, subject).await?;
        if found.as_deref() != Some(COMPATIBILITY) {
            let found = found.unwrap_or_else(|| "none".to_owned());
            let (url, subject) = (client.url().to_owned(), subject.clone());
            return Err(Error::Compatibility { url, subject, found });
        }
    }
    let mut ids = vec![id];
    for other in ids_of_versions(client, subject, event).await? {
        if !ids.contains(&other) {
            ids.push(other);
        }
    }
    Ok(ids)
}

/// The compatibility that is set for this very subject; none where the server's default holds.
async fn compatibility(client: &Client, subject: &str) -> Result<Option<String>, Error> {
    let answer = client.call(Method::GET, &["config", subject], None).await?;
    if answer.is_absent() {
        return Ok(None);
    }
    Ok(answer.body["compatibilityLevel"].as_str().map(str::to_owned))
}

/// The id of our schema: looked up, else given by registering it. What the id stands for is read
/// back.
async fn id(client: &Client, subject: &str, event: EventType) -> Result<u32, Error> {
    let body = json!({ "schemaType": "AVRO", "schema": event.schema_text() });
    let at = ["subjects", subject];
    let look_up = || client.call(Method::POST, &at, Some(&body));
    let mut answer = look_up().await?;
    if answer.is_absent() {
        let path = ["subjects", subject, "versions"];
        answer = client.call(Method::POST, &path, Some(&body)).await?;
        if answer.status == StatusCode::CONFLICT {
            let reason = answer.reason();
            // Or it conflicts with another instance that registers the same at this moment.
            answer = look_up().await?;
            if answer.is_absent() {
                let (url, subject) = (client.url().to_owned(), subject.to_owned());
                return Err(Error::Incompatible { url, subject, reason });
            }
        }
    }
    expect_done(client, &answer, &format!("POST /subjects/{subject}"))?;
    let id = id_in(client, &answer.body, "a registration")?;
    let kept = client.call(Method::GET, &["schemas", "ids", &id.to_string()], None).await?;
    if kept.body["schema"].as_str().is_some_and(|text| event.is_written_as(text)) {
        return Ok(id);
    }
    Err(Error::OtherSchema { url: client.url().to_owned(), subject: subject.to_owned(), id })
}

/// The ids of the subject's versions whose bytes the newest schema reads as they are.
async fn ids_of_versions(
    client: &Client,
    subject: &str,
    event: EventType,
) -> Result<Vec<u32>, Error> {
    let versions = client.call(Method::GET, &["subjects", subject, "versions"], None).await?;
    let mut ids = Vec::new();
    for version in versions.body.as_array().into_iter().flatten().filter_map(Value::as_u64) {
        let path = ["subjects", subject, "versions", &version.to_string()];
        let kept = client.call(Method::GET, &path, None).await?;
        if kept.body["schema"].as_str().is_some_and(|text| event.is_written_as(text)) {
            ids.push(id_in(client, &kept.body, "a version")?);
        }
    }
    Ok(ids)
}

fn id_in(client: &Client, body: &Value, what: &str) -> Result<u32, Error> {
    let id = body["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| Error::NoRegistry {
        url: client.url().to_owned(),
        status: StatusCode::OK.as_u16(),
        call: format!("{what}, without an id"),
    })
}

/// A refusal that isn't told apart.
fn expect_done(client: &Client, answer: &Answer, call: &str) -> Result<(), Error> {
    if answer.status.is_success() {
        return Ok(());
    }
    Err(Error::Refused {
        url: client.url().to_owned(),
        status: answer.status.as_u16(),
        call: call.to_owned(),
        reason: answer.reason(),
    })
}
