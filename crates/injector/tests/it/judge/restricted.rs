//! Pod Security's *restricted* profile, with *baseline* in it, control by control as the published standard has them.

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext};

/// The controls that a pod breaks, each with the container.
pub(crate) fn violations(pod: &Pod) -> Vec<String> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let mut found = Vec::new();
    for (name, value) in
        [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)]
    {
        if value == Some(true) {
            found.push(name.to_owned());
        }
    }
    for volume in spec.volumes.iter().flatten() {
        let kinds = serde_json::to_value(volume).unwrap();
        let allowed = [
            "name",
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        let other = kinds.as_object().unwrap().keys().find(|kind| !allowed.contains(&kind.as_str()));
        found.extend(other.map(|kind| format!("volume {} is {kind}", volume.name)));
    }
    let pod_context = spec.security_context.clone().unwrap_or_default();
    found.extend(pod_violations(&pod_context));
    let init = spec.init_containers.iter().flatten();
    for container in init.chain(&spec.containers) {
        found.extend(container_violations(container, &pod_context));
    }
    found
}

fn pod_violations(context: &PodSecurityContext) -> Vec<String> {
    let mut found = Vec::new();
    let safe = [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    ];
    for sysctl in context.sysctls.iter().flatten().filter(|sysctl| !safe.contains(&sysctl.name.as_str())) {
        found.push(format!("sysctl {}", sysctl.name));
    }
    if context.run_as_user == Some(0) {
        found.push("runAsUser 0".to_owned());
    }
    found
}

/// What of a container breaks the profile, given what it has of its pod.
pub(crate) fn container_violations(container: &Container, pod: &PodSecurityContext) -> Vec<String> {
    let context = container.security_context.clone().unwrap_or_default();
    let mut found = Vec::new();
    let mut rule = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("container {}: {what}", container.name));
        }
    };
    rule(context.privileged != Some(true), "privileged");
    rule(context.allow_privilege_escalation == Some(false), "allowPrivilegeEscalation");
    rule(context.run_as_non_root.or(pod.run_as_non_root) == Some(true), "runAsNonRoot");
    rule(context.run_as_user != Some(0), "runAsUser 0");
    let seccomp = context.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    rule(
        seccomp.is_some_and(|profile| ["RuntimeDefault", "Localhost"].contains(&profile.type_.as_str())),
        "seccompProfile",
    );
    let capabilities = context.capabilities.clone().unwrap_or_default();
    rule(capabilities.drop.iter().flatten().any(|name| name == "ALL"), "capabilities.drop");
    rule(capabilities.add.iter().flatten().all(|name| name == "NET_BIND_SERVICE"), "capabilities.add");
    rule(container.ports.iter().flatten().all(|port| port.host_port.unwrap_or(0) == 0), "hostPort");
    rule(context.proc_mount.as_deref().is_none_or(|mount| mount == "Default"), "procMount");
    let selinux = context.se_linux_options.as_ref().or(pod.se_linux_options.as_ref());
    let types = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    rule(
        selinux.is_none_or(|options| {
            types.contains(&options.type_.as_deref().unwrap_or_default())
                && options.user.as_deref().unwrap_or_default().is_empty()
                && options.role.as_deref().unwrap_or_default().is_empty()
        }),
        "seLinuxOptions",
    );
    let apparmor = context.app_armor_profile.as_ref().or(pod.app_armor_profile.as_ref());
    rule(apparmor.is_none_or(|profile| profile.type_ != "Unconfined"), "appArmorProfile");
    let windows = context.windows_options.as_ref().or(pod.windows_options.as_ref());
    rule(windows.is_none_or(|options| options.host_process != Some(true)), "hostProcess");
    let host = |handler: Option<&str>| handler.is_none_or(str::is_empty);
    for probe in [&container.startup_probe, &container.liveness_probe, &container.readiness_probe]
        .into_iter()
        .flatten()
    {
        rule(probe.http_get.as_ref().is_none_or(|get| host(get.host.as_deref())), "probe of another host");
        rule(probe.tcp_socket.as_ref().is_none_or(|tcp| host(tcp.host.as_deref())), "probe of another host");
    }
    found
}

#[test]
fn each_control_is_looked_at() {
    let sound = serde_json::json!({ "name": "c", "securityContext": {
        "allowPrivilegeEscalation": false, "runAsNonRoot": true,
        "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" } } });
    let judge = |container: &serde_json::Value| {
        container_violations(
            &serde_json::from_value(container.clone()).unwrap(),
            &PodSecurityContext::default(),
        )
    };
    assert_eq!(judge(&sound), Vec::<String>::new());
    for (member, value, control) in [
        ("privileged", serde_json::json!(true), "privileged"),
        ("allowPrivilegeEscalation", serde_json::json!(null), "allowPrivilegeEscalation"),
        ("runAsNonRoot", serde_json::json!(null), "runAsNonRoot"),
        ("runAsUser", serde_json::json!(0), "runAsUser 0"),
        ("seccompProfile", serde_json::json!({ "type": "Unconfined" }), "seccompProfile"),
        ("capabilities", serde_json::json!({ "drop": ["ALL"], "add": ["NET_ADMIN"] }), "capabilities.add"),
        ("capabilities", serde_json::json!({ "drop": ["KILL"] }), "capabilities.drop"),
        ("procMount", serde_json::json!("Unmasked"), "procMount"),
        ("seLinuxOptions", serde_json::json!({ "type": "spc_t" }), "seLinuxOptions"),
        ("appArmorProfile", serde_json::json!({ "type": "Unconfined" }), "appArmorProfile"),
    ] {
        let mut container = sound.clone();
        container["securityContext"][member] = value;
        assert_eq!(judge(&container), [format!("container c: {control}")]);
    }
}
