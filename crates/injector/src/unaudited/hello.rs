//! Asking collectors whether an application ever came: their metrics say it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::report::Hello;

/// How long one may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// Bytes of its metrics.
const MAX_METRICS: usize = 1 << 20;
/// How many are asked at a time.
const AT_A_TIME: usize = 32;

/// Asks collectors.
#[derive(Clone, Debug)]
pub struct Asker(Client<HttpConnector, Empty<Bytes>>);

impl Default for Asker {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(ANSWER));
        // Thousands of pods are asked once: nothing is kept open.
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
    }
}

impl Asker {
    /// Asks those at `addresses`; the answers are in their order.
    pub async fn ask(&self, addresses: Vec<String>) -> Vec<Hello> {
        stream::iter(addresses).map(|address| self.ask_one(address)).buffered(AT_A_TIME).collect().await
    }

    async fn ask_one(&self, address: String) -> Hello {
        let asked = async {
            let uri = format!("http://{address}/metrics").parse().ok()?;
            let response = self.0.get(uri).await.ok()?;
            if !response.status().is_success() {
                return None;
            }
            let body = Limited::new(response.into_body(), MAX_METRICS).collect().await.ok()?.to_bytes();
            String::from_utf8(body.to_vec()).ok()
        };
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(Some(metrics)) if has_greeted(&metrics) => Hello::Said,
            Ok(Some(_)) => Hello::Never,
            Ok(None) | Err(_) => Hello::Unreachable,
        }
    }
}

/// Whether a collector's metrics tell of a sender, now or before.
#[must_use]
pub fn has_greeted(metrics: &str) -> bool {
    let counts =
        ["sidetrail_streams_open", "sidetrail_streams_ended_total", "sidetrail_events_accepted_total"];
    metrics.lines().filter(|line| !line.starts_with('#')).any(|line| {
        let Some((name, value)) = line.rsplit_once(' ') else { return false };
        let name = name.split('{').next().unwrap_or_default();
        counts.contains(&name) && value.parse::<f64>().is_ok_and(|count| count > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_shows_in_the_metrics() {
        let none = "# TYPE sidetrail_streams_open gauge\nsidetrail_streams_open 0\nsidetrail_connections_total{transport=\"unix\"} 7\n";
        assert!(!has_greeted(none));
        assert!(!has_greeted(""));
        for line in [
            "sidetrail_streams_open 1",
            "sidetrail_streams_ended_total{code=\"Ok\"} 2",
            "sidetrail_events_accepted_total 12",
        ] {
            assert!(has_greeted(&format!("{none}{line}\n# EOF\n")), "{line}");
        }
    }
}
