//! `requestParameters` and `responseElements` of a record.

use sidetrail_record::{Json, limits};

use super::Draft;
use crate::{
    additions::TypedBody,
    capture::{Object, Tee},
    redact::Redactor,
    route::Parameter,
};

impl Draft {
    pub(super) fn parameters(&mut self, path: Vec<Parameter<'_>>) -> Json {
        let redactor = &self.action.redactor;
        let mut object = Object::request(&self.ended.additions.parameters);
        object.path(path, redactor);
        if let Some(query) = self.exchange.texts.query() {
            object.query(query, redactor);
        }
        if !self.is_message(Side::Request, &mut object) {
            let typed = self.ended.additions.request_body.take();
            record_body(typed, &self.ended.tee, &mut object, redactor);
        }
        object.finish().unwrap_or_else(Json::null)
    }

    pub(super) fn elements(&mut self) -> Json {
        let redactor = &self.action.redactor;
        let pointers = &self.action.rule.capture.elements;
        let mut object = Object::response(&self.ended.additions.elements);
        if !pointers.is_empty() && self.ended.additions.response_body.is_none() {
            self.ended.answer.tee.pick(pointers, &mut object, redactor);
        } else if !self.is_message(Side::Response, &mut object) {
            let typed = self.ended.additions.response_body.take();
            record_body(typed, &self.ended.answer.tee, &mut object, redactor);
        }
        object.finish().unwrap_or_else(Json::null)
    }

    /// Records a gRPC message that has a descriptor.
    #[cfg(feature = "grpc-messages")]
    fn is_message(&self, side: Side, object: &mut Object) -> bool {
        let Some(descriptors) = &self.exchange.policy.descriptors else { return false };
        if self.action.grpc_service.is_none() {
            return false;
        }
        let Some(call) = descriptors.call(self.exchange.texts.path()) else { return false };
        let redactor = &self.action.redactor;
        match side {
            Side::Request => self.ended.tee.record_messages(&call.request, object, redactor),
            Side::Response => self.ended.answer.tee.record_messages(&call.response, object, redactor),
        }
    }

    #[cfg(not(feature = "grpc-messages"))]
    fn is_message(&self, _: Side, _: &mut Object) -> bool {
        false
    }
}

#[derive(Clone, Copy)]
enum Side {
    Request,
    Response,
}

/// Adds a body as the handler says that it is, else as it came.
fn record_body(typed: Option<TypedBody>, tee: &Tee, object: &mut Object, redactor: &Redactor) {
    match typed.filter(|_| tee.is_wanted()) {
        None => tee.record(object, redactor),
        Some(TypedBody::Json(text)) => {
            // What serde_json wrote is JSON; it may still be nested too deeply.
            if object.body(&text, redactor).is_err() {
                let omitted = limits::omitted("body", text.len());
                object.member("body", |out| out.push_str(omitted.as_str()));
            }
        }
        Some(TypedBody::TooLarge(size)) => {
            let omitted = limits::omitted("body", size);
            object.member("body", |out| out.push_str(omitted.as_str()));
        }
    }
}
