//! The store in PostgreSQL, on a real server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on says so")]

#[path = "postgres/codes.rs"]
mod codes;
#[path = "postgres/encrypted.rs"]
mod encrypted;
#[path = "postgres/equal.rs"]
mod equal;
#[path = "postgres/opening.rs"]
mod opening;
#[path = "postgres/own.rs"]
mod own;
#[path = "postgres/server.rs"]
mod server;

use processors::store::conformance;

use server::Schema;

#[tokio::test]
async fn postgres_keeps_the_contract() {
    let mut schemas = Vec::new();
    let make = async || {
        let schema = Schema::new();
        let store = schema.open().await;
        schemas.push(schema);
        store
    };
    assert_eq!(conformance::all(make).await, Ok(()));
}
