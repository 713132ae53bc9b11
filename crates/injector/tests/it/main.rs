//! What the injector makes of pods: captured and made-up ones, judged by what a server and Pod Security would say.

mod api;
mod caller;
mod golden;
mod judge;
mod leases;
mod pods;
mod property;
mod questions;
mod rotation;
mod shapes;
mod together;
mod unaudited;
