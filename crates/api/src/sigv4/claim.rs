//! What a request says of its signature, and whether that is so.

use http::header::AUTHORIZATION;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::canonical::{self, SIGNATURE_PARAMETER};
use super::{ALGORITHM, DATE_HEADER, Request, Secret, TERMINATOR, TIME_FORMAT, TOKEN_HEADER, key};
use crate::error::{Code, Error, quoted};

/// How far the clocks of client and server may be apart.
pub const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// How long a presigned request may be good, in seconds: a week.
pub const MAX_EXPIRES: u32 = 7 * 24 * 60 * 60;
/// Names of signed headers.
const MAX_SIGNED: usize = 64;

/// What a request says of its signature. Nothing of it is true before [`Claim::verify`] says so.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The access key that it is said to be signed with.
    pub access_key: String,
    /// The region that it is signed for.
    pub region: String,
    /// The service that it is signed for.
    pub service: String,
    /// The token that came along.
    pub session_token: Option<String>,
    /// When it was signed.
    pub at: Timestamp,
    /// For how many seconds, if it is a presigned one.
    pub expires: Option<u32>,
    pub(super) date: String,
    pub(super) time: String,
    pub(super) signed: Vec<String>,
    signature: Vec<u8>,
}

/// What a server asks of a claim.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its clock.
    pub now: Timestamp,
    /// The service that is asked.
    pub service: &'a str,
    /// How far clocks may be apart.
    pub skew: SignedDuration,
}

fn incomplete(message: impl Into<String>) -> Error {
    Error::new(Code::IncompleteSignature, message)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::InvalidSignature, message)
}

impl Claim {
    /// Reads what a request says.
    ///
    /// # Errors
    /// `MissingAuthenticationTokenException` if that is nothing, `IncompleteSignatureException` if it is not all.
    pub fn of(request: &Request<'_>) -> Result<Self, Error> {
        let parameters = canonical::parameters(request.query)
            .ok_or_else(|| incomplete("The query of the request is not UTF-8."))?;
        let presigned = parameters.iter().any(|(name, _)| name == SIGNATURE_PARAMETER);
        match request.headers.get(AUTHORIZATION) {
            Some(_) if presigned => {
                Err(incomplete("A request is signed either by Authorization header or by query parameters."))
            }
            Some(value) => Self::of_header(request, value.to_str().unwrap_or_default()),
            None if presigned => Self::of_query(&parameters),
            None => Err(Error::new(Code::MissingAuthenticationToken, "Missing Authentication Token")),
        }
    }

    fn of_header(request: &Request<'_>, value: &str) -> Result<Self, Error> {
        let rest = value.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' '));
        let Some(rest) = rest else {
            return Err(incomplete(format!("Authorization header requires the algorithm {ALGORITHM}.")));
        };
        let parts: Vec<_> = rest.split(',').filter_map(|part| part.trim().split_once('=')).collect();
        let part = |name: &str| {
            one(parts.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value)).ok_or_else(|| {
                incomplete(format!("Authorization header requires exactly one '{name}' parameter."))
            })
        };
        let header = |name: &str| {
            one(request.headers.get_all(name).iter()).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let time = header(DATE_HEADER)
            .ok_or_else(|| incomplete("Authorization header requires exactly one 'X-Amz-Date' header."))?;
        let claim = Self::new(part("Credential")?, part("SignedHeaders")?, part("Signature")?, &time)?;
        Ok(Self { session_token: header(TOKEN_HEADER), ..claim })
    }

    fn of_query(parameters: &[(String, String)]) -> Result<Self, Error> {
        let find = |name: &str| {
            one(parameters.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()))
        };
        let part = |name: &str| {
            find(name).ok_or_else(|| {
                incomplete(format!("AWS query-string parameters must include exactly one '{name}'."))
            })
        };
        if part("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete(format!("X-Amz-Algorithm must be {ALGORITHM}.")));
        }
        let expires = part("X-Amz-Expires")?.parse().ok().filter(|it| (1..=MAX_EXPIRES).contains(it));
        let expires = expires
            .ok_or_else(|| incomplete(format!("X-Amz-Expires must be 1 to {MAX_EXPIRES} seconds.")))?;
        let claim = Self::new(
            part("X-Amz-Credential")?,
            part("X-Amz-SignedHeaders")?,
            part(SIGNATURE_PARAMETER)?,
            part("X-Amz-Date")?,
        )?;
        let session_token = find("X-Amz-Security-Token").map(str::to_owned);
        Ok(Self { session_token, expires: Some(expires), ..claim })
    }

    fn new(credential: &str, signed: &str, signature: &str, time: &str) -> Result<Self, Error> {
        let parts: Vec<_> = credential.rsplitn(5, '/').collect();
        let [TERMINATOR, service, region, date, access_key] = parts[..] else {
            return Err(incomplete(
                "Credential must have the form access-key/date/region/service/aws4_request.",
            ));
        };
        let at = jiff::civil::DateTime::strptime(TIME_FORMAT, time)
            .ok()
            .and_then(|time| time.to_zoned(TimeZone::UTC).ok())
            .ok_or_else(|| incomplete("X-Amz-Date must have the form 20150830T123600Z."))?
            .timestamp();
        if time.get(..8) != Some(date) {
            return Err(invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.",
            ));
        }
        let signed: Vec<_> = signed.split(';').take(MAX_SIGNED + 1).map(str::to_owned).collect();
        let is_lower = |name: &String| !name.is_empty() && !name.bytes().any(|it| it.is_ascii_uppercase());
        if signed.len() > MAX_SIGNED || !signed.is_sorted() || !signed.iter().all(is_lower) {
            return Err(incomplete(format!(
                "SignedHeaders must be up to {MAX_SIGNED} lowercase names, sorted, with ; between them."
            )));
        }
        let signature =
            key::unhex(signature).ok_or_else(|| incomplete("Signature must be hexadecimal digits."))?;
        Ok(Self {
            access_key: access_key.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            session_token: None,
            at,
            expires: None,
            date: date.to_owned(),
            time: time.to_owned(),
            signed,
            signature,
        })
    }

    /// Checks all of it, with the secret of the access key that it names.
    ///
    /// # Errors
    /// `InvalidSignatureException` and what is wrong: service, time, headers that are not signed, or the signature.
    pub fn verify(
        &self,
        request: &Request<'_>,
        secret: &Secret,
        expected: Expected<'_>,
    ) -> Result<(), Error> {
        if self.service != expected.service {
            let service = expected.service;
            return Err(invalid(format!("Credential should be scoped to correct service: '{service}'.")));
        }
        self.check_time(expected)?;
        for name in canonical::must_be_signed(request.headers) {
            if self.signed.binary_search_by(|signed| signed.as_str().cmp(name)).is_err() {
                let name = quoted(name);
                return Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
            }
        }
        let canonical = canonical::request(request, &self.signed);
        let to_sign = canonical::to_sign(&self.time, &self.date, &self.region, &self.service, &canonical);
        let signing_key = key::signing_key(secret, &self.date, &self.region, &self.service);
        if key::verify(&signing_key, &to_sign, &self.signature) {
            return Ok(());
        }
        Err(invalid(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
        ))
    }

    fn check_time(&self, expected: Expected<'_>) -> Result<(), Error> {
        let Expected { now, skew, .. } = expected;
        let minutes = skew.as_mins();
        let good_for = self.expires.map_or(skew, |seconds| SignedDuration::from_secs(seconds.into()));
        let age = now.duration_since(self.at);
        let (time, now) = (&self.time, now.to_zoned(TimeZone::UTC).strftime(TIME_FORMAT).to_string());
        if age > good_for {
            return Err(invalid(match self.expires {
                Some(seconds) => {
                    format!("Signature expired: {time} was good for {seconds} s and it is now {now}")
                }
                None => {
                    format!("Signature expired: {time} is now earlier than {now} minus {minutes} min.")
                }
            }));
        }
        if -age > skew {
            return Err(invalid(format!(
                "Signature not yet current: {time} is still later than {now} plus {minutes} min."
            )));
        }
        Ok(())
    }
}

fn one<T>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.next().is_none().then_some(first)
}
