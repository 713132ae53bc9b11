//! How much of a call is recorded, and what of it is hidden.

use http::HeaderName;

use crate::{BuildError, Builder, Level, MAX_BODY_CAP, redact::Mark};

/// Fewer bytes are no key: a variable that is not set, perhaps.
const MIN_KEY: usize = 16;

impl Builder {
    /// How much is recorded where no [rule](Self::route) says otherwise. [`Level::Request`] by default.
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Up to how many bytes of a body are copied. [`DEFAULT_BODY_CAP`](crate::DEFAULT_BODY_CAP) by default,
    /// [`MAX_BODY_CAP`] at most. Of a longer body the record has the size and the [hash](Self::body_hash).
    pub fn body_cap(mut self, bytes: usize) -> Self {
        self.body_cap = bytes.min(MAX_BODY_CAP);
        self
    }

    /// Whether a body that is read to its end and is not in the record, because it is longer than the
    /// [cap](Self::body_cap) or neither JSON nor a form, is hashed as it streams by: `http.request.body.sha256` in
    /// `additionalEventData`, and `http.response.body.sha256` where responses are recorded. On by default; a
    /// [rule](crate::Rule::body_hash) may say otherwise.
    ///
    /// A hash tells who has the file that it is that file. Of a short body with a secret in it one could also find the
    /// secret by trying; so gRPC messages, multipart bodies and short JSON that is broken have none.
    pub fn body_hash(mut self, hash: bool) -> Self {
        self.body_hash = hash;
        self
    }

    /// Hides values under one more name, at any depth of bodies and in queries, forms, paths and headers. Case and
    /// separators do not count: `tax_number` is `taxNumber`.
    pub fn redact(mut self, name: &str) -> Self {
        self.redactor.deny(name);
        self
    }

    /// Writes behind the mark of a hidden value the first half of its HMAC-SHA256 under this key, so that equal secrets
    /// can be seen to be equal: `HIDDEN_DUE_TO_SECURITY_REASONS:hmac-sha256:1f0c6b7ad5a9e7f3`.
    ///
    /// The code is over the value only, whatever it is called and wherever it is. Values that are objects, arrays or
    /// `null` have the plain mark. Whoever has the key can find a value that is easily guessed, a PIN or a card number:
    /// keep it where those who read records cannot get it, use 32 random bytes (fewer than 16 are refused), and change it
    /// now and then.
    pub fn redaction_key(mut self, key: impl AsRef<[u8]>) -> Self {
        if key.as_ref().len() < MIN_KEY {
            self.problem.get_or_insert(BuildError::RedactionKey);
        }
        self.redactor.set_mark(Mark::keyed(key.as_ref()));
        self
    }

    /// Records these headers of requests, as `http.request.header.<name>` in `additionalEventData`. Values go by the
    /// same rules as all others: `authorization` and `cookie` are hidden.
    pub fn record_headers<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        for name in names {
            match name.as_ref().parse::<HeaderName>() {
                Ok(name) if self.headers.contains(&name) => {}
                Ok(name) => self.headers.push(name),
                Err(_) => _ = self.problem.get_or_insert(BuildError::Header(name.as_ref().to_owned())),
            }
        }
        self
    }

    /// Records gRPC messages by these descriptors: the bytes of a `FileDescriptorSet`, as `protoc
    /// --descriptor_set_out --include_imports` and `prost-build` write them. A unary request's fields become
    /// `requestParameters`, under their names in JSON; a stream's first messages are recorded as `messages`, with their
    /// `count`. Responses are recorded at [`Level::RequestResponse`].
    ///
    /// Compressed messages, and those over the [cap](Self::body_cap), are said to be omitted. Without descriptors the
    /// record has a message's size only.
    #[cfg(feature = "grpc-messages")]
    pub fn grpc_descriptors(mut self, file_descriptor_set: &[u8]) -> Self {
        match crate::capture::Descriptors::decode(file_descriptor_set) {
            Ok(descriptors) => self.descriptors = Some(descriptors),
            Err(error) => _ = self.problem.get_or_insert(BuildError::Descriptors(error.to_string())),
        }
        self
    }
}
