//! `sidetrail send`: log files and NDJSON to a collector, by the protocol that layers speak.
//!
//! A thread reads and checks ([`read`]); what it finds is numbered in a bounded [`window`], which keeps every record until
//! the collector says that it is on disk; a [`session`] is one connection, and [`delivery`] goes on over as many as it
//! takes.

mod delivery;
mod read;
mod record;
mod session;
mod window;

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use sidetrail_wire::ingest::v1::{Hello, PROTOCOL_VERSION};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use self::delivery::{Delivery, Tally};
use crate::arguments::Send;
use crate::exit::Exit;
use crate::print::{self, chain, complain, count};
use crate::progress;

/// Records that reading may be ahead of sending; with 256 KiB each this is 16 MiB.
const READ_AHEAD: usize = 64;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    files: u64,
    failed_files: u64,
    acked: u64,
    refused: u64,
    /// Records that were read and that the collector did not ack: nobody knows whether it has them.
    unacked: u64,
    gave_up: bool,
}

pub(crate) fn run(arguments: Send) -> Result<Exit> {
    let Send { files, collector, tls: _, service, instance, timeout, json } = arguments;
    let started = Instant::now();
    let agent = concat!("sidetrail-cli/", env!("CARGO_PKG_VERSION")).to_owned();
    let source = new_source()?.to_vec().into();
    let hello = Hello { protocol_version: PROTOCOL_VERSION, source, service, instance, agent };
    let runtime =
        Builder::new_current_thread().enable_all().build().context("could not start the runtime")?;

    let files_count = files.len() as u64;
    let (tell, found) = mpsc::channel(READ_AHEAD);
    // It is not waited for: if sending gives up, it may still be waiting for its standard input.
    std::thread::Builder::new()
        .name("read".to_owned())
        .spawn(move || read::all(&files, &tell))
        .context("could not start a thread")?;
    let bar = progress::spinner("{spinner} {human_pos} records on disk, {rate} {msg}");
    let mut delivery = Delivery::new(collector, hello, timeout, found, bar);
    let delivered = runtime.block_on(delivery.run());
    delivery.bar.finish_and_clear();

    let Tally { acked, refused, failed_files } = delivery.tally;
    let (unacked, gave_up) = (delivery.window.len(), delivered.is_err());
    if let Err(error) = &delivered {
        complain(format_args!("{}", chain(&**error)));
    }
    let summary = Summary { files: files_count, failed_files, acked, refused, unacked, gave_up };
    if json {
        let json = serde_json::to_string(&summary).context("could not write the summary as JSON")?;
        print::out(format_args!("{json}\n"))?;
    } else if !gave_up {
        print::out(format_args!("{}\n", text(&summary, started.elapsed().as_secs_f64())))?;
    }
    Ok(if gave_up { Exit::CouldNot } else { delivery.exit })
}

fn text(summary: &Summary, seconds: f64) -> String {
    let Summary { files, failed_files, acked, refused, .. } = summary;
    let (records, files) = (count(*acked, "record"), count(*files, "file"));
    let mut text = format!("sent {records} from {files}, all acked, {refused} refused");
    if *failed_files > 0 {
        text.push_str(&format!(", {} not read to the end", count(*failed_files, "file")));
    }
    format!("{text}, in {seconds:.1} s")
}

/// One run of one sender: a random UUID, version 4.
fn new_source() -> Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).context("could not draw a random number")?;
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_random_uuids() {
        let (one, other) = (new_source().unwrap(), new_source().unwrap());
        assert_ne!(one, other);
        assert_eq!((one[6] >> 4, one[8] >> 6), (4, 2));
    }

    #[test]
    fn the_summary_says_what_was_refused() {
        let mut summary =
            Summary { files: 2, failed_files: 0, acked: 1, refused: 0, unacked: 0, gave_up: false };
        assert_eq!(text(&summary, 0.26), "sent 1 record from 2 files, all acked, 0 refused, in 0.3 s");
        summary.failed_files = 1;
        assert!(text(&summary, 0.0).contains("0 refused, 1 file not read to the end"));
    }
}
