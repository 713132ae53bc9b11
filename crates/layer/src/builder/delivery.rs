//! How sure calls are to be recorded.

use std::time::Duration;

use crate::{Builder, Delivery, Overflow};

impl Builder {
    /// How sure calls are to be recorded where no [rule](Self::route) says otherwise. By default what
    /// `SIDETRAIL_DELIVERY` says (`buffered`, `durable` or `guarded`), which an operator may set; else
    /// [`Delivery::Buffered`].
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = Some(delivery);
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

/// What the environment says. A word that means nothing is logged, and is none.
pub(super) fn of_environment() -> Delivery {
    let word = std::env::var("SIDETRAIL_DELIVERY").unwrap_or_default();
    named(&word).unwrap_or_else(|| {
        #[cfg(feature = "grpc")]
        tracing::error!(
            word,
            "SIDETRAIL_DELIVERY is none of buffered, durable and guarded: buffered is taken"
        );
        Delivery::default()
    })
}

fn named(word: &str) -> Option<Delivery> {
    match word {
        "" => Some(Delivery::default()),
        "buffered" => Some(Delivery::Buffered),
        "durable" => Some(Delivery::Durable),
        "guarded" => Some(Delivery::Guarded),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_have_names() {
        assert_eq!(named(""), Some(Delivery::Buffered));
        assert_eq!(named("buffered"), Some(Delivery::Buffered));
        assert_eq!(named("durable"), Some(Delivery::Durable));
        assert_eq!(named("guarded"), Some(Delivery::Guarded));
        assert_eq!(named("Guarded"), None);
    }
}
