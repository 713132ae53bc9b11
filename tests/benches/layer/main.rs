//! `cargo xtask bench layer`: what the layer adds to a request, beside tower-http's `TraceLayer` with JSON lines.
//!
//! One thread calls axum routers that differ in their middleware only, in turn, round after round, so that whatever else
//! happens on the machine hits all alike; the fastest round counts. What works in the background (the sender and a
//! collector that acks at once, over a real Unix socket; the writer of log lines) runs while it is measured, on threads
//! of its own, and has caught up before the next round: nothing is dropped. The collector reads no more
//! of a batch than it needs for its ack, since it is the service that is measured.
//!
//! Then wrk asks the example service over HTTP/1.1, which is bare, has the layer, or has `TraceLayer`, in turn. What is
//! compared is requests per second, and the CPU that the whole process of the service takes for each.
//!
//! Instructions are those of the calling thread, counted by valgrind where it is installed.

mod app;
mod collector;
mod instructions;
mod otel;
#[path = "../shared.rs"]
mod shared;
mod sink;
mod wrk;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tokio::runtime::Runtime;

use app::{App, Call, Log, Middleware};
use wrk::Throughput;

/// Fewer than the sender's queue holds, so that nothing is dropped in a round. Short rounds find the moments in which
/// the machine does nothing else.
const MAX_REQUESTS: u64 = 5_000;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench layer --")]
struct Arguments {
    /// Requests to each router in a round
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=MAX_REQUESTS))]
    requests: u64,
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Do not count instructions
    #[arg(long)]
    no_instructions: bool,
    /// Only send `--requests` to one router: what runs under valgrind
    #[arg(long, hide = true, value_name = "INDEX")]
    only: Option<usize>,
    /// Do not measure throughput
    #[arg(long)]
    no_wrk: bool,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

/// The routers, and the calls that each gets.
const CASES: [(Middleware, Call); 11] = [
    (Middleware::None, Call::Get),
    (Middleware::Queue, Call::Get),
    (Middleware::Sender, Call::Get),
    (Middleware::Trace, Call::Get),
    (Middleware::TraceBoth, Call::Get),
    (Middleware::None, Call::Post),
    (Middleware::Queue, Call::Post),
    (Middleware::Sender, Call::Post),
    (Middleware::Trace, Call::Post),
    (Middleware::Durable, Call::Get),
    (Middleware::Otel, Call::Get),
];

/// How many of them run side by side. The last has a subscriber of its own.
const TOGETHER: usize = CASES.len() - 1;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    if let Some(index) = arguments.only {
        return only(&arguments, index, &runtime);
    }

    let load = shared::warn_of_load()?;
    let log = Log::start()?;
    let mut times = measure(&arguments, &CASES[..TOGETHER], &log, &runtime)?;
    tracing::dispatcher::with_default(&otel::subscriber(), || {
        times.extend(measure(&arguments, &CASES[TOGETHER..], &log, &runtime)?);
        anyhow::Ok(())
    })?;
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    let counted = if arguments.no_instructions { None } else { instructions::count(CASES.len())? };
    let throughput = if arguments.no_wrk { None } else { wrk::throughput()? };
    report(&arguments, load, &times, counted.as_deref(), throughput);
    Ok(())
}

/// One router in a process of its own.
fn only(arguments: &Arguments, index: usize, runtime: &Runtime) -> Result<()> {
    /// Fewer than the sender takes from requests without their help.
    const AT_ONCE: u64 = 250;
    let (middleware, call) = *CASES.get(index).context("no such case")?;
    let log = Log::start()?;
    let app = App::start(middleware, &log)?;
    let run = || {
        for _ in 0..arguments.requests / AT_ONCE {
            runtime.block_on(app.call(call, AT_ONCE))?;
            app.catch_up()?;
        }
        Ok(())
    };
    if middleware == Middleware::Otel {
        tracing::dispatcher::with_default(&otel::subscriber(), run)
    } else {
        run()
    }
}

/// The times of each case, one a round.
fn measure(
    arguments: &Arguments,
    cases: &[(Middleware, Call)],
    log: &Arc<Log>,
    runtime: &Runtime,
) -> Result<Vec<Vec<f64>>> {
    let mut apps = HashMap::new();
    for (middleware, _) in cases {
        if let Entry::Vacant(place) = apps.entry(*middleware) {
            place.insert(App::start(*middleware, log)?);
        }
    }
    let mut times = vec![Vec::new(); cases.len()];
    // The first round warms up.
    for round in 0..=arguments.rounds {
        for ((middleware, call), times) in cases.iter().zip(&mut times) {
            let app = &apps[middleware];
            // A call that waits for the collector takes a hundred times as long.
            let requests = if *middleware == Middleware::Durable {
                arguments.requests / 10 + 1
            } else {
                arguments.requests
            };
            let began = Instant::now();
            runtime.block_on(app.call(*call, requests))?;
            let time = began.elapsed();
            app.catch_up()?;
            if round > 0 {
                times.push(per_request(time, requests));
            }
        }
    }
    for app in apps.into_values() {
        app.finish()?;
    }
    Ok(times)
}

fn per_request(time: Duration, requests: u64) -> f64 {
    time.as_nanos() as f64 / requests as f64
}

fn report(
    arguments: &Arguments,
    load: f64,
    times: &[Vec<f64>],
    counted: Option<&[f64]>,
    throughput: Option<Throughput>,
) {
    eprintln!("{:<32} {:>9} {:>9} {:>13}", "per request", "min ns", "median ns", "instructions");
    for (index, (middleware, call)) in CASES.iter().enumerate() {
        let count =
            counted.map_or_else(|| "not counted".to_owned(), |counted| format!("{:.0}", counted[index]));
        let (min, median) = (times[index][0], times[index][times[index].len() / 2]);
        eprintln!("{:<32} {min:>9.0} {median:>9.0} {count:>13}", format!("{call:?}, {middleware:?}"));
    }
    let position = |wanted: (Middleware, Call)| CASES.iter().position(|case| *case == wanted).unwrap_or(0);
    let added = |values: &[f64], middleware, call| {
        values[position((middleware, call))] - values[position((Middleware::None, call))]
    };
    let fastest: Vec<f64> = times.iter().map(|times| times[0]).collect();
    let added_ns = |middleware, call| added(&fastest, middleware, call);
    let added_instructions =
        |middleware, call| counted.map(|counted| added(counted, middleware, call).round());
    let ratio = |call| added_ns(Middleware::Sender, call) / added_ns(Middleware::Trace, call);
    let ratio_instructions = |call| {
        Some(shared::round(
            added_instructions(Middleware::Sender, call)? / added_instructions(Middleware::Trace, call)?,
        ))
    };
    let figures = json!({
        "bare_ns": fastest[position((Middleware::None, Call::Get))].round(),
        "bare_post_ns": fastest[position((Middleware::None, Call::Post))].round(),
        "added_ns_metadata": added_ns(Middleware::Sender, Call::Get).round(),
        "added_ns_metadata_queue": added_ns(Middleware::Queue, Call::Get).round(),
        "added_ns_body_1k": added_ns(Middleware::Sender, Call::Post).round(),
        "added_ns_body_1k_queue": added_ns(Middleware::Queue, Call::Post).round(),
        "tracelayer_added_ns": added_ns(Middleware::Trace, Call::Get).round(),
        "tracelayer_added_ns_post": added_ns(Middleware::Trace, Call::Post).round(),
        "tracelayer_added_ns_two_lines": added_ns(Middleware::TraceBoth, Call::Get).round(),
        "ratio_to_tracelayer": shared::round(ratio(Call::Get)),
        "added_instructions_metadata": added_instructions(Middleware::Sender, Call::Get),
        "added_instructions_body_1k": added_instructions(Middleware::Sender, Call::Post),
        "tracelayer_added_instructions": added_instructions(Middleware::Trace, Call::Get),
        "ratio_to_tracelayer_instructions": ratio_instructions(Call::Get),
        "added_instructions_metadata_queue": added_instructions(Middleware::Queue, Call::Get),
        "added_instructions_body_1k_queue": added_instructions(Middleware::Queue, Call::Post),
        "added_ns_durable": added_ns(Middleware::Durable, Call::Get).round(),
        "otel_added_ns": added_ns(Middleware::Otel, Call::Get).round(),
        "otel_added_instructions": added_instructions(Middleware::Otel, Call::Get),
        "ratio_to_otel": shared::round(
            added_ns(Middleware::Sender, Call::Get) / added_ns(Middleware::Otel, Call::Get)
        ),
        "wrk_ratio_to_bare": throughput.map(|it| shared::round(it.saturated.ratio)),
        "wrk_added_cpu_us": throughput.map(|it| shared::round(it.saturated.added_cpu_us)),
        "wrk_dropped": throughput.map(|it| it.dropped),
        "wrk_ratio_to_bare_tracelayer": throughput.map(|it| shared::round(it.traced.ratio)),
        "wrk_added_cpu_us_tracelayer": throughput.map(|it| shared::round(it.traced.added_cpu_us)),
        "wrk_bare_per_second": throughput.map(|it| it.saturated.bare_per_second.round()),
        "wrk_bare_cpu_us": throughput.map(|it| shared::round(it.saturated.bare_cpu_us)),
        "wrk_ratio_to_bare_waiting": throughput.map(|it| shared::round(it.waiting.ratio)),
        "wrk_bare_per_second_waiting": throughput.map(|it| it.waiting.bare_per_second.round()),
        "requests": arguments.requests,
        "rounds": arguments.rounds,
        "load": load,
    });
    println!("{figures}");
}
