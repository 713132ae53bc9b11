//! Where to look for the caller.

use std::sync::Arc;

use http::request::Parts;

use crate::{Builder, Identity, identity};

impl Builder {
    /// One more place to look for the caller; `name` is what records give as `identitySource`.
    ///
    /// Places are asked in this order: what a handler set, the extension [`Identity`], the ones added here in their
    /// order, the extension [`JwtClaims`](crate::JwtClaims). The first that answers wins.
    pub fn identity(
        mut self,
        name: impl Into<Arc<str>>,
        look: impl Fn(&Parts) -> Option<Identity> + Send + Sync + 'static,
    ) -> Self {
        self.chain.add((name.into(), Box::new(look)));
        self
    }

    /// As [`identity`](Self::identity), from an extension of the application's own type, which gives the name too.
    ///
    /// ```
    /// use sidetrail::{AuditLayer, Identity, MemorySink};
    ///
    /// struct User {
    ///     id: u64,
    ///     name: String,
    /// }
    ///
    /// let layer = AuditLayer::builder("orders.example.com")
    ///     .sink(MemorySink::default())
    ///     .identity_from(|user: &User| Identity::user(user.id.to_string(), &user.name))
    ///     .build()?;
    /// # drop(layer);
    /// # Ok::<(), sidetrail::BuildError>(())
    /// ```
    pub fn identity_from<T, I>(mut self, map: impl Fn(&T) -> I + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
        I: Into<Option<Identity>>,
    {
        self.chain.add(identity::from_extension(map));
        self
    }
}
