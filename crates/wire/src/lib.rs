//! Sidetrail's protocol: code generated from `proto/`, and conversions to the CloudTrail record.
//!
//! [`ingest::v1`] is how events get from an application to a collector, [`gateway::v1`] how they get from there to another
//! one;
//! [`control::v1`] is how it keeps in touch with a server, and [`spool::v1`] what it keeps on disk.
//! The generated files are committed under `src/gen`; `cargo xtask codegen` writes them, the test run proves them
//! current. Nobody needs protoc.
//!
//! A [`Record`](sidetrail_record::Record) becomes a [`Call`](ingest::v1::Call) and back without loss: texts are moved,
//! JSON stays text. Where there are many, [`EventRef`] reads them where they lie.
//!
//! With the feature `connect` the module `connect` reaches a collector by its address, and with `tls` those that want
//! to know who comes. `peer` says who may come by their certificates, and with `listen` there is the other end of that.

#[cfg(feature = "connect")]
pub mod connect;
mod convert;
#[cfg(feature = "listen")]
pub mod listen;
pub mod peer;
#[cfg(feature = "tls")]
pub mod pem;
mod read;

pub use convert::InvalidCall;
pub use read::{EventRef, PayloadRef};

/// From an application to a collector.
pub mod ingest {
    /// Version 1, the only one.
    #[allow(missing_docs, clippy::all, clippy::allow_attributes, reason = "generated")]
    #[expect(clippy::allow_attributes_without_reason, reason = "generated")]
    pub mod v1 {
        include!("gen/sidetrail.ingest.v1.rs");

        /// What a sender puts into `Hello.protocol_version`, and all that a collector of this version takes.
        pub const PROTOCOL_VERSION: u32 = 1;
    }

    /// Version 1 for who takes events in great numbers: a batch has them as they came, to be read by
    /// [`EventRef`](crate::EventRef). On the wire it is the same.
    #[allow(missing_docs, clippy::all, clippy::allow_attributes, reason = "generated")]
    #[expect(clippy::allow_attributes_without_reason, reason = "generated")]
    pub mod unread {
        include!("gen/sidetrail.ingest.v1.unread.rs");
    }
}

/// Between a collector and a server.
pub mod control {
    /// Version 1, the only one.
    #[allow(missing_docs, clippy::all, clippy::allow_attributes, reason = "generated")]
    #[expect(clippy::allow_attributes_without_reason, reason = "generated")]
    pub mod v1 {
        include!("gen/sidetrail.control.v1.rs");

        /// What a collector puts into `Hello.protocol_version`, and all that a server of this version takes.
        pub const PROTOCOL_VERSION: u32 = 1;
    }
}

/// From a collector to a gateway.
pub mod gateway {
    /// Version 1, the only one.
    #[allow(missing_docs, clippy::all, clippy::allow_attributes, reason = "generated")]
    #[expect(clippy::allow_attributes_without_reason, reason = "generated")]
    pub mod v1 {
        include!("gen/sidetrail.gateway.v1.rs");

        /// What a collector puts into `protocol_version`, and all that a gateway of this version takes.
        pub const PROTOCOL_VERSION: u32 = 1;
    }
}

/// What a collector keeps on disk.
pub mod spool {
    /// Version 1. Fields are only ever added.
    #[allow(missing_docs, clippy::all, clippy::allow_attributes, reason = "generated")]
    pub mod v1 {
        include!("gen/sidetrail.spool.v1.rs");
    }
}
