//! `batchless config check | show | schema`.

use anyhow::Context as _;

use super::{Ending, Failure, print};
use crate::args::{ConfigCommand, ConfigFlags};
use crate::config::engines::{Place, StoreConfig, TopicsConfig};
use crate::config::{self, Config};
use crate::data::configured_key;
use crate::engine;

pub(crate) fn run(what: &ConfigCommand) -> Result<Ending, Failure> {
    match what {
        ConfigCommand::Check(flags) => {
            let config = load(flags)?;
            for feed in &config.feeds {
                let Place::Folder(path) = &feed.place else { continue };
                if !path.is_dir() {
                    let folder = path.display();
                    return Err(Failure::Usage(anyhow::anyhow!(
                        "feed {}: {folder} is no folder; create it, or give another location",
                        feed.name
                    )));
                }
            }
            check_servers(&config).map_err(Failure::usage)?;
            let feeds: Vec<&str> = config.feeds.iter().map(|feed| feed.name.as_str()).collect();
            let list = if feeds.is_empty() { "none".to_owned() } else { feeds.join(", ") };
            print(&format!("the configuration can be used; feeds: {list}\n"))?;
        }
        ConfigCommand::Show(flags) => print(&load(flags)?.to_toml(true))?,
        ConfigCommand::Schema => print(&config::schema())?,
    }
    Ok(Ending::Well)
}

/// What can be known of servers without asking one: secrets and certificates can be read, and S3 is
/// set up so that it can be spoken to.
fn check_servers(config: &Config) -> anyhow::Result<()> {
    let is_server = !config.topics.is_embedded() || !config.store.is_embedded();
    match is_server {
        true => drop(crate::ledger::key(config, None)?),
        false => drop(configured_key(config)?),
    }
    let mut files = Vec::new();
    if let TopicsConfig::Kafka(kafka) = &config.topics {
        engine::kafka::settings(config, kafka)?;
        files.push(("topics.tls_ca_file", kafka.ca_file.as_ref()));
        let own = kafka.certificate.as_ref();
        files.push(("topics.tls_certificate_file", own.map(|(certificate, _)| certificate)));
        files.push(("topics.tls_key_file", own.map(|(_, key)| key)));
    }
    if let StoreConfig::Postgres(store) = &config.store {
        config.secret("store.password")?;
        let ca_file = store.tls.as_ref().and_then(|tls| tls.ca_file.as_ref());
        files.push(("store.tls_ca_file", ca_file));
    }
    for (name, file) in files {
        let Some(file) = file else { continue };
        std::fs::File::open(file)
            .with_context(|| format!("{name}: {} can't be read", file.display()))?;
    }
    crate::owners::feeds(config)?;
    Ok(())
}

fn load(flags: &ConfigFlags) -> Result<Config, Failure> {
    flags.said(None).and_then(Config::new).map_err(Failure::usage)
}
