//! Signing a request.

use http::header::{AUTHORIZATION, InvalidHeaderValue, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{ALGORITHM, DATE_HEADER, Request, Secret, TERMINATOR, TIME_FORMAT, TOKEN_HEADER, canonical, key};

/// Whoever signs.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret: Secret,
    /// The token that goes with temporary ones.
    pub session_token: Option<String>,
}

/// The headers of a request with what signs it: `request` has the headers without that, `host` among them.
///
/// # Errors
/// If the access key or token cannot be in a header.
pub fn sign(
    request: &Request<'_>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    at: Timestamp,
) -> Result<HeaderMap, InvalidHeaderValue> {
    let time = at.to_zoned(TimeZone::UTC).strftime(TIME_FORMAT).to_string();
    let date = time.split('T').next().unwrap_or_default();
    let mut headers = request.headers.clone();
    headers.insert(DATE_HEADER, HeaderValue::from_str(&time)?);
    if let Some(token) = &credentials.session_token {
        let mut value = HeaderValue::from_str(token)?;
        value.set_sensitive(true);
        headers.insert(TOKEN_HEADER, value);
    }
    // Proxies change what clients call themselves.
    let mut signed: Vec<String> = headers
        .keys()
        .filter(|name| **name != USER_AGENT && **name != AUTHORIZATION)
        .map(|name| name.as_str().to_owned())
        .collect();
    signed.sort_unstable();
    let canonical = canonical::request(&Request { headers: &headers, ..*request }, &signed);
    let to_sign = canonical::to_sign(&time, date, region, service, &canonical);
    let signing_key = key::signing_key(&credentials.secret, date, region, service);
    let signature = key::hex(&key::signature(&signing_key, &to_sign));
    let value = format!(
        "{ALGORITHM} Credential={}/{date}/{region}/{service}/{TERMINATOR}, SignedHeaders={}, Signature={signature}",
        credentials.access_key,
        signed.join(";")
    );
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&value)?);
    Ok(headers)
}
