//! `batchless topics create | check | describe`: the topics of a ledger on Kafka, and the schemas
//! of their events in the registry.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use schemas::Topic;
use serde::Serialize;
use topic::Layout;
use topic::kafka::admin::{self, Description, Policy};
use topic::kafka::{KafkaLog, Settings, Unusable};
use topic::registry::Ids;

use super::books::block_on;
use super::{Ending, Failure};
use crate::args::ConfigFlags;
use crate::config::Config;
use crate::config::engines::{KafkaConfig, TopicsConfig};
use crate::engine::kafka::{sentence, settings};
use crate::ledger;
use crate::output::{self, Column, Output, Row};

/// What `topics` is told.
#[derive(Args, Debug)]
pub(crate) struct TopicsFlags {
    #[command(subcommand)]
    what: TopicsCommand,
    #[command(flatten)]
    config: ConfigFlags,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value = "table")]
    output: Output,
}

/// What to do with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum TopicsCommand {
    /// Makes those that are not there, and registers the schemas where a registry is configured.
    /// Those that are there are left as they are, and checked.
    Create,
    /// Compares those that are there with what the ledger needs.
    Check,
    /// Lists those that are there.
    Describe,
}

/// A topic as it prints. The keys are a contract.
#[derive(Debug, Serialize)]
struct TopicRow {
    topic: String,
    partitions: Option<u32>,
    replication: Option<u32>,
    compacted: Option<bool>,
    /// None is for ever.
    retention_ms: Option<u64>,
    /// True where this call made it.
    created: bool,
    /// What of it won't do; none where all is well.
    off: Option<String>,
}

impl Row for TopicRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("topic"),
        Column::number("partitions"),
        Column::number("replication"),
        Column::text("kept"),
        Column::text(""),
    ];

    fn cells(&self) -> Vec<String> {
        let number =
            |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let kept = match (self.partitions, self.compacted, self.retention_ms) {
            (None, ..) => "-".to_owned(),
            (_, Some(true), _) => "the newest of each key".to_owned(),
            (_, _, None) => "for ever".to_owned(),
            (_, _, Some(ms)) => format!("{} hours", ms / 3_600_000),
        };
        let off = match (&self.off, self.created) {
            (Some(off), _) => format!("OFF: {off}"),
            (None, true) => "created".to_owned(),
            (None, false) => "ok".to_owned(),
        };
        let (partitions, replication) = (number(self.partitions), number(self.replication));
        vec![self.topic.clone(), partitions, replication, kept, off]
    }
}

pub(crate) fn run(flags: &TopicsFlags) -> Result<Ending, Failure> {
    let config = flags.config.said(None).and_then(Config::new).map_err(Failure::usage)?;
    let TopicsConfig::Kafka(kafka) = &config.topics else {
        return Err(Failure::Usage(anyhow::anyhow!(
            "topics.location: the embedded topics are made by `batchless run`; give \
             kafka://HOST:PORT"
        )));
    };
    let settings = settings(&config, kafka)?;
    let rows = block_on(rows(flags.what, &config, kafka, &settings))?;
    output::print_rows(flags.output, &rows)?;
    let off = rows.iter().filter_map(|row| Some((&row.topic, row.off.as_ref()?)));
    match (flags.what, off.into_iter().next()) {
        (_, None) | (TopicsCommand::Describe, _) => Ok(Ending::Well),
        (TopicsCommand::Check, Some(_)) => Ok(Ending::Findings),
        (TopicsCommand::Create, Some((topic, off))) => Err(Failure::Other(anyhow::anyhow!(
            "topics.prefix: {topic} is there already, and won't do: {off}; mend it with Kafka's own \
             tools, or give another prefix"
        ))),
    }
}

async fn rows(
    what: TopicsCommand,
    config: &Config,
    kafka: &KafkaConfig,
    settings: &Settings,
) -> anyhow::Result<Vec<TopicRow>> {
    if what == TopicsCommand::Describe {
        let there = admin::describe(settings).await.map_err(sentence)?;
        return Ok(there.iter().map(|it| row(&it.name, Some(it), false, None)).collect());
    }
    let layout = layout(config, settings).await?;
    let mut created = Vec::new();
    if what == TopicsCommand::Create {
        if let Some(registry) = &settings.registry {
            // Before any topic is made: what it refuses, it refuses for good.
            let registered = Ids::register(registry, &settings.prefix).await;
            registered.map_err(|error| sentence(error.into()))?;
        }
        created = admin::create(settings, layout, &policy(kafka)).await.map_err(sentence)?;
    }
    let off = admin::check(settings, layout).await.map_err(sentence)?;
    let there = admin::describe(settings).await.map_err(sentence)?;
    let row_of = |topic: Topic| {
        let found = there.iter().find(|it| it.topic == topic);
        let off: Vec<String> = off.iter().filter_map(|it| off_of(it, topic)).collect();
        let off = (!off.is_empty()).then(|| off.join("; "));
        let name = format!("{}{topic}", settings.prefix);
        row(&name, found, created.contains(&topic), off)
    };
    Ok(Topic::ALL.into_iter().map(row_of).collect())
}

fn row(name: &str, found: Option<&Description>, created: bool, off: Option<String>) -> TopicRow {
    let retention = found.and_then(|it| it.retention);
    TopicRow {
        topic: name.to_owned(),
        partitions: found.map(|it| it.partitions),
        replication: found.map(|it| it.replication),
        compacted: found.map(|it| it.is_compacted),
        retention_ms: retention.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
        created,
        off,
    }
}

/// What a finding says of a topic; none where it is about another.
fn off_of(finding: &Unusable, topic: Topic) -> Option<String> {
    match finding {
        Unusable::Missing { missing, .. } => {
            missing.contains(&topic).then(|| "it is not there".to_owned())
        }
        Unusable::Partitions { topic: of, expected, found, .. } => {
            (*of == topic).then(|| format!("expected {expected} partitions, found {found}"))
        }
        Unusable::Kept { topic: of, name, expected, found, .. } => {
            (*of == topic).then(|| format!("expected {name} {expected}, found {found}"))
        }
        // About none of them alone: at the first.
        other => (topic == Topic::Arrivals).then(|| other.to_string()),
    }
}

/// What the topics must be like: as the configuration says, else as they are, else by default.
async fn layout(config: &Config, settings: &Settings) -> anyhow::Result<Layout> {
    match KafkaLog::layout_in(settings).await {
        Ok(Some(found)) if !is_said(config) => Ok(found),
        Ok(_) | Err(Unusable::Missing { .. } | Unusable::Partitions { .. }) => {
            Ok(ledger::configured_layout(&config.ledger))
        }
        Err(error) => Err(sentence(error)).context("the topics can't be looked at"),
    }
}

/// Whether somebody said how many partitions there must be.
fn is_said(config: &Config) -> bool {
    config.ledger.shards.1 || config.ledger.file_partitions.1
}

fn policy(kafka: &KafkaConfig) -> Policy {
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    Policy {
        replication: kafka.replication,
        retention: kafka.retention_days.map(|days| DAY * days),
        ..Policy::default()
    }
}
