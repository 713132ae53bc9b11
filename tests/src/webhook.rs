//! An HTTP endpoint that is as bad as a test wants it to be.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::free_address;

/// Bytes of a body that is read.
const MAX_BODY: u64 = 4 << 20;
/// How long a slow endpoint does not answer: longer than those who ask wait.
const SLOW: Duration = Duration::from_secs(5);
/// How often the listener looks whether it is to end.
const LOOK: Duration = Duration::from_millis(10);

/// How requests are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// With this status.
    Status(u16),
    /// Not before who asks has gone.
    Slow,
}

/// A request that came, and how it was answered.
#[derive(Clone, Debug)]
pub struct Received {
    /// Headers by their lowercase names.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// How it was answered.
    pub mode: Mode,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    received: Vec<Received>,
}

/// The endpoint. It can be stopped and started again at its address.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    listening: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Webhook {
    /// One that answers 200.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub fn start() -> Result<Self> {
        let state = State { mode: Mode::Status(200), received: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let mut webhook = Self { address: free_address()?, state, listening: None };
        webhook.resume()?;
        Ok(webhook)
    }

    /// Listens again.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub fn resume(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).context("the webhook cannot listen")?;
        listener.set_nonblocking(true)?;
        let (end, state) = (Arc::new(AtomicBool::new(false)), Arc::clone(&self.state));
        let ends = Arc::clone(&end);
        let thread = thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let state = Arc::clone(&state);
                        // Who goes early is nobody's business.
                        thread::spawn(move || answer(&stream, &state));
                    }
                    Err(_) => thread::sleep(LOOK),
                }
            }
        });
        self.listening = Some((end, thread));
        Ok(())
    }

    /// Listens no more.
    pub fn stop(&mut self) {
        if let Some((end, thread)) = self.listening.take() {
            end.store(true, Ordering::SeqCst);
            let _ = thread.join();
        }
    }

    /// How requests are answered from now on.
    pub fn set(&self, mode: Mode) {
        self.lock().mode = mode;
    }

    /// What came, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SLOW))?;
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length: u64 = headers.get("content-length").context("no length")?.parse()?;
    let mut body = String::new();
    reader.take(length.min(MAX_BODY)).read_to_string(&mut body)?;
    let mode = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let mode = state.mode;
        state.received.push(Received { headers, body, mode });
        mode
    };
    let mut stream = stream;
    match mode {
        Mode::Status(status) => {
            write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
        }
        Mode::Slow => thread::sleep(SLOW),
    }
    Ok(())
}
