//! Puts Sidetrail's collector into Kubernetes pods, and says which pods are without.
//!
//! [`inject`] is what is changed of a pod, [`intent`] whether it is meant to be, [`options`] what is asked of its collector,
//! [`admit`] how a review is answered by them. They are pure. Around them are [`serve`] (HTTP and TLS), [`certificates`],
//! [`kube`] (the API), [`unaudited`] (the controller), and [`run`], which has them run together.

pub mod admit;
pub mod certificates;
pub mod config;
pub mod inject;
pub mod intent;
pub mod kube;
pub mod metrics;
pub mod names;
pub mod namespaces;
pub mod options;
pub mod patch;
pub mod quantity;
pub mod review;
pub mod run;
pub mod serve;
pub mod unaudited;

/// An error and what caused it, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
