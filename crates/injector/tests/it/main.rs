//! What the injector makes of pods: captured and made-up ones, judged by what a server and Pod Security would say.

mod golden;
mod judge;
mod pods;
mod property;
mod questions;
mod shapes;
