//! The same binary on real engines: Kafka with a schema registry, PostgreSQL, S3.
//!
//! Each test ends with one line of counts. What is said in the topics is read by a subscriber that
//! shares no code with the product (`engines/observer.py`), what is in the database by `psql`; both
//! are judged by the oracle's audit. `BATCHLESS_ENGINES_FULL=1` runs the whole matrix.

#![expect(clippy::print_stdout, reason = "each test prints its counts")]

mod own;
mod observer;
mod cluster;
mod crew;
mod evidence;
mod state;
mod disk;

mod main_job;
mod exactly_once;
mod kills;
mod zombies;
mod rebalances;
mod outages;
mod standstills;
mod settings;
mod locked;
mod subscribers;
mod controls;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where the engines are that all tests share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    /// Kafka's bootstrap address.
    pub(crate) kafka: String,
    /// The registry's URL.
    pub(crate) registry: String,
    /// PostgreSQL's URL, with a user who may do everything.
    pub(crate) postgres: String,
    /// The S3 server's URL.
    pub(crate) s3: String,
}

impl Shared {
    /// Where they are.
    ///
    /// # Panics
    ///
    /// Where nobody has started them.
    pub(crate) fn engines() -> Self {
        let said = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set; start the engines: eval \"$(engines/up)\"")
            })
        };
        Self {
            kafka: said("BATCHLESS_TEST_KAFKA"),
            registry: said("BATCHLESS_TEST_REGISTRY"),
            postgres: said("BATCHLESS_TEST_POSTGRES"),
            s3: said("AWS_ENDPOINT_URL"),
        }
    }
}

/// Whether everything is run, or what the gate has the time for.
pub(crate) fn is_full() -> bool {
    std::env::var("BATCHLESS_ENGINES_FULL").is_ok_and(|said| said == "1")
}

/// One at a time of the tests that have many processes at work: they would only wait for each
/// other. Those that mostly wait do it beside them.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long anything may take on the slowest machine, before a test gives up waiting for it.
const PATIENCE: Duration = Duration::from_secs(300);

/// Looks again and again until something is so: seldom enough that looking, which starts a process
/// each time, takes little from what is waited for.
///
/// # Panics
///
/// Where it is not within some minutes; `shown` is then said too.
pub(crate) fn patiently(what: &str, mut is_so: impl FnMut() -> bool, shown: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}: {}", shown());
        std::thread::sleep(Duration::from_millis(100));
    }
}
