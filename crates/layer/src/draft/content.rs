//! `requestParameters` and `responseElements` of a record.

use sidetrail_record::limits;

use super::{Draft, Ended};
use crate::{
    additions::TypedBody,
    capture::{Object, Tee},
    redact::Redactor,
    route::Parameter,
};

impl Draft {
    /// `requestParameters`, if there are any.
    pub(super) fn parameters(&self, ended: &mut Ended, path: Vec<Parameter<'_>>) -> Option<String> {
        let redactor = &self.action.redactor;
        let mut object = Object::request(&ended.additions.parameters);
        object.path(path, redactor);
        if let Some(query) = self.exchange.texts.query() {
            object.query(query, redactor);
        }
        if !self.is_message(Side::Request, ended, &mut object) {
            let typed = ended.additions.request_body.take();
            record_body(typed, &ended.tee, &mut object, redactor);
        }
        object.finish()
    }

    /// `responseElements`, if there are any.
    pub(super) fn elements(&self, ended: &mut Ended) -> Option<String> {
        let redactor = &self.action.redactor;
        let pointers = &self.action.rule.capture.elements;
        let mut object = Object::response(&ended.additions.elements);
        if !pointers.is_empty() && ended.additions.response_body.is_none() {
            ended.answer.tee.pick(pointers, &mut object, redactor);
        } else if !self.is_message(Side::Response, ended, &mut object) {
            let typed = ended.additions.response_body.take();
            record_body(typed, &ended.answer.tee, &mut object, redactor);
        }
        object.finish()
    }

    /// Records a gRPC message that has a descriptor.
    #[cfg(feature = "grpc-messages")]
    fn is_message(&self, side: Side, ended: &Ended, object: &mut Object) -> bool {
        let Some(descriptors) = &self.exchange.policy.descriptors else { return false };
        if self.action.grpc_service.is_none() {
            return false;
        }
        let Some(call) = descriptors.call(self.exchange.texts.path()) else { return false };
        let redactor = &self.action.redactor;
        match side {
            Side::Request => ended.tee.record_messages(&call.request, object, redactor),
            Side::Response => ended.answer.tee.record_messages(&call.response, object, redactor),
        }
    }

    #[cfg(not(feature = "grpc-messages"))]
    fn is_message(&self, _: Side, _: &Ended, _: &mut Object) -> bool {
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
