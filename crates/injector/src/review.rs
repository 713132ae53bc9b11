//! AdmissionReview, `admission.k8s.io/v1`: what the API server asks, and how it is answered.

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::patch::Add;

/// The only version there is.
pub const API_VERSION: &str = "admission.k8s.io/v1";
/// Its kind.
pub const KIND: &str = "AdmissionReview";
/// Characters of one warning that the API server shows.
const MAX_WARNING: usize = 256;
/// Warnings of one answer: the API server shows 4,096 characters of them in all.
const MAX_WARNINGS: usize = 16;

/// What the API server asks. Its object stays as it came.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review<'a> {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// The request.
    #[serde(borrow)]
    pub request: Option<Request<'a>>,
}

/// A request to admit something.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request<'a> {
    /// Of this call: the same object has another one when it comes again.
    pub uid: String,
    /// What is asked about.
    pub resource: Resource,
    /// Part of it.
    pub sub_resource: Option<String>,
    /// The namespace.
    #[serde(default)]
    pub namespace: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: String,
    /// The object as it is to be.
    #[serde(borrow)]
    pub object: Option<&'a RawValue>,
    /// Nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
}

/// A resource of the API.
#[derive(Debug, Deserialize)]
pub struct Resource {
    /// Empty for the core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural, lower case.
    pub resource: String,
}

impl Request<'_> {
    /// Whether a pod is to be made: nothing else can be given a container.
    #[must_use]
    pub fn creates_pod(&self) -> bool {
        let Resource { group, version, resource } = &self.resource;
        (group.as_str(), version.as_str(), resource.as_str()) == ("", "v1", "pods")
            && self.sub_resource.as_deref().unwrap_or_default().is_empty()
            && self.operation == "CREATE"
    }
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'a str>,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
}

impl<'a> Answer<'a> {
    /// It may be made as it is.
    #[must_use]
    pub fn allowed(uid: &'a str, warnings: &'a [String]) -> Self {
        Self::new(Response { uid, allowed: true, warnings: shown(warnings), ..Response::default() })
    }

    /// It may be made with these changes.
    ///
    /// # Errors
    /// If the patch cannot be written as JSON.
    pub fn patched(uid: &'a str, patch: &[Add], warnings: &'a [String]) -> Result<Self, serde_json::Error> {
        if patch.is_empty() {
            return Ok(Self::allowed(uid, warnings));
        }
        Ok(Self::new(Response {
            uid,
            allowed: true,
            patch: Some(ByteString(serde_json::to_vec(patch)?)),
            patch_type: Some("JSONPatch"),
            warnings: shown(warnings),
            ..Response::default()
        }))
    }

    /// It may not be made.
    #[must_use]
    pub fn denied(uid: &'a str, message: &'a str, warnings: &'a [String]) -> Self {
        let status = Status { code: 403, reason: "Forbidden", message };
        Self::new(Response { uid, status: Some(status), warnings: shown(warnings), ..Response::default() })
    }

    fn new(response: Response<'a>) -> Self {
        Self { api_version: API_VERSION, kind: KIND, response }
    }
}

fn shown(warnings: &[String]) -> Vec<&str> {
    warnings
        .iter()
        .take(MAX_WARNINGS)
        .map(|warning| &warning[..warning.floor_char_boundary(MAX_WARNING)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_the_api_server_reads() {
        let warnings = vec!["é".repeat(200); 20];
        let patch = [Add::new("/metadata/labels/a~1b", "c")];
        let text = serde_json::to_value(Answer::patched("u", &patch, &warnings).unwrap()).unwrap();
        assert_eq!(text["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(text["response"]["patchType"], "JSONPatch");
        let decoded: ByteString = serde_json::from_value(text["response"]["patch"].clone()).unwrap();
        assert_eq!(decoded.0, br#"[{"op":"add","path":"/metadata/labels/a~1b","value":"c"}]"#);
        assert_eq!(text["response"]["warnings"].as_array().unwrap().len(), MAX_WARNINGS);
        assert_eq!(text["response"]["warnings"][0].as_str().unwrap().len(), MAX_WARNING);
        let text = serde_json::to_value(Answer::denied("u", "no", &[])).unwrap();
        assert_eq!(text["response"]["allowed"], false);
        assert_eq!(text["response"]["status"]["message"], "no");
        let text = serde_json::to_value(Answer::patched("u", &[], &[]).unwrap()).unwrap();
        assert!(!text.to_string().contains("patch"), "an empty patch is none");
    }
}
