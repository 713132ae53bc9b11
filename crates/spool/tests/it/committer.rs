//! Many threads, one log.

use std::{
    io::ErrorKind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use sidetrail_spool::{Appended, Bounds, Committer, Entry, Error, Hooks, Item, Kind, Position, TryAppend};

use crate::{
    driver::{Sequence, body, meta, open, sequence, small},
    memory::{Fault, MemoryFs, Op},
};

fn entry(sequence: u64) -> Entry {
    Entry { meta: meta(sequence).to_vec(), body: body(sequence) }
}

fn start(fs: &MemoryFs, bounds: Bounds, hooks: Hooks) -> Committer<Sequence> {
    Committer::start(open(fs, small()).unwrap().0, bounds, hooks).unwrap()
}

type Answers = Arc<Mutex<Vec<(u64, Result<Appended, Error>)>>>;

fn send(committer: &Committer<Sequence>, answers: &Answers, sequence: u64) {
    let answers = Arc::clone(answers);
    committer
        .append_blocking(entry(sequence), move |result| answers.lock().unwrap().push((sequence, result)))
        .unwrap();
}

#[test]
fn answers_come_in_order_and_after_the_sync() {
    let fs = MemoryFs::default();
    let durable = Arc::new(Mutex::new(Position::START));
    let heard = Arc::clone(&durable);
    let hooks = Hooks { durable: Box::new(move |mark| *heard.lock().unwrap() = mark), ..Hooks::default() };
    let committer = start(&fs, Bounds { bytes: 2000, entries: 10 }, hooks);
    let answers = Answers::default();
    for sequence in 1..=30 {
        send(&committer, &answers, sequence);
    }
    send(&committer, &answers, 7);
    send(&committer, &answers, 99);
    committer.shutdown();
    let answers = std::mem::take(&mut *answers.lock().unwrap());
    let order: Vec<u64> = answers.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(order, (1..=30).chain([7, 99]).collect::<Vec<_>>());
    assert!(answers[..30].iter().all(|(_, result)| matches!(result, Ok(Appended::Written(_)))));
    assert!(matches!(answers[30].1, Ok(Appended::AlreadyHave)));
    assert!(matches!(answers[31].1, Err(Error::Refused { .. })));
    assert_eq!(*durable.lock().unwrap(), committer.durable());

    let mut reader = committer.reader(Position::START);
    let mut read = 0;
    while let Some(Item::Frame(frame)) = reader.read().unwrap() {
        read += 1;
        assert_eq!(sequence(frame.meta), read);
    }
    assert_eq!((read, reader.position()), (30, committer.durable()));
    assert!(matches!(committer.append(entry(31), |_| {}), TryAppend::Closed(_, _)));
    assert!(matches!(committer.append_blocking(entry(31), |_| {}), Err(Error::Closed)));
    assert_eq!(open(&fs, small()).unwrap().0.ledger().last, 30, "the lock is free");
}

/// The thread is held in a callback, so what is queued stays queued.
#[test]
fn the_queue_is_bounded_and_says_when_it_is_not_full_any_more() {
    let fs = MemoryFs::default();
    let (room, has_room) = mpsc::sync_channel(8);
    let hooks = Hooks { room: Box::new(move || room.send(()).unwrap()), ..Hooks::default() };
    let committer = start(&fs, Bounds { bytes: 1 << 20, entries: 3 }, hooks);
    let (entered, is_in) = mpsc::sync_channel(8);
    let (go, wait) = mpsc::sync_channel::<()>(8);
    let hold = move |_: Result<Appended, Error>| {
        entered.send(()).unwrap();
        wait.recv().unwrap();
    };
    assert!(matches!(committer.append(entry(1), hold), TryAppend::Queued));
    is_in.recv().unwrap();
    for sequence in 2..=4 {
        assert!(matches!(committer.append(entry(sequence), |_| {}), TryAppend::Queued));
    }
    let TryAppend::Full(back, done) = committer.append(entry(5), |_| {}) else { panic!("not full") };
    assert_eq!(back, entry(5));
    assert!(matches!(committer.inspect(|_| {}), Err(Error::Busy)));
    go.send(()).unwrap();
    has_room.recv().unwrap();
    assert!(matches!(committer.append(back, done), TryAppend::Queued));
    committer.shutdown();
    assert_eq!(open(&fs, small()).unwrap().0.ledger().last, 5);
}

#[test]
fn a_failed_sync_answers_everybody_and_shows_no_ledger() {
    let fs = MemoryFs::default();
    let committer = start(&fs, Bounds::default(), Hooks::default());
    let answers = Answers::default();
    send(&committer, &answers, 1);
    let (seen, see) = mpsc::sync_channel(8);
    let tell = seen.clone();
    committer
        .inspect(move |ledger| tell.send(ledger.map(|it| it.last).map_err(|it| it.kind())).unwrap())
        .unwrap();
    assert_eq!(see.recv().unwrap(), Ok(1));
    fs.plan(Op::Sync, 1, Fault::Lost, ErrorKind::Other);
    for sequence in [2, 3, 1] {
        send(&committer, &answers, sequence);
    }
    committer
        .inspect(move |ledger| seen.send(ledger.map(|it| it.last).map_err(|it| it.kind())).unwrap())
        .unwrap();
    assert_eq!(see.recv().unwrap(), Err(Kind::Stop));
    committer.shutdown();
    let answers = answers.lock().unwrap();
    assert_eq!(answers.len(), 4);
    for (sequence, result) in &answers[1..] {
        assert_eq!(result.as_ref().map_err(Error::kind), Err(Kind::Stop), "{sequence}");
    }
}

#[test]
fn a_release_is_heard_of() {
    let fs = MemoryFs::default();
    let (freed, heard) = mpsc::sync_channel(8);
    let hooks =
        Hooks { released: Box::new(move |result| freed.send(result.unwrap()).unwrap()), ..Hooks::default() };
    let committer = start(&fs, Bounds::default(), hooks);
    committer.cursors().set("main", Position::START, b"").unwrap();
    let full = Arc::new(AtomicU64::new(0));
    let mut next = 1;
    while full.load(Ordering::SeqCst) == 0 {
        let (answer, answered) = mpsc::sync_channel(8);
        committer.append_blocking(entry(next), move |result| answer.send(result).unwrap()).unwrap();
        match answered.recv().unwrap() {
            Ok(_) => next += 1,
            Err(error) => {
                assert!(matches!(error, Error::Full { .. }), "{error}");
                full.store(next, Ordering::SeqCst);
            }
        }
    }
    committer.release();
    assert_eq!(heard.recv().unwrap(), 0);
    committer.cursors().set("main", committer.durable(), b"").unwrap();
    committer.release();
    assert!(heard.recv().unwrap() > 0);
    let answers = Answers::default();
    send(&committer, &answers, next);
    committer.shutdown();
    assert!(matches!(answers.lock().unwrap()[0].1, Ok(Appended::Written(_))));
}

#[test]
fn a_budget_changes_from_the_next_append_on() {
    let fs = MemoryFs::default();
    let committer = start(&fs, Bounds::default(), Hooks::default());
    let budget = committer.usage().budget;
    let append = |number| {
        let (answer, answered) = mpsc::sync_channel(1);
        committer.append_blocking(entry(number), move |result| answer.send(result).unwrap()).unwrap();
        answered.recv().unwrap()
    };
    let next = (1..).find(|number| append(*number).is_err()).unwrap();
    assert!(committer.set_budget(1).is_err(), "too little for the segments");
    assert!(matches!(append(next), Err(Error::Full { .. })), "and nothing has changed");
    committer.set_budget(2 * budget).unwrap();
    append(next).unwrap();
    assert_eq!(committer.usage().budget, 2 * budget);
    committer.set_budget(budget).unwrap();
    let error = (next + 1..).find_map(|number| append(number).err()).unwrap();
    assert!(matches!(error, Error::Full { .. }), "{error}");
}

/// A panicking callback takes the thread with it, and nobody waits for ever.
#[test]
fn a_panicking_callback_closes_the_spool() {
    let fs = MemoryFs::default();
    let committer = start(&fs, Bounds { bytes: 1, entries: 1 }, Hooks::default());
    committer.append_blocking(entry(1), |_| panic!("on purpose")).unwrap();
    while committer.append_blocking(entry(2), |_| {}).is_ok() {}
    assert!(matches!(committer.inspect(|_| {}), Err(Error::Closed)));
    committer.shutdown();
}
