//! What something costs: time, CPU time, peak memory.

use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

/// What a stage cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Time from its begin to its end, in microseconds.
    pub(crate) wall_us: u64,
    /// CPU time of all its threads, in user and system mode, in microseconds.
    pub(crate) cpu_us: u64,
    /// The most memory that its process had resident, in bytes.
    pub(crate) peak_bytes: u64,
}

/// Adds up what is measured piece by piece, so that making the input does not count.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    wall: Duration,
    cpu: Duration,
    begun: Option<(Instant, Duration)>,
}

impl Meter {
    /// A meter that runs.
    pub(crate) fn started() -> anyhow::Result<Self> {
        let mut meter = Self::default();
        meter.start()?;
        Ok(meter)
    }

    /// Begins to count.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.begun = Some((Instant::now(), cpu(&getrusage(UsageWho::RUSAGE_SELF)?)));
        Ok(())
    }

    /// Ceases to count.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        let Some((wall, before)) = self.begun.take() else { return Ok(()) };
        self.wall += wall.elapsed();
        self.cpu += cpu(&getrusage(UsageWho::RUSAGE_SELF)?).saturating_sub(before);
        Ok(())
    }

    /// What this process cost while the meter ran; its memory from its beginning on.
    pub(crate) fn cost(mut self) -> anyhow::Result<Cost> {
        self.stop()?;
        cost(self.wall, self.cpu, &getrusage(UsageWho::RUSAGE_SELF)?)
    }
}

/// What the processes cost that this one started and waited for, which took `wall`.
pub(crate) fn of_children(wall: Duration) -> anyhow::Result<Cost> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    cost(wall, cpu(&usage), &usage)
}

/// A new process counts its memory from that of the one that started it: so nothing large is ever
/// in the memory of a process here that starts another.
fn cost(wall: Duration, cpu: Duration, usage: &Usage) -> anyhow::Result<Cost> {
    Ok(Cost {
        wall_us: u64::try_from(wall.as_micros())?,
        cpu_us: u64::try_from(cpu.as_micros())?,
        peak_bytes: u64::try_from(usage.max_rss())? * 1_024,
    })
}

fn cpu(usage: &Usage) -> Duration {
    let times = [usage.user_time(), usage.system_time()].map(|time| time.num_microseconds());
    // A process's time is never negative.
    times.into_iter().map(|us| Duration::from_micros(us.unsigned_abs())).sum()
}
