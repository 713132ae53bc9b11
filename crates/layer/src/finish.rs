//! The end of a request: what it leaves behind goes to the sink.

use std::{mem, sync::Arc};

use http::StatusCode;

use crate::{
    Delivery, Draft, Level,
    additions::Additions,
    capture::Tee,
    delivery::Receipt,
    draft::Ended,
    exchange::{Answer, Exchange},
    outcome::End,
    policy::Action,
};

impl Exchange {
    /// Ends the request and hands over what its record is made of. The caller sees to it that this happens once. An
    /// answer that is to wait for the record gets a receipt.
    pub(crate) fn finish(self: Arc<Self>, end: End, answer: Answer) -> Option<Receipt> {
        let mut state = self.lock();
        state.finished = true;
        let action = Arc::clone(&state.action);
        let additions = mem::take(&mut state.additions);
        let tee = mem::take(&mut state.tee);
        let permit = mem::take(&mut state.permit);
        drop(state);
        self.take_note(&action, &answer, &additions, &tee);
        if action.level == Level::None {
            return None;
        }
        let policy = Arc::clone(&self.policy);
        let waits = self.delivery_of(&action) == Delivery::Durable && end == End::Answered;
        let draft = Draft::new(self, action, end, Ended { answer, additions, tee, permit });
        if waits {
            return Some(policy.sink.store(draft, policy.deadline));
        }
        policy.sink.accept(draft);
        None
    }

    /// Takes note of what coverage tells.
    fn take_note(&self, action: &Arc<Action>, answer: &Answer, additions: &Additions, tee: &Tee) {
        // The service knows the gRPC method, then: a path that it does not know is nobody's route.
        const UNIMPLEMENTED: u16 = 12;
        let knows_method = || answer.grpc.is_some_and(|code| code != UNIMPLEMENTED);
        if action.grpc_service.is_some() && !action.seen.is_kept() && knows_method() {
            self.policy.actions.keep(&self.method, self.texts.path(), &self.base);
        }
        let template = match action.grpc_service {
            Some(_) => Some(self.texts.path()),
            None => self.route.known(),
        };
        let Some(template) = template.filter(|_| action.seen.is_kept()) else { return };
        // A router that knows the path but not the method has no such route.
        if answer.status == Some(StatusCode::METHOD_NOT_ALLOWED) {
            return;
        }
        let source = match (&additions.identity, &self.caller) {
            (Some(_), _) => Some("handler"),
            (None, heard) => self.policy.chain.source(heard),
        };
        let has_body = tee.seen > 0 && action.level >= Level::Request;
        if action.seen.note(source, !additions.resources.is_empty(), has_body) {
            self.policy.first_call(&self.method, template, action);
        }
    }
}
