//! What the log has: the owner's state, kept in step with the frames.

/// What a [`Ledger`] says to a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it.
    Accept,
    /// It is in the log: write nothing, and acknowledge.
    AlreadyHave,
    /// Write nothing, and answer [`crate::Error::Refused`] with this reason.
    Refuse(String),
}

/// The owner's state that is a function of the frames in the log, such as the highest sequence of each source.
///
/// The spool asks it in the order of the log, on the one thread that appends. Each segment starts with a snapshot, so
/// that start-up needs the last segment only, however long the log is.
///
/// An append can fail for want of space while a later, smaller one succeeds. A ledger of sequences must therefore
/// refuse a gap: taking the later one would turn the repeated earlier one into [`Verdict::AlreadyHave`], and lose it.
pub trait Ledger: Send + 'static {
    /// Takes over the state of a snapshot. Called at most once, at start-up, and not for a new log.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;

    /// Decides about a frame. It changes nothing: the write may still fail.
    fn check(&self, meta: &[u8], body_len: usize) -> Verdict;

    /// Takes note of a frame that was written, or that start-up found in the log. After damage frames can be missing
    /// between one call and the next.
    fn apply(&mut self, meta: &[u8], body_len: usize);

    /// Appends the state to `out`, at most as many bytes as [`crate::Options::with_max_snapshot`] allows: beyond that
    /// the log cannot go on, so the ledger has to forget in time.
    fn snapshot(&self, out: &mut Vec<u8>);
}

/// Keeps nothing and accepts everything.
impl Ledger for () {
    fn restore(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn check(&self, _: &[u8], _: usize) -> Verdict {
        Verdict::Accept
    }

    fn apply(&mut self, _: &[u8], _: usize) {}

    fn snapshot(&self, _: &mut Vec<u8>) {}
}
