//! Who called: what an identity is, and the places to look for one.

mod asserted;
mod basic;
#[cfg(feature = "mtls")]
mod certificate;
mod chain;
mod claimed;
mod claims;
#[cfg(test)]
mod hostile;
#[cfg(feature = "jwt")]
mod jwt;
mod key;
mod proxy;

use std::sync::Arc;

use sidetrail_record::UserIdentity;

#[cfg(feature = "mtls")]
pub use self::certificate::PeerCertificate;
#[cfg(feature = "jwt")]
pub use self::jwt::{JwksError, JwksStatus, JwtAlgorithm, JwtVerifier, JwtVerifierBuilder};
pub(crate) use self::{
    basic::look as basic,
    chain::{Answer, Chain, Heard, Place, Who, from_extension},
};
pub use self::{claims::JwtClaims, key::ApiKeys, proxy::ProxyHeaders};

/// Who made a call: CloudTrail's `userIdentity`, made by one of the functions here or from a full [`UserIdentity`].
///
/// Put into a request's extensions before the layer sees the request, it is the caller's identity. Inside, handlers and
/// middleware use [`Audit::set_identity`](crate::Audit::set_identity). Clones share what they hold, so an identity that
/// is made once per session or connection costs nothing per request.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity(Arc<UserIdentity>);

impl Identity {
    /// A user of the application's own, `type: IAMUser`.
    pub fn user(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self::from(UserIdentity {
            kind: Some("IAMUser".to_owned()),
            principal_id: Some(id.into()),
            user_name: Some(name.into()),
            ..UserIdentity::default()
        })
    }

    /// Another service, `type: AWSService`, e.g. `billing.example.com`.
    pub fn service(name: impl Into<String>) -> Self {
        let name = name.into();
        Self::from(UserIdentity {
            kind: Some("AWSService".to_owned()),
            principal_id: Some(name.clone()),
            invoked_by: Some(name),
            ..UserIdentity::default()
        })
    }

    /// Nobody said who they are: `type: Unknown`, principal `anonymous`.
    pub(crate) fn anonymous() -> Self {
        Self::from(UserIdentity {
            kind: Some("Unknown".to_owned()),
            principal_id: Some("anonymous".to_owned()),
            ..UserIdentity::default()
        })
    }
}

impl From<UserIdentity> for Identity {
    fn from(identity: UserIdentity) -> Self {
        Self(Arc::new(identity))
    }
}

impl From<Identity> for UserIdentity {
    fn from(identity: Identity) -> Self {
        Arc::unwrap_or_clone(identity.0)
    }
}
