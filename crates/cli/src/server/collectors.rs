//! Collectors, for people.

use std::fmt::Write as _;

use sidetrail_api::shape::{Collector, CollectorTrail, Standing, Workload};

use crate::print::{count, printable};

/// Whether somebody should look.
pub(super) fn is_wrong(collector: &Collector) -> bool {
    let state = &collector.state;
    let alive = collector.standing == Standing::Connected;
    collector.standing == Standing::Silent
        || alive && (state.full || state.silent_count > 0 || !state.problem.is_empty())
        || alive && state.trails.iter().any(|trail| !trail.failing.is_empty())
}

/// A line, one for the pod if there is one, and one for each thing that is wrong.
pub(super) fn text(collector: &Collector) -> String {
    let state = &collector.state;
    let standing = match collector.standing {
        Standing::Connected => "connected",
        Standing::Ended => "ended",
        Standing::Silent => "SILENT",
    };
    let percent = state.spool_bytes.saturating_mul(100).checked_div(state.spool_budget).unwrap_or(0);
    // The minute that has begun says little.
    let minute = state.per_minute.get(1).or(state.per_minute.first()).copied().unwrap_or(0);
    let mut text = format!(
        "{standing:<9}  {:<14}  {:<24}  {:<8}  {minute:>7}/min  spool {percent:>3} %  {}\n",
        printable(&collector.region),
        printable(&collector.host),
        printable(&collector.version),
        state.trails.iter().map(trail).collect::<Vec<_>>().join(", "),
    );
    // Writing into a String does not fail.
    let mut wrong = |line: String| {
        let _ = writeln!(text, "           {}", printable(&line));
    };
    if let Some(Workload { namespace, service_account, pod, .. }) = &collector.workload {
        wrong(format!("pod {namespace}/{pod}, service account {service_account}"));
    }
    if collector.standing != Standing::Connected {
        wrong(format!("last seen {}, collector {}", collector.seen, collector.id));
    }
    if state.full {
        wrong("the spool is full: applications have to wait".to_owned());
    }
    if !state.problem.is_empty() {
        wrong(format!("does not go by what the server says: {}", state.problem));
    }
    for trail in state.trails.iter().filter(|trail| !trail.failing.is_empty()) {
        wrong(format!("trail {} fails: {}", trail.name, trail.failing));
    }
    for source in &state.silent_sources {
        let name = match (source.service.as_str(), source.instance.as_str()) {
            ("", _) => source.source.clone(),
            (service, "") => service.to_owned(),
            (service, instance) => format!("{service} {instance}"),
        };
        let missing = match source.missing {
            0 => String::new(),
            missing => format!(", {} missing", count(missing, "event")),
        };
        wrong(format!("{name} went without a goodbye at {}{missing}", source.since));
    }
    let shown = state.silent_sources.len() as u64;
    if state.silent_count > shown {
        wrong(format!("{} more went without a goodbye", state.silent_count - shown));
    }
    text
}

fn trail(trail: &CollectorTrail) -> String {
    let name = printable(&trail.name);
    match trail.lag_ms {
        0 => format!("{name}: all shipped"),
        lag => format!("{name}: {} queued, {} s behind", trail.queued, lag.div_ceil(1000)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sidetrail_api::shape::{CollectorState, SilentSource};

    use super::*;

    fn collector(standing: Standing, state: CollectorState) -> Collector {
        Collector {
            id: "0101".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
            host: "orders-7\u{1b}".to_owned(),
            workload: Some(Workload {
                namespace: "prod".to_owned(),
                service_account: "orders".to_owned(),
                pod: "orders-7".to_owned(),
                uid: "0f1e".to_owned(),
                node: None,
            }),
            version: "0.1.0".to_owned(),
            standing,
            started: Timestamp::UNIX_EPOCH,
            registered: Timestamp::UNIX_EPOCH,
            seen: Timestamp::UNIX_EPOCH,
            state,
        }
    }

    #[test]
    fn who_went_silent_is_named() {
        let source = SilentSource {
            source: "0202".to_owned(),
            service: "orders.example.com".to_owned(),
            instance: "pod-3".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            last_sequence: 7,
            missing: 2,
        };
        let trail = CollectorTrail {
            name: "default".to_owned(),
            queued: 3,
            lag_ms: 1500,
            ..CollectorTrail::default()
        };
        let state = CollectorState {
            per_minute: vec![1, 42],
            spool_bytes: 5,
            spool_budget: 10,
            trails: vec![trail],
            silent_sources: vec![source],
            silent_count: 3,
            ..CollectorState::default()
        };
        let shown = text(&collector(Standing::Connected, state.clone()));
        for part in [
            "connected",
            r"orders-7\u{1b}",
            "42/min",
            "pod prod/orders-7, service account orders",
            " 50 %",
            "default: 3 queued, 2 s behind",
            "orders.example.com pod-3 went without a goodbye",
            "2 events missing",
            "2 more went",
        ] {
            assert!(shown.contains(part), "no {part} in\n{shown}");
        }
        assert!(is_wrong(&collector(Standing::Connected, state.clone())));
        assert!(!is_wrong(&collector(Standing::Ended, state)), "it ended in order");
        assert!(is_wrong(&collector(Standing::Silent, CollectorState::default())));
        assert!(!is_wrong(&collector(Standing::Connected, CollectorState::default())));
    }
}
