//! How fast this disk takes frames: `cargo run --release --example throughput -- DIR [MIB] [BODY BYTES]`.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::{env, error::Error, path::PathBuf, sync::Arc, time::Instant};

use sidetrail_spool::{Bounds, Committer, Entry, Hooks, Item, Options, OsFs, Position, Writer};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let mib: u64 = arguments.next().map_or(Ok(256), |it| it.parse())?;
    let body: usize = arguments.next().map_or(Ok(1024), |it| it.parse())?;
    let frames = (mib << 20) / body as u64;

    let start = Instant::now();
    let (mut writer, _) = Writer::open(Arc::new(OsFs), &dir, Options::new(4 << 30), ())?;
    println!("open {:?}", start.elapsed());

    let singles = 200;
    let start = Instant::now();
    for _ in 0..singles {
        writer.append(b"meta", &vec![1; body])?;
        writer.sync()?;
    }
    println!("one append and sync {:?}", start.elapsed() / singles);

    // The consumer follows at once, so that segments are recycled as with a healthy bucket.
    let cursors = writer.cursors();
    cursors.set("main", writer.end(), b"")?;
    let from = writer.end();
    let committer = Committer::start(writer, Bounds::default(), Hooks::default())?;
    let (start, mut segment) = (Instant::now(), from.segment);
    for _ in 0..frames {
        let entry = Entry { meta: b"meta".to_vec(), body: vec![1; body] };
        committer.append_blocking(entry, |result| {
            if let Err(error) = result {
                eprintln!("{error}");
            }
        })?;
        let durable = committer.durable();
        if durable.segment > segment + 1 {
            segment = durable.segment;
            cursors.set("main", Position::new(segment, 0), b"")?;
            committer.release();
        }
    }
    let mut reader = committer.reader(Position::new(segment, 0));
    committer.shutdown();
    let seconds = start.elapsed().as_secs_f64();
    println!("{frames} frames, {:.0} frames/s, {:.0} MiB/s", frames as f64 / seconds, mib as f64 / seconds);

    let (start, mut bytes) = (Instant::now(), 0);
    while let Some(item) = reader.read()? {
        match item {
            Item::Frame(frame) => bytes += frame.body.len(),
            Item::Damage(damage) => eprintln!("{damage}"),
        }
    }
    println!("read {:.0} MiB/s", bytes as f64 / start.elapsed().as_secs_f64() / f64::from(1 << 20));
    Ok(())
}
