//! What headers say about a body.

use http::{HeaderMap, header};

/// RFC 2046 allows no longer ones.
const MAX_BOUNDARY: usize = 70;

/// How a body is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// JSON text.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data` with this boundary.
    Multipart(String),
    /// gRPC's length-prefixed messages.
    Grpc,
    /// Anything else, and whatever is compressed.
    #[default]
    Opaque,
}

impl BodyKind {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
            return Self::Opaque;
        };
        let is_encoded = headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity");
        if is_encoded { Self::Opaque } else { Self::of_content_type(text) }
    }

    fn of_content_type(text: &str) -> Self {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim();
        // As nearly everybody writes it.
        if essence == "application/json" {
            return Self::Json;
        }
        match essence.to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Self::Form,
            "multipart/form-data" => boundary(parameters).map_or(Self::Opaque, Self::Multipart),
            "application/json" => Self::Json,
            "application/grpc" | "application/grpc+proto" => Self::Grpc,
            other if other.ends_with("+json") && !other.starts_with("application/grpc") => Self::Json,
            _ => Self::Opaque,
        }
    }
}

/// The content type, as far as it is text.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<Box<str>> {
    Some(headers.get(header::CONTENT_TYPE)?.to_str().ok()?.into())
}

fn boundary(parameters: &str) -> Option<String> {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (1..=MAX_BOUNDARY).contains(&value.len()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn content_types_are_told_apart() {
        let kind = |text: &'static str| {
            BodyKind::of(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]))
        };
        assert_eq!(kind("Application/JSON; charset=utf-8"), BodyKind::Json);
        assert_eq!(kind("application/merge-patch+json"), BodyKind::Json);
        assert_eq!(kind("application/x-www-form-urlencoded"), BodyKind::Form);
        assert_eq!(kind("multipart/form-data; Boundary=\"a b\""), BodyKind::Multipart("a b".to_owned()));
        assert_eq!(kind("multipart/form-data"), BodyKind::Opaque);
        assert_eq!(kind("application/grpc+proto"), BodyKind::Grpc);
        assert_eq!(kind("application/grpc+json"), BodyKind::Opaque);
        assert_eq!(kind("text/plain"), BodyKind::Opaque);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(BodyKind::of(&headers), BodyKind::Opaque);
    }
}
