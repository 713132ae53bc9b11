//! What the server has besides events: `sidetrail trails`, `collectors` and `whoami`.

mod collectors;
mod trails;

use std::io::{self, IsTerminal};

use anyhow::{Context, Result};
use clap::Args;
use sidetrail_api::shape::{
    COLLECTORS_PATH, CollectorsInput, CollectorsOutput, WHO_AM_I_PATH, WhoAmIInput, WhoAmIOutput,
};
use tokio::runtime::{Builder, Runtime};

pub(crate) use self::trails::{Trails, trails};
use crate::client::{Client, Endpoint};
use crate::exit::Exit;
use crate::print::{out, printable};

/// Where, and in which form the answer is wanted.
#[derive(Debug, Args)]
pub(crate) struct Asking {
    #[command(flatten)]
    endpoint: Endpoint,
    /// Print JSON, also on a terminal.
    #[arg(long)]
    json: bool,
}

impl Asking {
    fn client(&self) -> Result<Client> {
        self.endpoint.client(&|name| std::env::var(name).ok())
    }

    fn json(&self) -> bool {
        self.json || !io::stdout().is_terminal()
    }
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start")
}

#[derive(Debug, Args)]
pub(crate) struct Collectors {
    #[command(flatten)]
    asking: Asking,
    /// Those of all regions that the server serves.
    #[arg(long)]
    all_regions: bool,
}

pub(crate) fn collectors(arguments: &Collectors) -> Result<Exit> {
    let (client, json) = (arguments.asking.client()?, arguments.asking.json());
    let input = CollectorsInput { all_regions: arguments.all_regions };
    let CollectorsOutput { collectors } = runtime()?.block_on(client.post(COLLECTORS_PATH, &input))?;
    for collector in &collectors {
        if json {
            out(format_args!("{}\n", serde_json::to_string(collector)?))?;
        } else {
            out(format_args!("{}", collectors::text(collector)))?;
        }
    }
    Ok(if collectors.iter().any(collectors::is_wrong) { Exit::Wrong } else { Exit::Done })
}

#[derive(Debug, Args)]
pub(crate) struct Whoami {
    #[command(flatten)]
    asking: Asking,
}

pub(crate) fn who_am_i(arguments: &Whoami) -> Result<Exit> {
    let client = arguments.asking.client()?;
    let answer: WhoAmIOutput = runtime()?.block_on(client.post(WHO_AM_I_PATH, &WhoAmIInput {}))?;
    if arguments.asking.json() {
        out(format_args!("{}\n", serde_json::to_string(&answer)?))?;
        return Ok(Exit::Done);
    }
    let regions = answer.regions.join(", ");
    for (name, value) in [
        ("user", &answer.arn),
        ("account", &answer.account),
        ("role", &answer.role),
        ("access key", &answer.access_key),
        ("region", &answer.region),
        ("regions", &regions),
        ("server", &answer.server),
    ] {
        out(format_args!("{name:<11} {}\n", printable(value)))?;
    }
    Ok(Exit::Done)
}
