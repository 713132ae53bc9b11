//! Talks to the collector that runs beside this process, over the address of its probes.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Of one request.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked whether applications are still connected.
const EVERY: Duration = Duration::from_millis(250);
/// Answers are a line.
const MAX_ANSWER: u64 = 4096;

/// Announces the end, and waits until no application is connected, at most for `wait`.
pub(crate) fn flush(address: SocketAddr, wait: Duration) -> io::Result<()> {
    let deadline = Instant::now() + wait;
    loop {
        let streams = announce(address)?;
        if streams == 0 || Instant::now() + EVERY > deadline {
            return Ok(());
        }
        thread::sleep(EVERY);
    }
}

/// Announces the end; how many applications are connected.
fn announce(address: SocketAddr) -> io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(&here(address), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(
        b"POST /flush HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    )?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    let unexpected =
        || io::Error::other(format!("it answers {:?}", answer.lines().next().unwrap_or_default()));
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(unexpected)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(unexpected());
    }
    let body: serde_json::Value = serde_json::from_str(body).map_err(|_| unexpected())?;
    body["streams"].as_u64().ok_or_else(unexpected)
}

/// One that listens everywhere listens on loopback.
fn here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
