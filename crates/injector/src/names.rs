//! The names that users, operators and other webhooks see. Each is part of the contract with what is deployed.

/// Prefix of every label and annotation.
pub const DOMAIN: &str = "sidetrail.dev/";

/// Label of a namespace, and of a pod, which beats its namespace: [`ENABLED`] or [`DISABLED`].
pub const INJECT: &str = "sidetrail.dev/inject";
/// Value of [`INJECT`].
pub const ENABLED: &str = "enabled";
/// Value of [`INJECT`].
pub const DISABLED: &str = "disabled";

/// Label of a pod that was given a collector.
pub const INJECTED: &str = "sidetrail.dev/injected";
/// Annotation of such a pod: what it was given, as JSON.
pub const STATUS: &str = "sidetrail.dev/status";

/// The collector's container.
pub const CONTAINER: &str = "sidetrail-collector";
/// The volume of the socket.
pub const SOCKET_VOLUME: &str = "sidetrail-socket";
/// Where the socket's volume is in every container.
pub const SOCKET_DIRECTORY: &str = "/run/sidetrail";
/// The socket.
pub const SOCKET: &str = "/run/sidetrail/collector.sock";
/// The volume of the spool.
pub const SPOOL_VOLUME: &str = "sidetrail-spool";
/// Where it is in the collector's container.
pub const SPOOL_DIRECTORY: &str = "/var/lib/sidetrail";
/// The volume of the ServiceAccount token for the server.
pub const TOKEN_VOLUME: &str = "sidetrail-token";
/// Where it is in the collector's container.
pub const TOKEN_DIRECTORY: &str = "/var/run/secrets/sidetrail.dev";
/// The token in there.
pub const TOKEN_FILE: &str = "token";
/// Name of the port of the collector's probes and metrics.
pub const PORT_NAME: &str = "sidetrail-http";
/// The collector's binary in its image: what exec probes start.
pub const COLLECTOR: &str = "/usr/local/bin/sidetrail-collector";

/// Environment variable of the applications: where the collector is.
pub const ENV_COLLECTOR: &str = "SIDETRAIL_COLLECTOR";
/// Environment variable of the applications: the delivery class of routes that name none.
pub const ENV_DELIVERY: &str = "SIDETRAIL_DELIVERY";
/// Environment variable of the collector: its configuration.
pub const ENV_CONFIG: &str = "SIDETRAIL_COLLECTOR_CONFIG";

/// Who a container is: environment variable, and the field of the pod that the kubelet puts there.
pub const IDENTITY: [(&str, &str); 5] = [
    ("SIDETRAIL_INSTANCE", "metadata.name"),
    ("SIDETRAIL_NAMESPACE", "metadata.namespace"),
    ("SIDETRAIL_POD_UID", "metadata.uid"),
    ("SIDETRAIL_NODE", "spec.nodeName"),
    ("SIDETRAIL_SERVICE_ACCOUNT", "spec.serviceAccountName"),
];

/// Annotation that kubectl goes by where no container is named.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Annotation of the kubelet's mirror of a static pod: nothing may change it.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
