//! Where the collector's CPU goes: each stage's own function, alone, on events like those that were sent.
//!
//! What runs alone has its caches to itself, so these are what the stages take at least. What a thread took beside them
//! is in the stage that is named for the rest of it.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use prost::Message as _;
use sidetrail_archive::hash::Sha256;
use sidetrail_archive::log::LogWriter;
use sidetrail_record::limits as record_limits;
use sidetrail_wire::ingest::unread::{DeliverRequest, deliver_request};
use sidetrail_wire::ingest::v1::Call;
use sidetrail_wire::{EventRef, PayloadRef};
use zstd::zstd_safe::CParameter;

use crate::events::Pool;
use crate::limits::cpu;

/// As many as in a batch of step 3, and batches to time.
const EVENTS: u64 = 500;
const BATCHES: u64 = 60;

/// A frame of a batch: what the spool packs at once. Level and sizes are the collector's.
const FRAME: usize = 500 * 1_153;
const PACK_LEVEL: i32 = 1;
const PACK: [CParameter; 2] = [CParameter::HashLog(13), CParameter::WindowLog(18)];

/// The least of so many tries.
const TRIES: usize = 3;

/// CPU seconds per million events.
#[derive(Debug, Default)]
pub(crate) struct Stages {
    decode: f64,
    render: f64,
    pack: f64,
    unpack: f64,
    gzip: f64,
    hash: f64,
}

/// Runs each stage on its own.
pub(crate) fn alone(pool: &Pool, files: &[Vec<u8>]) -> Result<Stages> {
    let batches: Vec<Bytes> =
        (0..BATCHES).map(|batch| pool.batch(1, batch * EVENTS + 1, EVENTS)).collect::<Result<_>>()?;
    let sent = (BATCHES * EVENTS) as f64;
    let decode = timed(sent, || {
        for batch in &batches {
            for event in events(batch)? {
                EventRef::read(&event)?;
            }
        }
        Ok(())
    })?;
    let calls = batches.iter().map(events).collect::<Result<Vec<_>>>()?;
    let mut text = Vec::new();
    let render = timed(sent, || {
        text.clear();
        calls.iter().flatten().try_for_each(|event| {
            let Some(PayloadRef::Call(call)) = EventRef::read(event)?.payload else { bail!("not a call") };
            let record = Call::read_record(&call).context("a call with members of no field")?;
            record_limits::write_whole(&record, &mut text).then_some(()).context("a call over a limit")
        })
    })?;

    // Content is what is stored: with the collector's own additions.
    let events = files.iter().map(Vec::len).sum::<usize>() as f64 / (FRAME as f64 / EVENTS as f64);
    let frames = || files.iter().flat_map(|file| file.chunks(FRAME));
    let mut packer = zstd::bulk::Compressor::new(PACK_LEVEL)?;
    PACK.into_iter().try_for_each(|parameter| packer.set_parameter(parameter))?;
    let mut packed = Vec::new();
    let pack = timed(events, || {
        packed.clear();
        for frame in frames() {
            packed.push((packer.compress(frame)?, frame.len()));
        }
        Ok(())
    })?;
    let mut unpacker = zstd::bulk::Decompressor::new()?;
    let unpack = timed(events, || {
        for (frame, size) in &packed {
            unpacker.decompress(frame, *size)?;
        }
        Ok(())
    })?;
    let mut digests = Vec::new();
    let hash = timed(events, || {
        digests.clear();
        digests.extend(files.iter().map(|file| Sha256::of(file)));
        Ok(())
    })?;
    let log = timed(events, || {
        for file in files {
            let mut log = LogWriter::new()?;
            // As one record each: they are not parsed.
            file.chunks(FRAME).try_for_each(|frame| log.push_joined(frame, 1))?;
            log.finish()?;
        }
        Ok(())
    })?;
    Ok(Stages { decode, render, pack, unpack, gzip: log - hash, hash })
}

fn events(batch: &Bytes) -> Result<Vec<Bytes>> {
    let message = DeliverRequest::decode(batch.clone())?.message;
    let Some(deliver_request::Message::Batch(batch)) = message else { bail!("not a batch") };
    Ok(batch.events)
}

impl Stages {
    /// All stages by name, with what the threads of intake, spool and trail took beside them.
    pub(crate) fn within(&self, intake: f64, spool: f64, trail: f64) -> [(&'static str, f64); 9] {
        let Self { decode, render, pack, unpack, gzip, hash } = *self;
        [
            ("receive", intake - decode - render - pack),
            ("decode", decode),
            ("render", render),
            ("pack", pack),
            ("spool", spool),
            ("unpack", unpack),
            ("gzip", gzip),
            ("hash", hash),
            ("ship", trail - unpack - gzip - hash),
        ]
    }
}

/// CPU seconds per million events of work on so many.
fn timed(events: f64, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut least = f64::MAX;
    for _ in 0..TRIES {
        let began = cpu();
        work()?;
        least = least.min(cpu() - began);
    }
    Ok(least * 1e6 / events)
}
