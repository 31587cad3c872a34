//! The topics of a ledger on Kafka: made, checked, described.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use schemas::Topic;

use super::connect::Cluster;
use super::error::refused;
use super::{Names, Settings, Unusable, asked, config, fault, outage};
use crate::{Error, Layout};

/// How long `commands` are kept: the weeks in which somebody may want to know who ordered what,
/// or a file that was held is released.
const COMMANDS_KEPT: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// How long the cluster may take to do what it is asked.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the topics are made like, besides their number of partitions.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// How many copies of each partition there are; none leaves it to the broker.
    pub replication: Option<u16>,
    /// How long `records` and `rejects` are kept; none is for ever.
    pub retention: Option<Duration>,
    /// More settings of each topic, in Kafka's words. For tests.
    #[doc(hidden)]
    pub extra: Vec<(String, String)>,
}

/// A topic as the broker has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Which.
    pub topic: Topic,
    /// Its name on the broker.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// How many copies of each.
    pub replication: u32,
    /// Whether all but the newest message of a key may go.
    pub is_compacted: bool,
    /// How long messages are kept; none is for ever.
    pub retention: Option<Duration>,
}

/// Makes the topics that are not there yet, and gives which those were. Those that are there are
/// left as they are: [`check`] says whether they will do.
///
/// # Errors
///
/// [`Unusable`].
pub async fn create(
    settings: &Settings,
    layout: Layout,
    policy: &Policy,
) -> Result<Vec<Topic>, Unusable> {
    let there = topics(settings).await?;
    let missing: Vec<Topic> = Topic::ALL.into_iter().filter(|it| !there.contains_key(it)).collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let client = Client::new(settings)?;
    let names = Names::new(&settings.prefix, layout);
    let replication = policy.replication.map_or(-1, i32::from);
    let kept: Vec<Vec<(&str, String)>> = missing.iter().map(|&it| kept(it, policy)).collect();
    let new = missing.iter().zip(&kept).map(|(&topic, kept)| {
        let partitions = i32::try_from(layout.partitions(topic)).unwrap_or(i32::MAX);
        let replication = TopicReplication::Fixed(replication);
        let all = kept.iter().map(|(name, value)| (*name, value.as_str()));
        let extra = policy.extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let new = NewTopic::new(names.of(topic), partitions, replication);
        all.chain(extra).fold(new, |new, (name, value)| new.set(name, value))
    });
    let new: Vec<NewTopic<'_>> = new.collect();
    let made = client.0.create_topics(&new, &Client::patience()).await;
    let mut created = Vec::new();
    for (made, &topic) in made.map_err(lasting("the making of topics"))?.into_iter().zip(&missing) {
        match made {
            Ok(_) => created.push(topic),
            // Somebody else was faster.
            Err((_, Code::TopicAlreadyExists)) => (),
            Err((name, code)) => {
                let what = format!("topic {name} could not be made");
                return Err(fault::error(what, KafkaError::AdminOp(code)).into());
            }
        }
    }
    until(settings, "the new topics to be there", |there| {
        Topic::ALL.iter().all(|topic| there.contains_key(topic))
    })
    .await?;
    Ok(created)
}

/// What of the topics won't do for this layout: nothing where all is well.
///
/// # Errors
///
/// [`Unusable`] where it can't be asked.
pub async fn check(settings: &Settings, layout: Layout) -> Result<Vec<Unusable>, Unusable> {
    let there = topics(settings).await?;
    let mut misfits = super::connect::misfits(&settings.prefix, layout, &there);
    let described = Client::new(settings)?.describe(settings, &there).await?;
    for (topic, has) in described {
        for &(name, expected) in must_be_kept(topic) {
            let found = has.get(name).cloned().unwrap_or_default();
            if found != expected {
                let (prefix, expected) = (settings.prefix.clone(), expected.to_owned());
                misfits.push(Unusable::Kept { prefix, topic, name, expected, found });
            }
        }
    }
    Ok(misfits)
}

/// The topics of the ledger that are there, in the order data flows.
///
/// # Errors
///
/// [`Unusable`].
pub async fn describe(settings: &Settings) -> Result<Vec<Description>, Unusable> {
    let there = topics(settings).await?;
    let described = Client::new(settings)?.describe(settings, &there).await?;
    let one = |(topic, (partitions, replication)): (Topic, (u32, u32))| {
        let of = |name: &str| described.get(&topic).and_then(|has| has.get(name));
        let retention_ms = of("retention.ms").and_then(|it| it.parse::<u64>().ok());
        let is_compacted = of("cleanup.policy").is_some_and(|it| it.contains("compact"));
        let is_deleted = of("cleanup.policy").is_none_or(|it| it.contains("delete"));
        Description {
            topic,
            name: format!("{}{topic}", settings.prefix),
            partitions,
            replication,
            is_compacted,
            retention: retention_ms.filter(|_| is_deleted).map(Duration::from_millis),
        }
    };
    Ok(there.into_iter().map(one).collect())
}

/// Deletes the topics with this prefix, with all that is in them. For tests.
///
/// # Errors
///
/// [`Unusable`].
#[doc(hidden)]
pub async fn delete(settings: &Settings) -> Result<(), Unusable> {
    let there = topics(settings).await?;
    let names: Vec<String> =
        there.keys().map(|topic| format!("{}{topic}", settings.prefix)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let client = Client::new(settings)?;
    client
        .0
        .delete_topics(&names, &Client::patience())
        .await
        .map_err(lasting("the deletion of topics"))?;
    until(settings, "the topics to be gone", |there| there.is_empty()).await
}

/// What a topic is made with.
fn kept(topic: Topic, policy: &Policy) -> Vec<(&'static str, String)> {
    let ms = |kept: Option<Duration>| kept.map_or("-1".to_owned(), |it| it.as_millis().to_string());
    let mut kept = vec![("max.message.bytes", config::MESSAGE_BYTES_MAX.to_string())];
    if topic.is_compacted() {
        kept.push(("cleanup.policy", "compact".to_owned()));
        return kept;
    }
    let retention = match topic {
        Topic::Commands => Some(COMMANDS_KEPT),
        Topic::Records | Topic::Rejects => policy.retention,
        _ => None,
    };
    kept.push(("cleanup.policy", "delete".to_owned()));
    kept.push(("retention.ms", ms(retention)));
    // A limit of the broker's would take away what is younger.
    kept.push(("retention.bytes", "-1".to_owned()));
    kept
}

/// Without which a topic loses what it must not.
fn must_be_kept(topic: Topic) -> &'static [(&'static str, &'static str)] {
    match topic {
        Topic::Arrivals | Topic::Files => &[("cleanup.policy", "compact")],
        Topic::Postings => {
            &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")]
        }
        Topic::Commands | Topic::Records | Topic::Rejects => &[("cleanup.policy", "delete")],
    }
}

/// How many partitions and copies our topics have, of those that are there.
async fn topics(settings: &Settings) -> Result<BTreeMap<Topic, (u32, u32)>, Unusable> {
    let settings = settings.clone();
    asked(move || Cluster::reach(&settings)?.topics()).await
}

/// Waits until the cluster says so of our topics.
async fn until(
    settings: &Settings,
    what: &str,
    is_so: impl Fn(&BTreeMap<Topic, (u32, u32)>) -> bool,
) -> Result<(), Unusable> {
    let end = Instant::now() + PATIENCE;
    while !is_so(&topics(settings).await?) {
        if end < Instant::now() {
            return Err(fault::retry(format!("the cluster took too long for {what}")).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A client that orders.
struct Client(AdminClient<Silent>);

/// Its errors come back from its calls.
struct Silent;

impl ClientContext for Silent {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        outage::log(level, facility, line);
    }

    fn error(&self, _: KafkaError, _: &str) {}
}

impl Client {
    fn new(settings: &Settings) -> Result<Self, Unusable> {
        let config = config::observer(settings);
        AdminClient::from_config_and_context(&config, Silent).map(Self).map_err(refused)
    }

    fn patience() -> AdminOptions {
        AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
    }

    /// The settings of these topics.
    async fn describe(
        &self,
        settings: &Settings,
        topics: &BTreeMap<Topic, (u32, u32)>,
    ) -> Result<BTreeMap<Topic, BTreeMap<String, String>>, Unusable> {
        let names: Vec<String> =
            topics.keys().map(|topic| format!("{}{topic}", settings.prefix)).collect();
        let asked: Vec<ResourceSpecifier<'_>> =
            names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let what = "the settings of topics";
        // Nothing is asked without a topic: the client refuses that.
        if asked.is_empty() {
            return Ok(BTreeMap::new());
        }
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let found = self.0.describe_configs(&asked, &options).await.map_err(lasting(what))?;
        let mut described = BTreeMap::new();
        for one in found {
            let one = one.map_err(|code| fault::error(what, KafkaError::AdminOp(code)))?;
            if let Some(topic) = topic_of(&one, &settings.prefix) {
                let entries = one.entries.into_iter();
                let entries = entries.map(|it| (it.name, it.value.unwrap_or_default())).collect();
                described.insert(topic, entries);
            }
        }
        Ok(described)
    }
}

fn topic_of(resource: &ConfigResource, prefix: &str) -> Option<Topic> {
    match &resource.specifier {
        OwnedResourceSpecifier::Topic(name) => Topic::from_name(name.strip_prefix(prefix)?),
        _ => None,
    }
}

fn lasting(what: &'static str) -> impl Fn(KafkaError) -> Error {
    move |error| fault::error(what, error)
}
