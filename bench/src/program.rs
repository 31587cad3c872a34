//! The stages that are the program itself, as a user starts it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use ingest::feed::MARKER_SUFFIX;
use ingest::roll::Roll;
use schemas::file::{File, FileState};
use topic::embedded::EmbeddedLog;

use crate::cost::{Cost, of_children};
use crate::input;

/// Records of the small file that is dropped beside a large one: about a kilobyte.
const SMALL_RECORDS: u64 = 4;

/// The name of the small file.
const SMALL: &str = "small";

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Reads the file and proves its totals.
pub(crate) fn parse(format: &str, directory: &Path) -> anyhow::Result<Cost> {
    let file = path(&input::inbox(directory).join(input::FILE))?;
    let encoding = input::encoding(format).to_string();
    let mut command = program()?;
    command.args(["parse", "--output", "none", "--format", format, "--encoding", &encoding, &file]);
    measured(command.stderr(Stdio::null()))
}

/// From the dropped file to the reconciled one. Its file has a marker, so that nothing is waited
/// for; what is counted begins with the program's start and ends with its end.
pub(crate) fn whole(format: &str, directory: &Path) -> anyhow::Result<Cost> {
    mark(&input::inbox(directory), input::FILE)?;
    let mut run = Run::prepare(format, directory, "data")?.command()?;
    measured(run.arg("--once"))
}

/// What the whole way applied, undone: the plan that `--execute` makes again is part of it.
pub(crate) fn reverse(directory: &Path) -> anyhow::Result<Cost> {
    let data = path(&directory.join("data"))?;
    let command = |more: &[&str]| {
        let mut command = program()?;
        command.args(["reverse", input::FILE, "--data", &data, "--output", "json"]).args(more);
        anyhow::Ok(command)
    };
    let planned = command(&[])?.stderr(Stdio::inherit()).output()?;
    ensure!(planned.status.success(), "reverse ended with {}", planned.status);
    let plan: serde_json::Value = serde_json::from_slice(&planned.stdout)?;
    let token = plan["token"].as_str().context("a token in the plan")?;
    measured(command(&["--execute", token])?.stdout(Stdio::null()))
}

/// A small file that is dropped while the large one is being published: the time from its drop
/// until its balances are written and it is reconciled.
pub(crate) fn beside(format: &str, directory: &Path) -> anyhow::Result<Cost> {
    let inbox = input::inbox(directory);
    let small = input::plan(format, SMALL_RECORDS, SMALL_RECORDS, 2)?;
    let run = Run::prepare(format, directory, "data-beside")?;
    let mut child = run.command()?.spawn().context("batchless can't be started")?;
    let timed = (|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut watched = Watched::open(&run.data).await?;
            let is_under_way =
                |file: &File| file.state == FileState::PUBLISHING && file.checkpoint.next_index > 0;
            watched.wait(&mut child, input::FILE, is_under_way).await?;
            let mut bytes = Vec::new();
            ingest::generate::generate(&small, &mut bytes)?;
            std::fs::write(inbox.join(SMALL), &bytes)?;
            mark(&inbox, SMALL)?;
            let dropped = Instant::now();
            watched.wait(&mut child, SMALL, |file| file.state == FileState::RECONCILED).await?;
            let took = dropped.elapsed();
            ensure!(
                watched.is(input::FILE, is_under_way).await?,
                "the large file was over before the small one: take more records"
            );
            Ok(took)
        })
    })();
    child.kill()?;
    child.wait()?;
    for name in [SMALL.to_owned(), format!("{SMALL}{MARKER_SUFFIX}")] {
        std::fs::remove_file(inbox.join(name))?;
    }
    of_children(timed?)
}

/// A directory of its own, and a configuration, for a run.
struct Run {
    data: PathBuf,
    config: PathBuf,
}

impl Run {
    fn prepare(format: &str, directory: &Path, name: &str) -> anyhow::Result<Self> {
        let (data, config) = (directory.join(name), directory.join(format!("{name}.toml")));
        let text = format!(
            "log.filter = \"warn\"\n\n[[feed]]\nname = \"{format}\"\nformat = \"{format}\"\n\
             encoding = \"{}\"\narrived = \"marker\"\nlocation = \"{}\"\n",
            input::encoding(format),
            path(&input::inbox(directory))?
        );
        std::fs::write(&config, text)?;
        Ok(Self { data, config })
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = program()?;
        command.args(["run", "--config", &path(&self.config)?, "--data", &path(&self.data)?]);
        command.stdout(Stdio::null());
        Ok(command)
    }
}

/// The files of a run, looked at from outside.
struct Watched {
    log: EmbeddedLog,
    roll: Roll,
}

impl Watched {
    async fn open(data: &Path) -> anyhow::Result<Self> {
        let begun = Instant::now();
        loop {
            // The log is there once the program has made it.
            match EmbeddedLog::open_read_only(data.join("log.db")) {
                Ok(log) => {
                    let roll = Roll::new(&log);
                    return Ok(Self { log, roll });
                }
                Err(error) if PATIENCE < begun.elapsed() => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    async fn is(&mut self, object: &str, holds: impl Fn(&File) -> bool) -> anyhow::Result<bool> {
        self.roll.follow(&self.log).await?;
        Ok(self.roll.files.values().any(|file| file.object == object && holds(file)))
    }

    async fn wait(
        &mut self,
        child: &mut Child,
        object: &str,
        holds: impl Fn(&File) -> bool,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.is(object, &holds).await? {
            if let Some(status) = child.try_wait()? {
                bail!("batchless ended with {status}");
            }
            ensure!(begun.elapsed() < PATIENCE, "{object} is not so far after a long time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

fn mark(inbox: &Path, name: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(inbox.join(format!("{name}{MARKER_SUFFIX}")), "")?)
}

fn program() -> anyhow::Result<Command> {
    let path = std::env::current_exe()?.with_file_name("batchless");
    ensure!(path.is_file(), "{} is missing: build it first", path.display());
    Ok(Command::new(path))
}

fn path(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).context("a path in UTF-8")
}

fn measured(command: &mut Command) -> anyhow::Result<Cost> {
    let begun = Instant::now();
    let status = command.status().context("batchless can't be started")?;
    let wall = begun.elapsed();
    ensure!(status.success(), "batchless ended with {status}");
    of_children(wall)
}
