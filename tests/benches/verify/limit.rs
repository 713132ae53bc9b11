//! The floor: what inflating and hashing alone takes, with the fastest libraries there are here.

use std::io::Read as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use flate2::bufread::GzDecoder;
use sha2::Digest as _;
use sidetrail_archive::hash::Sha256;
use sirocco::Format;

/// Files that the libraries are compared on.
const SAMPLE: usize = 6;

type Inflate = fn(&[u8], &mut Vec<u8>) -> Result<()>;
type Hash = fn(&[u8]) -> [u8; 32];

/// What was measured.
pub(crate) struct Limit {
    pub(crate) time: Duration,
    pub(crate) libraries: String,
}

fn libdeflate(stored: &[u8], content: &mut Vec<u8>) -> Result<()> {
    let size = stored.last_chunk::<4>().context("no gzip")?;
    content.resize(u32::from_le_bytes(*size) as usize, 0);
    let size = libdeflater::Decompressor::new().gzip_decompress(stored, content);
    ensure!(size? == content.len(), "another size than the trailer says");
    Ok(())
}

fn zlib_rs(stored: &[u8], content: &mut Vec<u8>) -> Result<()> {
    content.clear();
    GzDecoder::new(stored).read_to_end(content)?;
    Ok(())
}

fn sirocco(stored: &[u8], content: &mut Vec<u8>) -> Result<()> {
    content.clear();
    sirocco::inflate::Reader::new(Format::Gzip, stored).read_to_end(content)?;
    Ok(())
}

fn ring(content: &[u8]) -> [u8; 32] {
    *Sha256::of(content).as_bytes()
}

fn sha2(content: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(content).into()
}

/// Inflates and hashes every file, on as many threads as there are cores, from memory.
pub(crate) fn measure(files: &[Vec<u8>], rounds: usize) -> Result<Limit> {
    let inflate: [(&str, Inflate); 3] =
        [("libdeflate", libdeflate), ("sirocco", sirocco), ("zlib-rs", zlib_rs)];
    let hash: [(&str, Hash); 2] = [("ring", ring), ("sha2", sha2)];
    let sample = &files[..SAMPLE.min(files.len())];
    let mut content = Vec::new();
    let mut best_inflate = (Duration::MAX, inflate[0]);
    for candidate in inflate {
        for _ in 0..rounds {
            let began = Instant::now();
            sample.iter().try_for_each(|stored| candidate.1(stored, &mut content))?;
            best_inflate = earlier(best_inflate, (began.elapsed(), candidate));
        }
    }
    let mut best_hash = (Duration::MAX, hash[0]);
    for candidate in hash {
        for _ in 0..rounds {
            let began = Instant::now();
            std::hint::black_box(candidate.1(&content));
            best_hash = earlier(best_hash, (began.elapsed(), candidate));
        }
    }
    let ((inflate_name, inflate), (hash_name, hash)) = (best_inflate.1, best_hash.1);
    let threads = std::thread::available_parallelism()?.get();
    let mut time = Duration::MAX;
    for _ in 0..rounds {
        let next = AtomicUsize::new(0);
        let began = Instant::now();
        std::thread::scope(|scope| {
            let work = || {
                let mut content = Vec::new();
                while let Some(stored) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    inflate(stored, &mut content)?;
                    std::hint::black_box(hash(&content));
                }
                anyhow::Ok(())
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
        })?;
        time = time.min(began.elapsed());
    }
    Ok(Limit { time, libraries: format!("{inflate_name} and {hash_name} on {threads} threads") })
}

fn earlier<T>(one: (Duration, T), other: (Duration, T)) -> (Duration, T) {
    if other.0 < one.0 { other } else { one }
}
