//! What a caller must do about an error of Kafka.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::Error;

/// What an error's code says about whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Somebody else has the name, or the member is out of its group.
    Fenced,
    /// The group was shared out anew, and the member hears of it in a moment.
    Stale,
    /// The surroundings.
    Passing,
    /// Somebody must mend it: a right, a limit, a version.
    Lasting,
}

/// Whose fault an error is.
pub(super) fn of(error: &KafkaError) -> Fault {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::Nul(_) => Fault::Lasting,
        KafkaError::Transaction(error) => of_code(error.code()),
        KafkaError::AdminOp(code) => of_code(*code),
        other => other.rdkafka_error_code().map_or(Fault::Passing, of_code),
    }
}

/// Whose fault an error of this code is. What isn't known is taken to pass: trying again does no
/// harm, giving up does.
///
/// So is what the client says by itself of a topic or partition that it doesn't know, and of a
/// handshake that failed: it says the same while brokers start and stop. Whether they are there at
/// all, and let us in, was found out when the log was opened.
pub(super) fn of_code(code: Code) -> Fault {
    match code {
        Code::Fenced
        | Code::ProducerFenced
        | Code::InvalidProducerEpoch
        | Code::FencedInstanceId
        | Code::UnknownMemberId => Fault::Fenced,
        Code::IllegalGeneration | Code::RebalanceInProgress => Fault::Stale,
        Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidRecord
        | Code::InvalidTransactionTimeout
        | Code::InvalidSessionTimeout
        | Code::PolicyViolation
        | Code::InvalidTopic
        | Code::UnsupportedVersion
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedFeature => Fault::Lasting,
        _ => Fault::Passing,
    }
}

/// The error to give for this one, where nothing has happened.
pub(super) fn error(what: impl Into<String>, error: KafkaError) -> Error {
    let what = what.into();
    match of(&error) {
        Fault::Fenced => Error::Fenced { what: format!("{what}: {error}") },
        Fault::Stale | Fault::Passing => Error::Retry { what, source: Some(Box::new(error)) },
        Fault::Lasting => Error::Fatal { what, source: Some(Box::new(error)) },
    }
}

/// A *retry* without a source.
pub(super) fn retry(what: impl Into<String>) -> Error {
    Error::Retry { what: what.into(), source: None }
}

/// Does what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            let what = "a call to the Kafka client ended in the middle; report it".to_owned();
            Err(Error::Fatal { what, source: Some(Box::new(error)) })
        }
    }
}
