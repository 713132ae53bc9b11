//! Just enough HTTP to ask a local server how it is, without an HTTP client in every test binary.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

/// A health or metrics page is far below; a server that never ends its answer must not fill the memory.
const MAX_RESPONSE: u64 = 16 << 20;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What a server answered.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, with what is not UTF-8 replaced.
    pub body: String,
}

/// Sends `GET path`. HTTP/1.0, so that the body is neither chunked nor kept open.
///
/// # Errors
///
/// When there is no answer, or it is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no header")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Response { status: status.context("the answer has no status")?, body: body.to_owned() })
}
