//! The tables: made where there are none, else compared.

use tokio_postgres::error::SqlState;

use crate::store::Error;
use crate::store::postgres::failure::{Failure, failed};
use crate::store::postgres::session::Session;
use crate::store::postgres::settings::Settings;

/// The layout of the tables.
const LAYOUT: i32 = 1;

/// Several processes may make the tables at once: one does, the others see that and look again.
const TRIES_MAX: usize = 5;

/// Compares the layout of the tables; where there are none they are made, if they may be.
///
/// # Errors
///
/// *Unusable* where they are of another layout, or somebody else's.
pub(super) async fn prepare(
    session: &mut Session,
    settings: &Settings,
    may_make: bool,
) -> Result<(), Error> {
    let Settings { schema, .. } = settings;
    let at = format!("schema `{schema}` of the PostgreSQL server at {}", settings.place());
    let unusable = |what: String| Err(Error::Unusable { what, source: None });
    for _ in 0..TRIES_MAX {
        match layout(session, schema).await.map_err(|failure| failed(settings, failure))? {
            Some(LAYOUT) => return Ok(()),
            Some(found) => {
                let age = if LAYOUT < found { "newer" } else { "older" };
                return unusable(format!(
                    "expected an account store of layout {LAYOUT} in {at}, found layout {found}, \
                     which is {age}; use the version that made it, or name another database"
                ));
            }
            None if !may_make => {
                return unusable(format!(
                    "expected an account store in {at}, found none; the first instance that \
                     processes makes it"
                ));
            }
            None => (),
        }
        if let Err(failure) = make(session, schema).await {
            let is_made_by_another = matches!(
                &failure,
                Failure::Server(error) if error.code().is_some_and(is_of_two_makers)
            );
            if !is_made_by_another {
                return Err(failed(settings, failure));
            }
            session.batch("ROLLBACK").await.map_err(|failure| failed(settings, failure))?;
        }
    }
    unusable(format!("expected no tables in {at}, found some of another program; name another one"))
}

/// The layout of the tables; none where there are none.
async fn layout(session: &mut Session, schema: &str) -> Result<Option<i32>, Failure> {
    let is_there = session
        .ask(|client| {
            let sql = "SELECT 1 FROM information_schema.tables
                       WHERE table_schema = $1 AND table_name = 'layout'";
            async move { client.query_opt(sql, &[&schema]).await }
        })
        .await?;
    if is_there.is_none() {
        return Ok(None);
    }
    let row = session
        .ask(|client| async move { client.query_opt("SELECT layout FROM layout", &[]).await })
        .await?;
    Ok(match row {
        Some(row) => Some(row.try_get(0)?),
        None => None,
    })
}

async fn make(session: &mut Session, schema: &str) -> Result<(), Failure> {
    let found = session
        .ask(|client| {
            let sql = "SELECT 1 FROM information_schema.schemata WHERE schema_name = $1";
            async move { client.query_opt(sql, &[&schema]).await }
        })
        .await?;
    // Who may not make a schema may still use one that was made for it.
    let schema = match found {
        Some(_) => String::new(),
        None => format!("CREATE SCHEMA \"{schema}\";"),
    };
    let tables = include_str!("schema.sql");
    let row = format!("INSERT INTO layout VALUES (1, {LAYOUT})");
    session.batch(&format!("BEGIN; {schema} {tables} {row}; COMMIT")).await
}

fn is_of_two_makers(code: &SqlState) -> bool {
    let codes = [
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
        SqlState::UNIQUE_VIOLATION,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ];
    codes.contains(code)
}
