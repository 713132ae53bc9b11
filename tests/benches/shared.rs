//! What the benches have in common.

use std::fs;

use anyhow::{Context, Result};

/// Says so when something else runs: the figures are then upper bounds.
pub(crate) fn warn_of_load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("the benches need Linux")?;
    let load = text.split(' ').next().and_then(|load| load.parse().ok()).context("a load average")?;
    if load > 1.0 {
        eprintln!("WARNING: the load average is {load}. Something else runs here; times will be too long.");
    }
    Ok(load)
}

/// Three digits after the point are more than any of the figures is worth.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
