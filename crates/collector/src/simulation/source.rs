//! A sender: what it has made, what it was acked, and its stream, which does what a session does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sidetrail_archive::key::Id;
use sidetrail_spool::{Appended, Committer, Entry, Error, Kind, TryAppend};
use sidetrail_wire::ingest::v1::{Batch, Call, Dropped, Event, event::Payload};

use super::draw::Draw;
use crate::intake::{Completion, Renderer, Sender};
use crate::ledger::{Known, SharedLedger};

/// What comes back from the commit thread, once it does.
pub(super) type Slot<T> = Arc<Mutex<Option<Result<T, Error>>>>;

/// One run of one application.
pub(super) struct Source {
    pub(super) id: Id,
    /// Everything it made, by number.
    pub(super) events: Vec<Event>,
    next: u64,
    open: Vec<u64>,
    /// Up to where it has sent and up to where it knows that it is on disk.
    pub(super) sent: u64,
    pub(super) acked: u64,
    /// Intents that were refused, at least once.
    pub(super) refused: BTreeSet<u64>,
    pub(super) stream: Option<Stream>,
    /// It does not come back.
    pub(super) gone: bool,
}

pub(super) struct Stream {
    welcome: Slot<(u64, Known)>,
    renderer: Option<Renderer>,
    next: u64,
    pending: VecDeque<(u64, Slot<Appended>)>,
}

/// How a look at the answers went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) acks: u64,
    pub(super) refused: bool,
    pub(super) full: bool,
    /// The spool takes nothing any more.
    pub(super) stopped: bool,
}

impl Source {
    pub(super) fn new(id: Id) -> Self {
        Self {
            id,
            events: Vec::new(),
            next: 1,
            open: Vec::new(),
            sent: 0,
            acked: 0,
            refused: BTreeSet::new(),
            stream: None,
            gone: false,
        }
    }

    /// Something happens in the application.
    pub(super) fn make(&mut self, draw: &mut Draw) {
        let sequence = self.next;
        self.next += 1;
        let mut completes = 0;
        let payload = match draw.weighted(&[60, 12, 3, 3, 10, 12]) {
            1 => Payload::Call(call(self.id, sequence)),
            2 => {
                let count = draw.between(1, 5);
                self.next += count - 1;
                Payload::Dropped(Dropped { count, ..Dropped::default() })
            }
            3 => Payload::Record(Bytes::from_static(b"[]")),
            4 => {
                self.open.push(sequence);
                Payload::Intent(call(self.id, sequence))
            }
            5 if !self.open.is_empty() => {
                completes = self.open.remove(draw.below(self.open.len() as u64) as usize);
                Payload::Call(call(self.id, completes))
            }
            _ => Payload::Record(record(self.id, sequence, draw)),
        };
        self.events.push(Event { sequence, payload: Some(payload), completes });
    }

    /// Asks to be welcomed. A stream of before is forgotten, with the answers that it waits for.
    pub(super) fn connect(&mut self, committer: &Committer<SharedLedger>) {
        let (welcome, id) = (Slot::default(), self.id);
        let tell = Arc::clone(&welcome);
        let look = move |ledger: Result<&SharedLedger, Error>| {
            let state = ledger.map(|ledger| (ledger.last_sequence(id), ledger.known(id)));
            *tell.lock().unwrap() = Some(state);
        };
        self.stream = committer.inspect(look).is_ok().then(|| Stream {
            welcome,
            renderer: None,
            next: 0,
            pending: VecDeque::new(),
        });
    }

    /// Sends events up to `count` beyond what was sent on this stream, after some from before: a resend overlaps.
    /// What went into the queue is given back, for somebody to send it once more.
    pub(super) fn send(
        &mut self,
        committer: &Committer<SharedLedger>,
        overlap: u64,
        count: usize,
        unix_ms: i64,
    ) -> Vec<Entry> {
        let mut queued = Vec::new();
        let Some(stream) = &mut self.stream else { return queued };
        let Some(renderer) = &mut stream.renderer else { return queued };
        let from = self.events.partition_point(|event| event.sequence < stream.next.saturating_sub(overlap));
        let due = self.events.partition_point(|event| event.sequence < stream.next);
        let to = (due + count).min(self.events.len());
        let batch = Batch { events: self.events[from..to].to_vec() };
        let rendered = renderer.render(&batch.into(), unix_ms).expect("a batch in order");
        self.refused.extend(rendered.refusals.iter().map(|refusal| refusal.sequence));
        for frame in rendered.frames {
            let slot = Slot::default();
            let tell = Arc::clone(&slot);
            let entry = Entry { meta: frame.meta, body: frame.body };
            queued.push(entry.clone());
            let room = frame.room;
            let done = move |result| {
                drop(room);
                *tell.lock().unwrap() = Some(result);
            };
            let TryAppend::Queued = committer.append(entry, done) else {
                self.stream = None;
                return queued;
            };
            stream.next = frame.last_sequence + 1;
            stream.pending.push_back((frame.last_sequence, slot));
            self.sent = self.sent.max(frame.last_sequence);
        }
        queued
    }

    /// Looks at what the commit thread has answered.
    pub(super) fn attend(&mut self, completion: &Completion, ledger: &SharedLedger) -> Answers {
        let mut answers = Answers::default();
        let Some(stream) = &mut self.stream else { return answers };
        let welcome = stream.welcome.lock().unwrap().take();
        match welcome {
            Some(Ok((last, known))) => {
                assert!(self.acked <= last, "a welcome at {last} takes back the ack of {}", self.acked);
                assert!(last <= self.sent, "a welcome at {last} beyond {}, which was sent", self.sent);
                self.acked = last;
                stream.next = last + 1;
                let sender =
                    Sender { source: self.id, service: "simulated".to_owned(), instance: String::new() };
                stream.renderer =
                    Some(Renderer::new(completion.clone(), sender, ledger.clone(), last, known));
            }
            Some(Err(error)) => {
                answers.stopped = error.kind() == Kind::Stop;
                self.stream = None;
                return answers;
            }
            None => {}
        }
        while let Some((sequence, slot)) = stream.pending.front() {
            let Some(answer) = slot.lock().unwrap().take() else { return answers };
            match answer {
                Ok(_) => {
                    self.acked = self.acked.max(*sequence);
                    answers.acks += 1;
                }
                Err(error) => {
                    answers.stopped = error.kind() == Kind::Stop;
                    answers.refused = error.kind() == Kind::Reject;
                    answers.full = matches!(error, Error::Full { .. } | Error::DiskFull { .. });
                    self.stream = None;
                    return answers;
                }
            }
            stream.pending.pop_front();
        }
        answers
    }

    /// Whether all that it made is acked.
    pub(super) fn is_through(&self) -> bool {
        self.acked + 1 == self.next
    }
}

/// The eventID of an event.
pub(super) fn event_id(source: Id, sequence: u64) -> [u8; 16] {
    let mut bytes = source.0;
    bytes[8..].copy_from_slice(&sequence.to_be_bytes());
    bytes
}

fn record(source: Id, sequence: u64, draw: &mut Draw) -> Bytes {
    let words = if draw.one_in(40) { draw.between(100, 900) } else { draw.between(0, 20) };
    let noise: String = (0..words).map(|_| format!("{:x}", draw.any())).collect();
    let id = Id(event_id(source, sequence));
    format!(r#"{{"eventID":"{id}","of":{{"source":"{source}","sequence":{sequence}}},"noise":"{noise}"}}"#)
        .into()
}

fn call(source: Id, sequence: u64) -> Call {
    Call {
        event_id: Bytes::copy_from_slice(&event_id(source, sequence)),
        event_source: "orders.example.com".to_owned(),
        event_name: "RefundOrder".to_owned(),
        request_id: Some(format!("request {sequence}")),
        ..Call::default()
    }
}
