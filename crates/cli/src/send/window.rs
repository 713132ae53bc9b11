//! Records that were read and are not acked: numbered once, sent as often as it takes.

use std::collections::VecDeque;
use std::fmt;

use sidetrail_wire::ingest::v1::{Batch, Event, event};

use super::record::{Place, Record};

/// Records that are held at most.
const MAX_RECORDS: usize = 8192;
/// Bytes of records at which no more are taken; one more may go over.
const MAX_BYTES: usize = 16 << 20;
/// What an event takes in a batch beyond its record: tags, lengths and a sequence number of ten bytes at most.
pub(super) const EVENT_OVERHEAD: usize = 32;

/// Bounds of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// The collector said something that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Impossible {
    /// It acked more than there is.
    Ahead { said: u64, last: u64 },
    /// It no longer has what it acked.
    Behind { said: u64, acked: u64 },
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead { said, last } => {
                write!(f, "the collector acked event {said}, and only {last} were sent")
            }
            Self::Behind { said, acked } => {
                write!(f, "the collector acked {acked} events and now has only {said}")
            }
        }
    }
}

impl std::error::Error for Impossible {}

#[derive(Debug, Default)]
pub(super) struct Window {
    pending: VecDeque<Pending>,
    /// The sequence number before the first pending one.
    acked: u64,
    /// How many of the pending ones this connection has sent.
    sent: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Pending {
    record: Record,
    refused: bool,
}

impl Window {
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < MAX_RECORDS && self.bytes < MAX_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.pending.len() as u64
    }

    /// The highest number given so far.
    pub(super) fn last(&self) -> u64 {
        self.acked + self.len()
    }

    /// Takes a record and gives it the next number.
    pub(super) fn push(&mut self, record: Record) {
        self.bytes += record.text.len();
        self.pending.push_back(Pending { record, refused: false });
    }

    /// The next records to send and the last number in it; with `full`, only if they fill a batch.
    pub(super) fn next_batch(&mut self, limits: Limits, full: bool) -> Option<(Batch, u64)> {
        let (mut events, mut bytes, mut filled) = (Vec::new(), 0, false);
        for (at, pending) in self.pending.iter().enumerate().skip(self.sent) {
            let size = pending.record.text.len() + EVENT_OVERHEAD;
            // A record that is too large by itself goes alone, for the collector to refuse.
            filled = events.len() == limits.events || (!events.is_empty() && bytes + size > limits.bytes);
            if filled {
                break;
            }
            bytes += size;
            events.push(Event {
                sequence: self.acked + 1 + at as u64,
                payload: Some(event::Payload::Record(pending.record.text.clone())),
                ..Event::default()
            });
        }
        if events.is_empty() || (full && !filled) {
            return None;
        }
        self.sent += events.len();
        Some((Batch { events }, self.acked + self.sent as u64))
    }

    /// A new connection says what is on disk: the rest is to be sent again. Returns how many records that
    /// frees. One whose refusal was lost with the connection before is among them: no collector says it again.
    pub(super) fn resume(&mut self, acked: u64) -> Result<u64, Impossible> {
        if acked < self.acked {
            return Err(Impossible::Behind { said: acked, acked: self.acked });
        }
        // The connection before may have sent anything that is pending.
        self.sent = self.pending.len();
        let freed = self.ack(acked)?;
        self.sent = 0;
        Ok(freed)
    }

    /// Everything up to `sequence` is on disk, or was refused. Returns how many of them are on disk.
    pub(super) fn ack(&mut self, sequence: u64) -> Result<u64, Impossible> {
        let sent = self.acked + self.sent as u64;
        if sequence > sent {
            return Err(Impossible::Ahead { said: sequence, last: sent });
        }
        let mut recorded = 0;
        while self.acked < sequence {
            let Some(pending) = self.pending.pop_front() else { break };
            self.acked += 1;
            self.sent -= 1;
            self.bytes -= pending.record.text.len();
            recorded += u64::from(!pending.refused);
        }
        Ok(recorded)
    }

    /// Where the refused record stood, unless that was said before a reconnect already.
    pub(super) fn refuse(&mut self, sequence: u64) -> Option<&Place> {
        let at = usize::try_from(sequence.checked_sub(self.acked + 1)?).ok()?;
        let pending = self.pending.get_mut(at).filter(|pending| !pending.refused)?;
        pending.refused = true;
        Some(&pending.record.place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::At;
    use super::*;

    const LIMITS: Limits = Limits { events: 2, bytes: 1000 };

    fn window(sizes: &[usize]) -> Window {
        let mut window = Window::default();
        for (at, size) in sizes.iter().enumerate() {
            let place = Place { file: "f".into(), at: At::Line(at as u64 + 1) };
            window.push(Record { place, text: vec![b' '; *size].into() });
        }
        window
    }

    fn sequences(batch: Option<(Batch, u64)>) -> Vec<u64> {
        let Some((batch, last)) = batch else { return Vec::new() };
        let sequences: Vec<_> = batch.events.iter().map(|event| event.sequence).collect();
        assert_eq!(sequences.last(), Some(&last));
        sequences
    }

    #[test]
    fn numbers_run_on_and_batches_keep_their_limits() {
        let mut window = window(&[10, 10, 900, 900, 2000, 1]);
        assert_eq!(sequences(window.next_batch(LIMITS, true)), [1, 2]);
        assert_eq!(sequences(window.next_batch(LIMITS, true)), [3]);
        assert_eq!(sequences(window.next_batch(LIMITS, true)), [4]);
        assert_eq!(sequences(window.next_batch(LIMITS, true)), [5]);
        assert_eq!(sequences(window.next_batch(LIMITS, true)), [0; 0]);
        assert_eq!(sequences(window.next_batch(LIMITS, false)), [6]);
        assert_eq!(sequences(window.next_batch(LIMITS, false)), [0; 0]);
        assert_eq!(window.ack(4), Ok(4));
        assert_eq!((window.len(), window.last()), (2, 6));
    }

    #[test]
    fn a_new_connection_sends_what_is_not_acked() {
        let mut window = window(&[1; 5]);
        assert_eq!(sequences(window.next_batch(LIMITS, false)), [1, 2]);
        assert_eq!(sequences(window.next_batch(LIMITS, false)), [3, 4]);
        assert_eq!(window.ack(1), Ok(1));
        assert_eq!(window.resume(3), Ok(2));
        assert_eq!(sequences(window.next_batch(LIMITS, false)), [4, 5]);
        assert_eq!(window.ack(5), Ok(2));
        assert!(window.is_empty());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut window = window(&[1; 3]);
        assert_eq!(window.ack(1), Err(Impossible::Ahead { said: 1, last: 0 }));
        window.next_batch(LIMITS, false);
        assert_eq!(window.ack(3), Err(Impossible::Ahead { said: 3, last: 2 }));
        assert_eq!(window.ack(2), Ok(2));
        assert_eq!(window.ack(1), Ok(0), "an ack that comes late says nothing new");
        assert_eq!(window.resume(1), Err(Impossible::Behind { said: 1, acked: 2 }));
    }

    #[test]
    fn a_refusal_is_told_once_and_not_counted_as_recorded() {
        let mut window = window(&[1; 3]);
        window.next_batch(LIMITS, false);
        assert_eq!(window.refuse(2).map(ToString::to_string).as_deref(), Some("f:2"));
        assert_eq!(window.refuse(2), None);
        assert_eq!(window.refuse(0), None);
        assert_eq!(window.refuse(9), None);
        assert_eq!(window.ack(2), Ok(1));
    }

    #[test]
    fn room_ends() {
        assert!(window(&[1; MAX_RECORDS - 1]).has_room());
        assert!(!window(&[1; MAX_RECORDS]).has_room());
        assert!(!window(&[MAX_BYTES]).has_room());
    }
}
