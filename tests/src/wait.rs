//! Waiting for states, and addresses to wait at.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Long enough for a program to start on a busy machine.
pub const START: Duration = Duration::from_secs(60);

/// Long enough for a program to end after SIGTERM.
pub const STOP: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer; `what` completes "gave up after 60 s waiting for …".
///
/// # Errors
///
/// When `ask` fails, which ends the waiting, or has no answer before the deadline.
pub fn wait_for<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if began.elapsed() > deadline {
            bail!("gave up after {deadline:?} waiting for {what}");
        }
        thread::sleep(PAUSE);
    }
}

/// Below Linux's ephemeral range: while a server is down between stop and start, no outgoing connection takes its port.
const PORTS: std::ops::Range<u32> = 20_000..32_000;

/// A local address nobody listens on, different at each call.
///
/// # Errors
///
/// When no port in the range can be bound.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let size = PORTS.end - PORTS.start;
    // Processes that run side by side have neighbouring ids: give each a stretch of its own to begin with.
    let stretch = std::process::id().wrapping_mul(97) % size;
    for _ in 0..size {
        let offset = (stretch + NEXT.fetch_add(1, Ordering::Relaxed)) % size;
        let port = u16::try_from(PORTS.start + offset).context("a port")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port in {PORTS:?}");
}
