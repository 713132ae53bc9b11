//! What a forwarding trail has under way: sent to the gateway, and not known to be on its disk.

use std::collections::VecDeque;

use sidetrail_spool::Position;

use super::state::Counts;

/// Frames under way, whatever their size.
pub(super) const MAX_FRAMES: usize = 256;
/// Bytes under way, if the gateway allows that many.
const MAX_BYTES: usize = 1 << 20;

/// Frames in the order in which they were sent.
#[derive(Debug)]
pub(super) struct Window {
    frames: VecDeque<Sent>,
    bytes: usize,
    limit: usize,
    acked: u64,
}

#[derive(Debug)]
struct Sent {
    bytes: usize,
    part: Part,
    received_unix_ms: i64,
}

/// A part of the spool that is done: up to where, and what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) end: Position,
    pub(super) counts: Counts,
    pub(super) frames: u64,
}

impl Part {
    /// Nothing, up to a position.
    pub(super) fn empty(end: Position) -> Self {
        Self { end, counts: Counts::default(), frames: 0 }
    }

    /// What follows it is done as well.
    pub(super) fn add(&mut self, next: Self) {
        let Self { end, counts, frames } = next;
        self.end = end;
        self.counts.add(counts);
        self.frames += frames;
    }
}

/// The gateway acked what was not sent.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway acks {acked} frames, {sent} were sent")]
pub(super) struct Lie {
    acked: u64,
    sent: u64,
}

impl Window {
    /// A window for a new stream to a gateway that allows so many bytes.
    pub(super) fn new(gateway_bytes: u32) -> Self {
        let limit = usize::try_from(gateway_bytes).unwrap_or(usize::MAX).min(MAX_BYTES);
        Self { frames: VecDeque::new(), bytes: 0, limit, acked: 0 }
    }

    /// Whether another frame may be sent. One always may.
    pub(super) fn has_room(&self) -> bool {
        self.frames.is_empty() || (self.frames.len() < MAX_FRAMES && self.bytes < self.limit)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// When the oldest frame under way was taken from its application.
    pub(super) fn oldest_unix_ms(&self) -> Option<i64> {
        self.frames.front().map(|sent| sent.received_unix_ms)
    }

    /// A frame was sent that ends at `end`.
    pub(super) fn sent(&mut self, end: Position, counts: Counts, bytes: usize, received_unix_ms: i64) {
        self.bytes += bytes;
        self.frames.push_back(Sent { bytes, part: Part { end, counts, frames: 1 }, received_unix_ms });
    }

    /// There is nothing to send up to `end`. It is done when what was sent before is, which may be now.
    pub(super) fn pass(&mut self, end: Position) -> Option<Part> {
        match self.frames.back_mut() {
            Some(sent) => {
                sent.part.end = end;
                None
            }
            None => Some(Part::empty(end)),
        }
    }

    /// The gateway has the first `frames` of the stream. What is done by that.
    pub(super) fn acked(&mut self, frames: u64) -> Result<Option<Part>, Lie> {
        let sent = self.acked + self.frames.len() as u64;
        if frames > sent {
            return Err(Lie { acked: frames, sent });
        }
        let mut done: Option<Part> = None;
        while self.acked < frames {
            let Some(sent) = self.frames.pop_front() else { break };
            self.acked += 1;
            self.bytes -= sent.bytes;
            match &mut done {
                Some(done) => done.add(sent.part),
                None => done = Some(sent.part),
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position::new(1, offset)
    }

    fn counts(shipped: u64) -> Counts {
        Counts { shipped, ..Counts::default() }
    }

    #[test]
    fn acks_move_over_what_was_sent_and_no_further() {
        let mut window = Window::new(1000);
        (1..=4).for_each(|frame| window.sent(at(frame * 10), counts(frame), 100, 7));
        assert_eq!(window.acked(0), Ok(None));
        let first_three = Part { end: at(30), counts: counts(6), frames: 3 };
        assert_eq!(window.acked(3), Ok(Some(first_three)));
        assert_eq!(window.acked(3), Ok(None), "again");
        assert_eq!(window.acked(5), Err(Lie { acked: 5, sent: 4 }));
        assert_eq!(window.pass(at(99)), None, "a frame before it is under way");
        assert_eq!(window.acked(4), Ok(Some(Part { end: at(99), counts: counts(4), frames: 1 })));
        assert_eq!(window.pass(at(120)), Some(Part::empty(at(120))));
        assert!(window.is_empty() && window.oldest_unix_ms().is_none());
    }

    #[test]
    fn the_window_is_bounded_by_bytes_and_by_count() {
        let mut window = Window::new(250);
        assert!(window.has_room());
        window.sent(at(1), counts(1), 9000, 7);
        assert!(!window.has_room(), "one that is too large goes alone");
        window.acked(1).unwrap();
        (2..=4).for_each(|frame| window.sent(at(frame), counts(1), 100, 7));
        assert!(!window.has_room());
        window.acked(2).unwrap();
        assert!(window.has_room());

        let mut window = Window::new(u32::MAX);
        let sent = (0..).take_while(|frame| {
            let room = window.has_room();
            window.sent(at(*frame), counts(1), 1, 7);
            room
        });
        assert_eq!(sent.count(), MAX_FRAMES);
        let mut window = Window::new(u32::MAX);
        window.sent(at(1), counts(1), MAX_BYTES, 7);
        assert!(!window.has_room(), "our own bound counts too");
    }
}
