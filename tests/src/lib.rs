//! The harness of the end-to-end tests: a real S3 server, the real AWS CLI, our own binaries as processes.
//!
//! Everything returns a `Result`, so a test reads `let store = SeaweedFs::shared()?;` and fails with a sentence. What is
//! waited for is a state with a deadline, never a pause. What is started is ended: by its id when its handle is
//! dropped, and by a [guard](process) when the test process dies before that.
//!
//! ```no_run
//! use std::process::Command;
//! use sidetrail_tests::{Process, START, SeaweedFs, free_address, tools};
//!
//! # fn main() -> anyhow::Result<()> {
//! let store = SeaweedFs::shared()?;
//! let bucket = store.bucket("audit")?;
//! let health = free_address()?;
//! let mut collector = Command::new(tools::binary("sidetrail-collector")?);
//! collector.arg(format!("--health={health}"));
//! store.configure(&mut collector);
//! let logs = tempfile::tempdir()?;
//! let mut collector = Process::spawn(collector, &logs.path().join("collector.log"))?;
//! collector.wait_http(health, "/readyz", START)?;
//! let listed = tools::run(store.aws(["s3api", "list-objects-v2", "--bucket", &bucket])?)?.success()?;
//! collector.kill()?;
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod authority;
pub mod cloudtrail;
pub mod collector;
pub mod evidence;
pub mod fuzz;
pub mod guarded;
pub mod http;
pub mod kms;
pub mod kubernetes;
mod load;
pub mod nats;
pub mod objects;
pub mod process;
pub mod proxy;
pub mod sample;
mod seaweedfs;
pub mod sender;
pub mod server;
pub mod softhsm;
pub mod tools;
mod wait;
pub mod webhook;

pub use authority::Authority;
pub use cloudtrail::CloudTrail;
pub use collector::Collector;
pub use guarded::Guarded;
pub use load::Load;
pub use nats::Nats;
pub use process::Process;
pub use proxy::Proxy;
pub use seaweedfs::{ACCESS_KEY, REGION, SECRET_KEY, SeaweedFs};
pub use server::Server;
pub use wait::{START, STOP, free_address, wait_for};
pub use webhook::Webhook;
