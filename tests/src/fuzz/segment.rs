//! A spool opens on any segment file, or says why not; what it then takes is there, and nothing comes twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sidetrail_spool::fs::{Access, Fs};
use sidetrail_spool::testing::MemoryFs;
use sidetrail_spool::{Item, MAX_META, Options, Position, Writer};

const DIRECTORY: &str = "/spool";
const HEADER: usize = 40;
const FRAME_HEADER: usize = 24;
const FRAME: [u8; 4] = [0xf5, b'S', b'T', b'F'];

fn options() -> Options {
    Options::new(1 << 20).with_segment_bytes(32 << 10).with_max_body(64 << 10).with_max_snapshot(4 << 10)
}

fn segment(number: u64) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{number:020}.seg"))
}

/// The first byte says whether the checksums are made right, the rest is the first segment of a log.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let write = |frames: &[(&[u8], &[u8])], synced: bool| {
        let fs = MemoryFs::default();
        let (mut writer, _) =
            Writer::open(Arc::new(fs.clone()), Path::new(DIRECTORY), options(), ()).expect("a spool");
        for (meta, body) in frames {
            writer.append(meta, body).expect("room");
            if synced {
                writer.sync().expect("memory");
            }
        }
        drop(writer);
        fs.content(&segment(1))
    };
    let long = vec![b'x'; 5_000];
    let mut inside = vec![0; 64];
    inside.extend(write(&[(b"m", b"inside")], true));
    let mut torn = write(&[(b"m", b"one"), (b"m", b"two"), (b"m", &long)], true);
    torn.truncate(torn.len() - 100);
    let mut recycled = write(&[(b"m", b"one")], true);
    recycled.extend_from_slice(&write(&[(b"old", b"one"), (b"old", b"two")], false)[HEADER..]);
    let files = [
        write(&[], true),
        write(&[(b"meta", b"body"), (b"", b""), (b"meta", &long)], true),
        write(&[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")], false),
        write(&[(b"m", &inside), (b"n", b"after")], true),
        torn,
        recycled,
    ];
    let modes = |file: &Vec<u8>| [0, 1].map(|mode| [&[mode], file.as_slice()].concat());
    files.iter().flat_map(modes).collect()
}

pub(super) fn check(input: &[u8]) {
    let Some((mode, file)) = input.split_first() else { return };
    let mut file = file.to_vec();
    if mode & 1 == 1 {
        make_right(&mut file);
    }
    let fs = MemoryFs::default();
    fs.create_dir(Path::new(DIRECTORY)).expect("memory");
    let created = fs.open(&segment(1), Access::Create).expect("memory");
    created.write_at(&file, 0).and_then(|()| created.sync()).expect("memory");
    fs.sync_dir(Path::new(DIRECTORY)).expect("memory");

    let open = || Writer::open(Arc::new(fs.clone()), Path::new(DIRECTORY), options(), ());
    let (mut writer, recovery) = match open() {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    writer.append(b"new", b"frame").expect("there is room");
    writer.sync().expect("memory");
    let before = read(&writer, file.len());
    assert_eq!(before.last().map(|(_, frame)| frame.clone()), Some((b"new".to_vec(), b"frame".to_vec())));
    assert!(before.len() as u64 > recovery.replayed, "what the ledger was told is not there");
    drop(writer);

    let (mut writer, again) = open().expect("it opened before");
    assert_eq!(again.cut, None, "what was synced was cut");
    assert_eq!(read(&writer, file.len()), before);
    writer.append(b"", b"").expect("there is room");
    writer.sync().expect("memory");
    assert_eq!(read(&writer, file.len()).len(), before.len() + 1);
}

/// The frames of the log, each with where the log goes on after it.
fn read(writer: &Writer<()>, size: usize) -> Vec<(Position, Frame)> {
    let mut reader = writer.reader(Position::START);
    let mut frames: Vec<(Position, Frame)> = Vec::new();
    let mut items = 0;
    loop {
        let frame = match reader.read().expect("memory") {
            None => return frames,
            Some(Item::Frame(frame)) => Some((frame.meta.to_vec(), frame.body.to_vec())),
            Some(Item::Damage(_)) => None,
        };
        items += 1;
        assert!(items <= size / FRAME_HEADER + 16, "more than fits");
        if let Some(frame) = frame {
            assert!(frame.0.len() <= MAX_META && frame.1.len() <= size + 16);
            let position = reader.position();
            assert!(frames.last().is_none_or(|(last, _)| *last < position), "the reader goes on");
            frames.push((position, frame));
        }
    }
}

/// Meta and body.
type Frame = (Vec<u8>, Vec<u8>);

/// Writes the right checksums over those that are there, wherever the lengths allow it.
fn make_right(file: &mut [u8]) {
    let seed = crc32c::crc32c(&1_u64.to_le_bytes());
    let put = |file: &mut [u8], at: usize, sum: u32| file[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    let word = |file: &[u8], at: usize| u32::from_le_bytes(std::array::from_fn(|i| file[at + i])) as usize;
    if file.len() < HEADER {
        return;
    }
    let first = HEADER.saturating_add(word(file, 12));
    if let Some(snapshot) = file.get(HEADER..first) {
        let sum = crc32c::crc32c_append(seed, snapshot);
        put(file, 32, sum);
    }
    let sum = crc32c::crc32c_append(seed, &file[..36]);
    put(file, 36, sum);
    let mut at = first;
    while at.saturating_add(FRAME_HEADER) <= file.len() {
        if file[at..at + 4] != FRAME {
            at += 1;
            continue;
        }
        let end = at
            .saturating_add(FRAME_HEADER)
            .saturating_add(word(file, at + 4))
            .saturating_add(word(file, at + 8));
        if let Some(payload) = file.get(at + FRAME_HEADER..end) {
            let sum = crc32c::crc32c_append(seed, payload);
            put(file, at + 16, sum);
        }
        let place = crc32c::crc32c_append(seed, &(at as u64).to_le_bytes());
        let sum = crc32c::crc32c_append(place, &file[at..at + 20]);
        put(file, at + 20, sum);
        at = if end <= file.len() { end } else { at + FRAME_HEADER };
    }
}
