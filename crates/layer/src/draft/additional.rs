//! `additionalEventData` of a record: OpenTelemetry's attribute names where it has one.

use sidetrail_record::limits;

use super::{Draft, Ended};
use crate::{
    capture::{Fields, push_string},
    identity::Who,
};

/// Bytes of JSON that a record's headers may take.
const MAX_HEADER_BYTES: usize = 8 * 1024;

impl Draft {
    pub(super) fn additional(&self, ended: &Ended, who: &Who<'_>, template: &str) -> Option<String> {
        const USUAL: usize = 384;
        let (request, answer) = (&ended.tee, &ended.answer);
        let mut fields = Fields::with_capacity(USUAL);
        fields.string("http.request.method", self.exchange.method.as_str());
        let is_known = self.exchange.route.known().is_some();
        fields.string(if is_known { "http.route" } else { "url.template" }, template);
        if let Some(service) = &self.action.grpc_service {
            fields.string("rpc.system", "grpc");
            fields.string("rpc.service", service);
        }
        if let Some(status) = answer.status {
            fields.number("http.response.status_code", status.as_u16().into());
        }
        if let Some(code) = answer.grpc {
            fields.number("rpc.grpc.status_code", code.into());
        }
        fields.number("http.request.body.size", request.seen);
        if let Some(hash) = request.sha256() {
            fields.string("http.request.body.sha256", &hash);
        }
        fields.number("http.response.body.size", answer.tee.seen);
        if let Some(hash) = answer.tee.sha256() {
            fields.string("http.response.body.sha256", &hash);
        }
        fields.thousandths("durationMs", u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX));
        if let Some((trace, span)) = self.exchange.texts.trace().and_then(trace_context) {
            fields.string("trace_id", trace);
            fields.string("span_id", span);
        }
        who.describe(&mut fields);
        self.exchange.addresses.describe(&mut fields);
        self.headers(&mut fields);
        if let Some(change) = ended.additions.change.json() {
            fields.member("change", |out| out.push_str(&change));
        }
        fields.finish()
    }

    /// `http.request.header.<name>`, as OpenTelemetry has it: a list, since a header may come more than once.
    fn headers(&self, fields: &mut Fields) {
        let headers = &self.exchange.headers;
        let mut room = MAX_HEADER_BYTES;
        for group in headers.chunk_by(|(one, _), (other, _)| one == other) {
            let name = group[0].0.as_str();
            let before = fields.len();
            fields.named(&format!("http.request.header.{name}"), |out| {
                for (index, (_, value)) in group.iter().enumerate() {
                    out.push(if index == 0 { '[' } else { ',' });
                    let text = String::from_utf8_lossy(value.as_bytes());
                    let mut text = self.action.redactor.value(name, text).into_owned();
                    limits::cut(&mut text, limits::MAX_TEXT);
                    push_string(out, &text);
                }
                out.push(']');
            });
            match room.checked_sub(fields.len() - before) {
                Some(left) => room = left,
                None => fields.truncate(before),
            }
        }
    }
}

/// Trace id and span id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_context(header: &[u8]) -> Option<(&str, &str)> {
    let id = |bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_hex && text.bytes().any(|byte| byte != b'0')).then_some(text)
    };
    let [_, _, b'-', rest @ ..] = header else { return None };
    let (trace, rest) = rest.split_at_checked(32)?;
    let (span, rest) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
    // Versions to come may have more behind the flags.
    rest.starts_with(b"-").then_some((id(trace)?, id(span)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_context_is_believed_where_it_is_well_formed() {
        let parse = |text: &'static str| trace_context(text.as_bytes()).is_some();
        assert!(parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        assert!(!parse("00-00000000000000000000000000000000-00f067aa0ba902b7-01"));
        assert!(!parse("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01"));
        assert!(!parse("00-4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(!parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"));
        assert!(!parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b70-1"));
        assert!(!parse("00-4bf92f3577b34da6a3ce929d0e0e473G-00f067aa0ba902b7-01"));
        assert!(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future"));
        assert!(!parse(""));
    }
}
