//! What the webhooks show the API server, and what that believes them by.
//!
//! By default the injector has an authority of its own. Its certificate and key, and the certificate of the webhooks, lie in
//! one Secret, so that a change of them is one write, which only one of several replicas wins. An authority is followed by
//! another like this, and no call fails over it:
//!
//! 1. the next authority is made, and the webhook configurations believe both;
//! 2. after the overlap, in which every API server has heard of it, the webhooks get a certificate of the new one;
//! 3. after another overlap, in which every replica shows that, the old one is no longer believed.

mod authority;
mod files;
mod keeper;
mod stored;

pub use authority::{Authority, CertificateError, Issued, expiry};
pub use files::{follow_files, load_files};
pub use keeper::Keeper;
pub use stored::{Change, InvalidSecret, Marked, Stored};
