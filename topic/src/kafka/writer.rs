//! The writer of a name: a thread of its own, since the client's calls about transactions block.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, Producer};
use tokio::sync::oneshot;

use super::error::refused;
use super::feed::lock;
use super::publish::{Deliveries, Publisher, State};
use super::{Shared, config, fault};
use crate::{Batch, Error};

/// How long a name may take to be opened: its former transaction is ended meanwhile.
const OPEN_PATIENCE: Duration = Duration::from_secs(15);

/// How long one call of that may take before errors are looked at.
const CALL: Duration = Duration::from_secs(1);

/// How often a writer without work looks at what its client has to say, and at what those of the
/// log have that nobody else looks at: it would add up during an outage.
const SERVE_EVERY: Duration = Duration::from_millis(500);

/// How long a thread may be silent while it has something to do. No call takes more than [`CALL`]
/// by its own word, but the one about positions may never return where its coordinator was away
/// (librdkafka#5456): then the writer is given up, and the thread ends when the call does.
const SILENT_MAX: Duration = Duration::from_secs(10);

/// The one writer of a name on Kafka.
///
/// A publish that is given up while it waits goes on by itself: it may happen or not.
#[derive(Debug)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    pulse: Arc<Pulse>,
}

/// A batch, and who waits for it.
struct Job {
    batch: Batch,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Writer {
    /// Opens the writer of a name.
    pub(super) async fn open(shared: &Arc<Shared>, name: &str) -> Result<Self, Error> {
        let (jobs, taken) = mpsc::channel();
        let (opened, waiting) = oneshot::channel();
        let (owned, its_name) = (Arc::clone(shared), name.to_owned());
        let pulse = Arc::new(Pulse::default());
        let its_pulse = Arc::clone(&pulse);
        let life = move || match publisher(&owned, &its_name, its_pulse) {
            Ok(publisher) => {
                let (decided, positions) =
                    (Arc::clone(&owned.decided), Arc::clone(&owned.positions));
                let is_closed = Arc::clone(&owned.is_closed);
                drop(owned);
                let is_over = || {
                    decided.ends.serve();
                    decided.feed.serve();
                    positions.serve();
                    is_closed.load(Ordering::Relaxed)
                };
                // Where nobody waits any more, there is nothing to publish either.
                if opened.send(Ok(())).is_ok() {
                    work(publisher, &taken, is_over);
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        shared.threads.spawn(&format!("kafka-{name}"), life)?;
        pulse.watch(waiting).await?;
        Ok(Self { jobs, pulse })
    }
}

impl crate::Writer for Writer {
    async fn publish(&mut self, batch: Batch) -> Result<(), Error> {
        let (done, waiting) = oneshot::channel();
        if self.jobs.send(Job { batch, done }).is_err() {
            return Err(ended());
        }
        self.pulse.watch(waiting).await
    }
}

/// The sign of life of a thread.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    /// The thread is not stuck in a call.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for an answer for as long as the thread that owes it gives signs of life.
    async fn watch(&self, answer: oneshot::Receiver<Result<(), Error>>) -> Result<(), Error> {
        let mut answer = answer;
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(SILENT_MAX, &mut answer).await {
                Ok(answer) => return answer.unwrap_or_else(|_| Err(ended())),
                Err(_) => {
                    let now = self.0.load(Ordering::Relaxed);
                    if now == before {
                        let what = "its client does not come back from a call".to_owned();
                        return Err(Error::Indefinite { what, source: None });
                    }
                    before = now;
                }
            }
        }
    }
}

fn ended() -> Error {
    let what = "its thread has ended, as it does where the log is closed".to_owned();
    Error::Indefinite { what, source: None }
}

/// Publishes what comes until nobody is left to give anything, or the log is closed.
fn work(mut publisher: Publisher, jobs: &mpsc::Receiver<Job>, is_over: impl Fn() -> bool) {
    loop {
        let Job { batch, done } = match jobs.recv_timeout(SERVE_EVERY) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                publisher.serve();
                if is_over() {
                    return;
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let result = publisher.publish(&batch);
        // Dropped here: whoever waits may publish as much again.
        drop(batch);
        let _ = done.send(result);
    }
}

/// Makes the client of a name, and fences the former.
fn publisher(shared: &Arc<Shared>, name: &str, pulse: Arc<Pulse>) -> Result<Publisher, Error> {
    let settings = &shared.settings;
    let transactional_id = format!("{}{name}", settings.prefix);
    let client: BaseProducer<Deliveries> = config::producer(settings, &transactional_id)
        .create_with_context(Deliveries::new(&shared.outage))
        .map_err(|error| Error::from(refused(error)))?;
    let until = Instant::now() + OPEN_PATIENCE;
    loop {
        match client.init_transactions(CALL) {
            Ok(()) => break,
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && !error.is_fatal() && Instant::now() < until =>
            {
                client.poll(Duration::ZERO);
                pulse.beat();
            }
            Err(error) => return Err(fault::error(format!("the opening of writer {name}"), error)),
        }
    }
    Ok(Publisher {
        name: name.to_owned(),
        names: Arc::clone(&shared.names),
        ids: shared.ids.clone(),
        seats: Arc::clone(&shared.seats),
        client,
        lifetime: settings.transaction_timeout,
        decided: Arc::clone(&shared.decided),
        pulse,
        state: State::Ready,
    })
}

/// The threads of a log.
#[derive(Debug, Default)]
pub(super) struct Threads {
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    pub(super) fn spawn(
        &self,
        name: &str,
        life: impl FnOnce() + Send + 'static,
    ) -> Result<(), Error> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(life).map_err(|error| {
            let what = format!("a thread for {name} could not be started");
            Error::Retry { what, source: Some(Box::new(error)) }
        })?;
        let mut running = lock(&self.running);
        running.retain(|thread| !thread.is_finished());
        running.push(thread);
        Ok(())
    }

    /// Waits until all have ended, or for so long. Blocks.
    pub(super) fn wait(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let running = std::mem::take(&mut *lock(&self.running));
        for thread in running {
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
            if thread.is_finished() {
                // A panic was told where it happened.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time stands still but for the waits: a thread that is stuck is given up, one that is slow is
    /// waited for.
    #[tokio::test(start_paused = true)]
    async fn who_gives_no_sign_of_life_is_given_up() {
        let pulse = Pulse::default();
        let (_never, answer) = oneshot::channel();
        let given_up = pulse.watch(answer).await.unwrap_err();
        assert!(matches!(given_up, Error::Indefinite { .. }), "{given_up}");

        let (slow, answer) = oneshot::channel();
        let slowly = async {
            for _ in 0..20 {
                tokio::time::sleep(SILENT_MAX * 3 / 4).await;
                pulse.beat();
            }
            slow.send(Ok(())).unwrap();
        };
        let (answer, ()) = tokio::join!(pulse.watch(answer), slowly);
        answer.unwrap();
    }
}
