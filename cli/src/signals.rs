//! Signals: the first one asks to stop, the second one stops.

use anyhow::Context;
use tokio_util::sync::CancellationToken;

/// How a process ends that is told twice.
const EXIT_AT_ONCE: i32 = 1;

/// A token that SIGTERM or SIGINT cancels; a second signal ends the process at once, which is as
/// safe as any crash.
///
/// # Errors
///
/// Where signals can't be listened for.
#[cfg(unix)]
pub(crate) fn stop_token(tasks: &tokio_util::task::TaskTracker) -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("signals can't be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals can't be listened for")?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tasks.spawn(async move {
        for is_second in [false, true] {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
            if is_second {
                tracing::warn!("told twice to stop, so ending at once");
                std::process::exit(EXIT_AT_ONCE);
            }
            tracing::info!("told to stop, ending the work in hand");
            stop.cancel();
        }
    });
    Ok(token)
}
