//! Requests to services of AWS that `object_store` does not speak to, signed by its own means. Every header is set before the
//! signature, which covers all of them.

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, Method, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequestBody};

use super::{generic, in_time};

/// The most bytes of an answer that are read: configurations of buckets, keys and errors are small.
const MAX_ANSWER: usize = 256 << 10;

/// A service, and what it takes to sign requests to it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(super) client: HttpClient,
    pub(super) credentials: AwsCredentialProvider,
    /// As signatures name it.
    pub(super) name: &'static str,
    pub(super) region: String,
    /// The URL that paths follow, without a slash at its end.
    pub(super) url: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Service {
    /// A service other than S3, reached as the variables have it; `region` and `endpoint` win over theirs.
    #[cfg(feature = "kms")]
    pub(crate) fn new(
        name: &'static str,
        region: Option<&str>,
        endpoint: Option<String>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, super::OpenError> {
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.contains('@')) {
            return Err(super::OpenError::Credentials(name.to_owned()));
        }
        // The name of the bucket goes nowhere: what is wanted is what finds credentials.
        let builder = super::configured(endpoint.as_deref(), env, super::POOL).with_bucket_name(name);
        let region = region.map_or_else(|| super::region_of(&builder), str::to_owned);
        let url = endpoint.unwrap_or_else(|| format!("https://{name}.{region}.amazonaws.com"));
        let client = |cause| super::OpenError::Client { name: format!("{name} at {url}"), cause };
        let connector = super::Keeping::default();
        let s3 = builder.with_http_connector(connector.clone()).build().map_err(client)?;
        let none = || client(generic(std::io::Error::other("it has no HTTP client")));
        let http = connector.last().ok_or_else(none)?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { client: http, credentials: std::sync::Arc::clone(s3.credentials()), name, region, url })
    }

    /// Sends a request; `path` begins with a slash and is encoded.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> object_store::Result<Answer> {
        let sent = async {
            let mut request = http::Request::new(HttpRequestBody::from(body));
            *request.method_mut() = method;
            *request.uri_mut() = format!("{}{path}", self.url).parse().map_err(generic)?;
            *request.headers_mut() = headers;
            let credentials = self.credentials.get_credential().await?;
            AwsAuthorizer::new(&credentials, self.name, &self.region).authorize(&mut request, None);
            let response = self.client.execute(request).await.map_err(generic)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut chunks = response.into_body().bytes_stream();
            let mut body = Vec::new();
            while let Some(chunk) = chunks.try_next().await.map_err(generic)? {
                let room = MAX_ANSWER - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(Answer { status, headers, body: body.into() })
        };
        in_time(0, sent).await
    }
}
