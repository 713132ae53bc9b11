//! Where spans go when OpenTelemetry is there, and nobody exports them.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

/// For as long as its cases run, and no longer: what one subscriber wants to see costs the others time.
pub(crate) fn subscriber() -> Dispatch {
    let tracer = SdkTracerProvider::builder().build().tracer("bench");
    let spans = tracing_opentelemetry::layer().with_tracer(tracer);
    let filter = tracing_subscriber::filter::LevelFilter::INFO;
    Dispatch::new(tracing_subscriber::registry().with(filter).with(spans))
}
