//! Just enough HTTP to ask a local server how it is, without an HTTP client in every test binary.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use http::HeaderMap;

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
    exchange(address, format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())
}

/// Sends `GET path` as a browser does, which wants HTML.
///
/// # Errors
///
/// As [`get`].
pub fn get_page(address: SocketAddr, path: &str) -> Result<Response> {
    let accept = "Accept: text/html,application/xhtml+xml";
    exchange(address, format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{accept}\r\n\r\n").as_bytes())
}

/// Sends `POST /` with headers and a body.
///
/// # Errors
///
/// As [`get`].
pub fn post(address: SocketAddr, headers: &HeaderMap, body: &[u8]) -> Result<Response> {
    let mut request = b"POST / HTTP/1.0\r\n".to_vec();
    for (name, value) in headers {
        write!(request, "{name}: ")?;
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    write!(request, "Content-Length: {}\r\n\r\n", body.len())?;
    request.extend_from_slice(body);
    exchange(address, &request)
}

fn exchange(address: SocketAddr, request: &[u8]) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no header")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Response { status: status.context("the answer has no status")?, body: body.to_owned() })
}
