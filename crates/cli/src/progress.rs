//! Progress on standard error. Where that is no terminal, nothing is drawn.

use std::fmt::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often a bar is drawn while nothing moves.
const TICK: Duration = Duration::from_millis(200);

/// Something of unknown length. `template` is indicatif's, with `{rate}` besides.
pub(crate) fn spinner(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    restyle(&bar, template);
    if !bar.is_hidden() {
        bar.enable_steady_tick(TICK);
    }
    bar
}

/// Shows a bar in another form from now on.
pub(crate) fn restyle(bar: &ProgressBar, template: &str) {
    // The templates are constants; one with a mistake in it would show as indicatif's own.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
            // There is nobody to tell if drawing fails.
            let _ = write!(out, "{:.1}/s", state.per_sec());
        }));
    }
}
