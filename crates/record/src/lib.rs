//! The CloudTrail record: types, limits, lossless JSON, redaction marks.
//!
//! A [`Record`] reads and writes one element of a CloudTrail log file's `Records` array. Reading and writing any record
//! gives the same JSON value: what a typed field cannot hold exactly (an unknown member, a `null` where a string is
//! usual, an odd time format) stays as raw JSON text in `other` and is written back from there.
//!
//! ```
//! use sidetrail_record::Record;
//!
//! let text = r#"{"eventVersion":"1.11","eventName":"GetOrder","readOnly":true,"novelty":[1.10,null]}"#;
//! let record: Record = serde_json::from_str(text)?;
//! assert_eq!(record.event_name.as_deref(), Some("GetOrder"));
//! assert_eq!(serde_json::to_string(&record)?, text);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! No I/O, no clock, no runtime. Sizes are in bytes of UTF-8 JSON text.

mod borrowed;
mod identity;
mod json;
pub mod limits;
mod lossless;
mod record;
pub mod redact;
mod time;

pub use borrowed::JsonRef;
pub use identity::{
    IdentityProviderData, InScopeOf, OnBehalfOf, SessionAttributes, SessionContext, SessionIssuer,
    UserIdentity, UserIdentityRef,
};
pub use json::{Json, Members};
pub use record::{Addendum, Record, RecordRef, Resource, ResourceRef, TlsDetails};
pub use time::{EventTime, ParseEventTimeError};
