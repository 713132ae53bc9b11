//! Digests of trails with log file validation: the keys that are published, and a writer for who has the key.

mod host;
mod published;

pub(crate) use host::{Host, read_keys};
pub(crate) use published::published_keys;
