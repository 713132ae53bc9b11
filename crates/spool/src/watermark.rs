//! Up to where the log is durable, for all who read it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Position;

/// Takes a lock whose holder may have panicked: what is behind our locks is whole between any two statements.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of what is durable. Clones follow the same writer.
#[derive(Clone, Debug, Default)]
pub struct Watermark(Arc<Mutex<Position>>);

impl Watermark {
    /// Everything before this position survives a loss of power.
    #[must_use]
    pub fn get(&self) -> Position {
        *locked(&self.0)
    }

    pub(crate) fn set(&self, position: Position) {
        let mut mark = locked(&self.0);
        debug_assert!(*mark <= position, "the watermark went back from {} to {position}", *mark);
        *mark = position;
    }
}
