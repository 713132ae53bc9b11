//! The last resort of a shutdown: what the store does not take is left to a gateway, which stores it.
//!
//! The batch is the same as if it had been stored, to the byte: planned, named and signed here, and the chain goes on
//! after it. So it does no harm if the store has some of it already, or gets it from both.

use super::{Bytes, Destination, Sha256, ShipError, Shipper, Step};
use crate::gateway::{FinishedBatch, HandOver};

impl<D: Destination> Shipper<D> {
    /// Like a step, with a gateway in place of the store.
    pub(crate) fn hand_over(&mut self, now_unix_ms: i64, gateway: &dyn HandOver) -> Result<Step, ShipError> {
        if let Some(idle) = self.prepare(now_unix_ms, true)? {
            return Ok(idle);
        }
        let Some(sealed) = &self.sealed else { return Ok(Step::Idle { until_unix_ms: None }) };
        let manifest = Bytes::from(sealed.manifest.seal(&*self.trail.signer)?);
        gateway.hand_over(FinishedBatch {
            public_key: self.trail.public_key.1.clone(),
            manifest: manifest.clone(),
            log: sealed.log.clone(),
        })?;
        // Who stores it locks it.
        self.complete(Sha256::of(&manifest), Vec::new())
    }
}
