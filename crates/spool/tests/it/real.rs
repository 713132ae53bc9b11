//! Once through everything on the real file system.

use std::sync::Arc;

use sidetrail_spool::{
    Bounds, Committer, Entry, Error, Hooks, Item, OsFs, Position, Writer, durable,
    fs::{Access, Fs},
};

use crate::driver::{body, meta, sequence, small};

#[test]
fn write_read_release_and_open_again() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("made").join("here");
    let open = || Writer::open(Arc::new(OsFs), &dir, small(), crate::driver::Sequence::default());
    let (mut next, mut read) = (1, 0);
    for round in 0..4 {
        let (writer, recovery) = open().unwrap();
        assert_eq!((recovery.cut, recovery.lost, recovery.rebuilt), (None, false, false), "round {round}");
        assert_eq!(writer.ledger().last + 1, next);
        assert!(matches!(open(), Err(Error::Locked { .. })));
        let committer = Committer::start(writer, Bounds::default(), Hooks::default()).unwrap();
        for sequence in next..next + 30 {
            let entry = Entry { meta: meta(sequence).to_vec(), body: body(sequence) };
            committer.append_blocking(entry, |result| assert!(result.is_ok(), "{result:?}")).unwrap();
        }
        next += 30;
        let cursors = committer.cursors();
        let from = cursors.get("main").unwrap().map_or(Position::START, |cursor| cursor.position);
        let mut reader = committer.reader(from);
        committer.shutdown();
        while let Some(item) = reader.read().unwrap() {
            let Item::Frame(frame) = item else { panic!("{item:?}") };
            read += 1;
            assert_eq!((sequence(frame.meta), frame.body), (read, &*body(read)));
        }
        assert_eq!(read, next - 1);
        cursors.set("main", reader.position(), b"plan").unwrap();
        open().unwrap().0.release().unwrap();
    }
    let spares = OsFs.list(&dir).unwrap().into_iter().filter(|file| file.name.ends_with(".spare")).count();
    assert!((1..=2).contains(&spares));
}

#[test]
fn replace_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plan");
    for content in ["first", "", "the third is longer"] {
        durable::replace(&OsFs, &path, content.as_bytes()).unwrap();
        let file = OsFs.open(&path, Access::Read).unwrap();
        assert_eq!(file.size().unwrap(), content.len() as u64);
    }
    assert_eq!(OsFs.list(dir.path()).unwrap().len(), 1);
    let error = durable::replace(&OsFs, &dir.path().join("no/plan"), b"").unwrap_err();
    assert!(error.to_string().ends_with("no/plan.tmp"), "{error}");
}
