//! How sure calls are to be recorded.

use std::time::Duration;

use crate::{Builder, Delivery, Overflow};

impl Builder {
    /// How sure calls are to be recorded where no [rule](Self::route) says otherwise. [`Delivery::Buffered`] by default.
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// What happens to calls while the queue is full. [`Overflow::Shed`] by default.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// How long a call waits for the collector, where it has to, before its caller gets `503`.
    /// [`DEFAULT_DEADLINE`](crate::DEFAULT_DEADLINE) by default.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}
