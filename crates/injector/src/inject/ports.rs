//! The port of the collector's probes and metrics: all containers of a pod share one network.

use k8s_openapi::api::core::v1::PodSpec;

use crate::options::Options;

/// The collector's usual port. Exporters of OpenTelemetry have the same.
const PORT: u16 = 9464;
/// How far the next ones are.
const STEP: u16 = 100;

/// The port, or none: on the host's network two pods of one node would have the same, so there it has to be given.
pub(super) fn choose(spec: &PodSpec, options: &Options, warnings: &mut Vec<String>) -> Option<u16> {
    let taken = |port: u16| {
        let init = spec.init_containers.iter().flatten();
        let ports = init.chain(&spec.containers).flat_map(|container| container.ports.iter().flatten());
        ports.map(|taken| taken.container_port).any(|taken| taken == i32::from(port))
    };
    if let Some(port) = options.metrics_port {
        if taken(port) {
            warnings.push(format!("port {port} of sidetrail.dev/metrics-port is that of another container"));
        }
        return Some(port);
    }
    if spec.host_network == Some(true) {
        warnings.push(
            "on the host's network the collector has no metrics unless sidetrail.dev/metrics-port names a free port"
                .to_owned(),
        );
        return None;
    }
    (PORT..).step_by(usize::from(STEP)).find(|port| !taken(*port))
}
