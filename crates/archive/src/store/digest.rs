//! Digests in a store, and what their writer reads: listings by day, and objects as they come.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{Attribute, Attributes, ObjectStore as _, ObjectStoreExt as _};

use super::{Put, Store, StoreError, collect, generic, in_time, path};
use crate::digest::{MAX_METADATA, Metadata, SealedDigest};
use crate::key::DigestKey;

/// The most stored bytes of a digest that are read: they inflate to far more than a digest may have.
pub const MAX_STORED_DIGEST: usize = 16 << 20;

/// The stored bytes of a digest, and the signature beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDigest {
    /// The object.
    pub bytes: Bytes,
    /// What the store keeps with it; `None` if that is absent or not well-formed.
    pub metadata: Option<Metadata>,
}

impl Store {
    /// Stores a digest unless there is one, with its signature: in S3 as metadata of the object. In a directory the
    /// signature is in a companion, which is written after the digest; should the writer die between the two,
    /// [`Store::put_companion`] brings it later.
    ///
    /// # Errors
    /// If the digest may not be stored.
    pub async fn put_digest(&self, key: &DigestKey, sealed: &SealedDigest) -> Result<Put, StoreError> {
        let (name, bytes) = (key.to_string(), Bytes::from(sealed.bytes.clone()));
        let metadata = Metadata::new(sealed.signature.clone());
        if self.root.is_some() {
            let put = self.put_create(&name, bytes).await?;
            if put == Put::Created {
                self.put_companion(key, &metadata).await?;
            }
            return Ok(put);
        }
        let failed = |cause| self.error("put", &name, cause);
        let path = path(&name).map_err(failed)?;
        let attributes = Attributes::from_iter([
            (Attribute::ContentType, "application/json".to_owned()),
            (Attribute::ContentEncoding, "gzip".to_owned()),
            (Attribute::Metadata(Metadata::NAMES[0].into()), metadata.signature.to_string()),
            (Attribute::Metadata(Metadata::NAMES[1].into()), metadata.signature_algorithm),
        ]);
        in_time(bytes.len(), self.create(&path, bytes, attributes)).await.map_err(failed)
    }

    /// Stores the companion of a digest in a directory, unless there is one.
    ///
    /// # Errors
    /// If it may not be stored.
    pub async fn put_companion(&self, key: &DigestKey, metadata: &Metadata) -> Result<Put, StoreError> {
        let name = key.companion();
        let bytes = metadata.render().map_err(|error| self.error("put", &name, generic(error)))?;
        self.put_create(&name, bytes.into()).await
    }

    /// Reads a digest and its signature. Neither is believed.
    ///
    /// # Errors
    /// If there is none ([`StoreError::is_not_found`]), it is larger than a digest may be, or could not be read.
    pub async fn get_digest(&self, key: &DigestKey) -> Result<StoredDigest, StoreError> {
        let name = key.to_string();
        if self.root.is_some() {
            let bytes = self.get(&name, MAX_STORED_DIGEST).await?;
            let metadata = match self.get(&key.companion(), MAX_METADATA).await {
                Ok(companion) => Metadata::parse(&companion).ok(),
                Err(error) if error.is_not_found() || error.is_too_large() => None,
                Err(error) => return Err(error),
            };
            return Ok(StoredDigest { bytes, metadata });
        }
        let failed = |cause| self.error("get", &name, cause);
        let path = path(&name).map_err(failed)?;
        let read = async {
            let result = self.inner.get(&path).await?;
            let value = |name: &'static str| {
                let value = result.attributes.get(&Attribute::Metadata(name.into()))?;
                Some(value.as_ref().to_owned())
            };
            let metadata = Metadata::NAMES.map(value);
            let bytes = collect(result.into_stream(), MAX_STORED_DIGEST).await?;
            Ok((bytes, metadata))
        };
        let (bytes, [signature, algorithm]) = in_time(MAX_STORED_DIGEST, read).await.map_err(failed)?;
        let signature = signature.and_then(|signature| signature.parse().ok());
        let metadata = signature.map(Metadata::new);
        let metadata = metadata.filter(|metadata| Some(&metadata.signature_algorithm) == algorithm.as_ref());
        Ok(StoredDigest { bytes, metadata })
    }

    /// Everything below `prefix`, which ends with a slash, in no particular order: key and stored size.
    pub(crate) fn below(&self, prefix: &str) -> BoxStream<'static, Result<(String, u64), StoreError>> {
        let (store, prefix) = (self.clone(), prefix.to_owned());
        match ObjectPath::parse(&prefix) {
            Ok(path) => {
                let objects = self.inner.list(Some(&path));
                objects
                    .map_ok(|object| (object.location.to_string(), object.size))
                    .map_err(move |cause| store.error("list", &prefix, cause))
                    .boxed()
            }
            Err(error) => {
                let error = store.error("list", &prefix, error.into());
                futures_util::stream::once(std::future::ready(Err(error))).boxed()
            }
        }
    }

    /// The names of the folders right below `prefix`, which ends with a slash, in order.
    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let failed = |cause| self.error("list", prefix, cause);
        let path = ObjectPath::parse(prefix).map_err(|error| failed(error.into()))?;
        let listed = in_time(0, self.inner.list_with_delimiter(Some(&path))).await.map_err(failed)?;
        let name = |folder: ObjectPath| folder.filename().map(str::to_owned);
        let mut names: Vec<_> = listed.common_prefixes.into_iter().filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// An object as it comes, piece by piece; each has its time.
    pub(crate) async fn pieces(
        &self,
        key: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let failed = |cause| self.error("get", key, cause);
        let path = path(key).map_err(failed)?;
        let pieces = in_time(0, self.inner.get(&path)).await.map_err(failed)?.into_stream();
        let (store, key) = (self.clone(), key.to_owned());
        let timed = futures_util::stream::try_unfold(pieces, |mut pieces| async move {
            let piece = in_time(0, async { pieces.try_next().await }).await?;
            Ok(piece.map(|piece| (piece, pieces)))
        });
        Ok(timed.map_err(move |cause| store.error("get", &key, cause)).boxed())
    }
}
