//! Where evidence is read from: a trait the caller brings, and a directory.
