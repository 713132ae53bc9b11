//! Asks a collector on this machine whether applications can connect: for probes and hooks where there is no HTTP.

use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use sidetrail_collector::config::Listen;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How often it is tried.
const EVERY: Duration = Duration::from_millis(100);

/// Connects, and hangs up. Where that fails it is tried again until `wait` is over.
pub(crate) fn probe(listen: &Listen, wait: Duration) -> io::Result<()> {
    let deadline = Instant::now() + wait;
    loop {
        match connect(listen) {
            Err(_) if Instant::now() < deadline => thread::sleep(EVERY),
            result => return result,
        }
    }
}

fn connect(listen: &Listen) -> io::Result<()> {
    match (&listen.socket, listen.tcp) {
        (Some(socket), _) => UnixStream::connect(socket).map(drop),
        (None, Some(address)) => TcpStream::connect_timeout(&address, CONNECT).map(drop),
        (None, None) => Err(io::Error::other("neither listen.socket nor listen.tcp is set")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listener_is_waited_for_and_no_longer() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("collector.sock");
        let listen = Listen { socket: Some(socket.clone()), ..Listen::default() };
        assert!(probe(&listen, Duration::ZERO).is_err());
        let (late, waits) = (socket, listen.clone());
        let waiting = thread::spawn(move || probe(&waits, Duration::from_secs(30)));
        let _listener = UnixListener::bind(late).unwrap();
        waiting.join().unwrap().unwrap();
        probe(&listen, Duration::ZERO).unwrap();
    }
}
