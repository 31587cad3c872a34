//! `batchless config check | show | schema`.

use super::{Ending, Failure, print};
use crate::args::{ConfigCommand, ConfigFlags};
use crate::config::engines::Place;
use crate::config::{self, Config};

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
            let feeds: Vec<&str> = config.feeds.iter().map(|feed| feed.name.as_str()).collect();
            let list = if feeds.is_empty() { "none".to_owned() } else { feeds.join(", ") };
            print(&format!("the configuration can be used; feeds: {list}\n"))?;
        }
        ConfigCommand::Show(flags) => print(&load(flags)?.to_toml(true))?,
        ConfigCommand::Schema => print(&config::schema())?,
    }
    Ok(Ending::Well)
}

fn load(flags: &ConfigFlags) -> Result<Config, Failure> {
    flags.said(None).and_then(Config::new).map_err(Failure::usage)
}
