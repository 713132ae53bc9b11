//! Calls of which nobody said which route they took.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use http::{Method, StatusCode};

/// Guessed routes that are told. Whoever calls chooses the path.
const MAX_GUESSES: usize = 64;

/// What was guessed of calls that the service had an answer to, and how many it had none to.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    routes: Mutex<Vec<Guess>>,
    unnamed: AtomicU64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guess {
    pub(crate) method: String,
    pub(crate) template: String,
    pub(crate) name: String,
}

impl Guesses {
    /// A record of such a call is being written.
    pub(crate) fn note(&self, method: &Method, template: &str, name: &str, status: Option<StatusCode>) {
        if matches!(status, Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)) {
            self.unnamed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = routes.iter().any(|route| route.method == method.as_str() && route.template == template);
        if !known && routes.len() < MAX_GUESSES {
            let (method, template, name) = (method.to_string(), template.to_owned(), name.to_owned());
            routes.push(Guess { method, template, name });
        }
    }

    pub(crate) fn routes(&self) -> Vec<Guess> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn unnamed(&self) -> u64 {
        self.unnamed.load(Ordering::Relaxed)
    }
}
