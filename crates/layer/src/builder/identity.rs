//! Where to look for the caller and for the client's address.

use std::sync::Arc;

use http::request::Parts;

#[cfg(feature = "jwt")]
use crate::JwtVerifier;
#[cfg(feature = "mtls")]
use crate::PeerCertificate;
use crate::{
    ApiKeys, BuildError, Builder, ForwardedHeader, Identity, ProxyHeaders,
    address::Networks,
    identity::{self, Place},
};

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
        self.chain.add(Place::new(name, move |parts| look(parts).into()));
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

    /// As [`identity`](Self::identity), from the token in `Authorization: Bearer …`; `identitySource` is `bearer`.
    #[cfg(feature = "jwt")]
    pub fn jwt(mut self, verifier: JwtVerifier) -> Self {
        self.chain.add(Place::new("bearer", move |parts| verifier.look(parts)));
        self
    }

    /// As [`identity`](Self::identity), from the extension [`PeerCertificate`]; `identitySource` is `mtls`.
    #[cfg(feature = "mtls")]
    pub fn client_certificates(mut self) -> Self {
        self.chain.add(Place::new("mtls", PeerCertificate::look));
        self
    }

    /// As [`identity`](Self::identity), from API keys in a header; `identitySource` is `apiKey`.
    pub fn api_keys(mut self, keys: ApiKeys) -> Self {
        match keys.problem() {
            Some(problem) => self.reject(problem),
            None => self.chain.add(Place::new("apiKey", keys.look())),
        }
        self
    }

    /// As [`identity`](Self::identity), the user name of HTTP Basic authentication; `identitySource` is `basic`.
    ///
    /// **Nobody checks the password here.** Use it where something in front of the service does, or where the service
    /// does and the name that was tried is worth having: a wrong password then shows as an error under that name.
    /// Credentials without a password are passed over, since the name may be an API key.
    pub fn basic_auth(mut self) -> Self {
        self.chain.add(Place::new("basic", identity::basic));
        self
    }

    /// As [`identity`](Self::identity), from headers of an authenticating proxy; `identitySource` is `proxy`.
    pub fn proxy_headers(mut self, headers: ProxyHeaders) -> Self {
        match headers.look() {
            Ok(look) => self.chain.add(Place::new("proxy", look)),
            Err(problem) => self.reject(problem),
        }
        self
    }

    /// Proxies in front of the service, as addresses or networks: `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`. None by default.
    ///
    /// What one of them says of the hop before it, in `X-Forwarded-For` or `Forwarded`, is believed. The client is the
    /// last hop that is not one of them, never simply the first one in the list: that is what the client itself says.
    /// Where client and connection differ, the record has both.
    ///
    /// ```
    /// use sidetrail::{AuditLayer, MemorySink};
    ///
    /// let layer = AuditLayer::builder("orders.example.com").sink(MemorySink::default());
    /// assert!(layer.trusted_proxies(["10.0.0.0/8", "fd00::/8"]).build().is_ok());
    ///
    /// let layer = AuditLayer::builder("orders.example.com").sink(MemorySink::default());
    /// let error = layer.trusted_proxies(["10.0.0.0/33"]).build().unwrap_err();
    /// assert_eq!(error.to_string(), r#"trusted_proxies: "10.0.0.0/33" is neither a network nor an address"#);
    /// ```
    pub fn trusted_proxies(mut self, proxies: impl IntoIterator<Item: ToString>) -> Self {
        let proxies: Vec<_> = proxies.into_iter().map(|network| network.to_string()).collect();
        match Networks::parse(&proxies) {
            Ok(trusted) => self.proxies.trusted = trusted,
            Err((value, reason)) => self.reject(("trusted_proxies", value, reason)),
        }
        self
    }

    /// Which header the [trusted proxies](Self::trusted_proxies) write. By default it is the one that is there; if both
    /// are and they do not agree, neither is believed, since the proxies may have passed one on as they got it.
    pub fn forwarded_header(mut self, header: ForwardedHeader) -> Self {
        self.proxies.header = Some(header);
        self
    }

    /// Keeps what [`build`](Self::build) will say.
    fn reject(&mut self, (name, value, reason): (&'static str, String, &'static str)) {
        self.problem.get_or_insert(BuildError::Setting { name, value, reason });
    }
}
