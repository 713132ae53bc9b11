//! What comes of a call: what the handler does, what the caller sees, and what is to be in a record.

use axum::body::Body;
use http::{Response, header};
use serde_json::{Value, json};
use sidetrail::Audit;

use super::{
    HIDDEN, SECRET,
    bodies::{Carrier, message},
    transports::{Stage, Transport},
};
use crate::support::{Script, Step};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// With a length, where there can be one.
    Answers,
    /// In pieces.
    Streams,
    /// With words of the handler's own about what went wrong.
    Explains,
    /// gRPC: the status is in the head, and there is nothing else.
    AnswersAtOnce,
    Panics,
    /// After the first part of the answer.
    Fails,
    LeavesBefore,
    LeavesDuring,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Http,
    Grpc,
    Both,
}

pub(super) struct Outcome {
    pub(super) label: &'static str,
    of: Of,
    pub(super) act: Act,
    pub(super) status: u16,
    /// gRPC's own.
    code: &'static str,
    pub(super) error: Option<(&'static str, &'static str)>,
}

/// What a caller saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It went away.
    Nothing,
    /// No answer, or none that came to its end.
    Broken,
    /// A status, and gRPC's.
    Answer(u16, Option<u16>),
}

const ANSWERED: Outcome =
    Outcome { label: "answered", of: Of::Both, act: Act::Answers, status: 200, code: "0", error: None };

pub(super) static OUTCOMES: [Outcome; 10] = [
    ANSWERED,
    Outcome { label: "created", of: Of::Http, act: Act::Streams, status: 201, ..ANSWERED },
    Outcome {
        label: "denied",
        of: Of::Http,
        status: 403,
        error: Some(("AccessDenied", "Forbidden")),
        ..ANSWERED
    },
    Outcome {
        label: "denied in trailers",
        of: Of::Grpc,
        code: "7",
        error: Some(("AccessDenied", "PERMISSION_DENIED")),
        ..ANSWERED
    },
    Outcome {
        label: "denied at once",
        of: Of::Grpc,
        act: Act::AnswersAtOnce,
        code: "7",
        error: Some(("AccessDenied", "PERMISSION_DENIED")),
        ..ANSWERED
    },
    Outcome {
        label: "handler's error",
        act: Act::Explains,
        code: "9",
        error: Some(("InsufficientStock", HIDDEN)),
        ..ANSWERED
    },
    Outcome {
        label: "panic",
        act: Act::Panics,
        error: Some(("InternalFailure", "handler panicked")),
        ..ANSWERED
    },
    Outcome {
        label: "body fails",
        act: Act::Fails,
        error: Some(("InternalFailure", "response body failed")),
        ..ANSWERED
    },
    Outcome {
        label: "caller leaves before the answer",
        act: Act::LeavesBefore,
        error: Some(("ClientClosedRequest", "cancelled before the response")),
        ..ANSWERED
    },
    Outcome {
        label: "caller leaves during the answer",
        act: Act::LeavesDuring,
        error: Some(("ClientClosedRequest", "cancelled during the response")),
        ..ANSWERED
    },
];

impl Outcome {
    pub(super) fn is_of(&self, carrier: Carrier) -> bool {
        match self.of {
            Of::Http => carrier == Carrier::Http,
            Of::Grpc => carrier != Carrier::Http,
            Of::Both => true,
        }
    }

    /// Whether the answer comes to its end.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self.act, Act::Answers | Act::Streams | Act::Explains | Act::AnswersAtOnce)
    }

    pub(super) fn seen(&self, transport: Transport) -> Seen {
        let code = (transport.carrier() != Carrier::Http).then(|| self.code.parse().unwrap());
        match self.act {
            Act::LeavesBefore | Act::LeavesDuring => Seen::Nothing,
            Act::Fails => Seen::Broken,
            // What catches panics answers in the handler's place.
            Act::Panics if transport.is_served() => Seen::Answer(500, None),
            Act::Panics => Seen::Broken,
            _ => Seen::Answer(self.status, code),
        }
    }

    /// Status, and gRPC's, of the record.
    pub(super) fn statuses(&self, carrier: Carrier) -> [Value; 2] {
        let has_head = !matches!(self.act, Act::Panics | Act::LeavesBefore);
        let has_code = self.is_answered() && carrier != Carrier::Http;
        [json!(has_head.then_some(self.status)), json!(has_code.then(|| self.code.parse::<u16>().unwrap()))]
    }

    /// What the handler does once it has read the request.
    pub(super) async fn act(&self, stage: &Stage, audit: &Audit) -> Response<Body> {
        match self.act {
            Act::Explains => audit.error("InsufficientStock", format!("Bearer {SECRET}")),
            // Nothing is printed then.
            Act::Panics => std::panic::resume_unwind(Box::new(format!("Bearer {SECRET}"))),
            Act::LeavesBefore => {
                stage.begun.notify_one();
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        let carrier = stage.case.transport.carrier();
        let mut response = Response::builder().status(self.status);
        let is_http = carrier == Carrier::Http;
        let content_type = if is_http { "application/json" } else { "application/grpc" };
        response = response.header(header::CONTENT_TYPE, content_type);
        if self.act == Act::AnswersAtOnce {
            response = response.header("grpc-status", self.code);
        }
        response.body(self.body(carrier)).unwrap()
    }

    fn body(&self, carrier: Carrier) -> Body {
        let pieces: Vec<Vec<u8>> = match carrier {
            Carrier::Http => vec![b"{\"token\":\"".to_vec(), SECRET.into(), b"\"}".to_vec()],
            Carrier::Unary if self.code != "0" => Vec::new(),
            Carrier::Unary => vec![message()],
            Carrier::Streaming => vec![message(); 3],
        };
        if carrier == Carrier::Http && matches!(self.act, Act::Answers | Act::Explains) {
            return Body::from(pieces.concat());
        }
        if self.act == Act::AnswersAtOnce {
            return Body::empty();
        }
        let end = match self.act {
            Act::Fails => Some(Step::Fail),
            Act::LeavesDuring => Some(Step::Pending),
            _ if carrier == Carrier::Http => None,
            _ => Some(Step::Trailers("grpc-status", self.code)),
        };
        Body::new(Script::new(pieces.into_iter().map(|piece| Step::Data(piece.into())).chain(end)))
    }
}
