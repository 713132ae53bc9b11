//! What this machine can do at best, for comparison: its disk, and the work that nobody can avoid.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use flate2::Compression;
use flate2::write::GzEncoder;
use libdeflater::{CompressionLvl, Compressor};
use rustix::time::{ClockId, clock_gettime};
use sidetrail_archive::hash::Sha256;
use sirocco::Format;
use sirocco::deflate::Level;

const SYNCS: usize = 1_000;
const APPEND: usize = 64 << 10;

/// What a batch of the paced load is on disk, about.
const FRAME: usize = 8 << 10;

/// The least of so many tries.
const TRIES: usize = 3;

/// CPU seconds per million events.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) gzip3: f64,
    pub(crate) sha256: f64,
    /// What, CPU seconds, bytes out per byte in.
    table: Vec<(String, f64, f64)>,
}

/// How long an append of 64 KiB and its fdatasync take, one right after the other, sorted. A machine that is kept awake
/// like this answers sooner than one that has something to do every 10 ms.
pub(crate) fn fdatasync(directory: &Path) -> Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut times = Vec::with_capacity(SYNCS);
    for number in 0..SYNCS {
        let bytes = vec![number as u8; APPEND];
        let began = Instant::now();
        append(&mut file, &bytes)?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

/// The same for appends of a frame's size, one due at each beat, while `work` goes on. Time counts from when it is due, as it
/// does for a batch: what falls due during a sync waits for it, and goes into the next one.
pub(crate) fn fdatasync_while<T: Send>(
    directory: &Path,
    beat: Duration,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<(Vec<Duration>, T)> {
    let mut file = tempfile::tempfile_in(directory)?;
    thread::scope(|scope| {
        let worker = scope.spawn(work);
        let mut times = Vec::new();
        let mut due = Instant::now();
        while !worker.is_finished() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let began = Instant::now();
            let mut waiting = Vec::new();
            while due <= began {
                waiting.push(due);
                due += beat;
            }
            append(&mut file, &vec![1; FRAME * waiting.len()])?;
            times.extend(waiting.iter().map(Instant::elapsed));
        }
        times.sort_unstable();
        Ok((times, worker.join().map_err(|_| anyhow!("the work panicked"))??))
    })
}

fn append(file: &mut File, bytes: &[u8]) -> Result<()> {
    file.write_all(bytes)?;
    Ok(file.sync_data()?)
}

/// Compression and hashing of log files' content, scaled to a million events of this size.
pub(crate) fn of_content(files: &[Vec<u8>], bytes_per_event: f64) -> Result<Limits> {
    let size: usize = files.iter().map(Vec::len).sum();
    let events = size as f64 / bytes_per_event;
    let mut table = Vec::new();
    let mut measure = |name: &str, work: &dyn Fn(&[u8]) -> Result<usize>| -> Result<f64> {
        let mut least = f64::MAX;
        let mut out = 0;
        for _ in 0..TRIES {
            let began = cpu();
            out = files.iter().map(|file| work(file)).sum::<Result<usize>>()?;
            least = least.min(cpu() - began);
        }
        let seconds = least * 1e6 / events;
        table.push((name.to_owned(), seconds, out as f64 / size as f64));
        Ok(seconds)
    };
    let gzip = |level| {
        move |content: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(content)?;
            Ok(encoder.finish()?.len())
        }
    };
    for level in [1, 2, 4, 6] {
        measure(&format!("gzip {level}"), &gzip(level))?;
    }
    let gzip3 = measure("gzip 3", &gzip(3))?;
    for level in 1..=3 {
        measure(&format!("sirocco {level}"), &|content| {
            let mut encoder = sirocco::deflate::Writer::new(Format::Gzip, Level::new(level), Vec::new());
            encoder.write_all(content)?;
            Ok(encoder.finish()?.len())
        })?;
    }
    for number in [1, 3] {
        let level = CompressionLvl::new(number).map_err(|error| anyhow!("libdeflate: {error:?}"))?;
        let compressor = RefCell::new(Compressor::new(level));
        measure(&format!("libdeflate {number}"), &|content| {
            let mut compressor = compressor.borrow_mut();
            let mut file = vec![0; compressor.gzip_compress_bound(content.len())];
            compressor.gzip_compress(content, &mut file).map_err(|error| anyhow!("libdeflate: {error}"))
        })?;
    }
    measure("zstd 1, 1 MiB blocks", &|content| {
        let blocks = content.chunks(1 << 20);
        blocks.map(|block| Ok(zstd::bulk::compress(block, 1)?.len())).sum()
    })?;
    let sha256 = measure("SHA-256", &|content| Ok(Sha256::of(content).as_bytes().len()))?;
    Ok(Limits { gzip3, sha256, table })
}

impl Limits {
    pub(crate) fn print(&self) {
        eprintln!("this machine's own, CPU-s per million and bytes out per byte in:");
        for (name, seconds, ratio) in &self.table {
            eprintln!("  {name:<20} {seconds:.2}  {ratio:.4}");
        }
    }
}

/// This thread's CPU seconds.
pub(crate) fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
