//! Where the digests of a trail begin: agreed on by whoever may write the first.

use std::sync::Arc;

use super::super::period::Period;
use super::super::start::DigestStart;
use super::{Digester, StepError, blocking};
use crate::sign::DigestSigner;

/// The largest start of digests that is read, in bytes.
const MAX_START: usize = 64 << 10;

impl Digester {
    /// The period of the first digest: what another writer said, or this one.
    pub(super) async fn agree_on_start(
        &mut self,
        period: Period,
        signer: &Arc<dyn DigestSigner>,
    ) -> Result<Period, StepError> {
        if let Some(start) = self.read_start().await? {
            return Ok(start);
        }
        let object = self.settings.start_key();
        let start = DigestStart { object: object.clone(), start_time: period.start, end_time: period.end };
        let (with, fingerprint) = (signer.clone(), signer.public_key().fingerprint());
        let sealed = blocking(move || start.seal(&*with)).await?;
        let bytes = sealed.map_err(|source| StepError::Publish { fingerprint, source })?;
        self.store.put_create(&object.to_string(), bytes.into()).await?;
        match self.read_start().await? {
            Some(start) => Ok(start),
            None => {
                self.warn(format!(
                    "{object} is not a start of digests by a key that is believed: passed over"
                ));
                Ok(period)
            }
        }
    }

    pub(super) async fn read_start(&mut self) -> Result<Option<Period>, StepError> {
        let object = self.settings.start_key();
        let bytes = match self.store.get(&object.to_string(), MAX_START).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() || error.is_too_large() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let keys = self.keys.believed(&self.store, &self.settings, &bytes).await?;
        let start = DigestStart::open(&bytes, &keys).ok().filter(|start| start.object == object);
        Ok(start.map(|DigestStart { start_time, end_time, .. }| Period { start: start_time, end: end_time }))
    }
}
