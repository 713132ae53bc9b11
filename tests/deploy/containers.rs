//! Images, the compose file and the systemd units: what can be known of them without the services that run them.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sidetrail_tests::tools;

use crate::{deploy, documents, is_configuration_of, read};

fn files(directory: &str, ending: &str) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(deploy().join(directory))?;
    let names = entries.map(|entry| entry?.file_name().into_string().ok().context("a name in UTF-8"));
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.ends_with(ending));
    names.sort();
    Ok(names.into_iter().map(|name| format!("{directory}/{name}")).collect())
}

#[test]
fn containerfiles_are_clean_and_hold_nothing_but_the_binary() -> Result<()> {
    let files = files("images", ".Containerfile")?;
    ensure!(files.len() == 3, "{files:?}");
    for file in files {
        let mut hadolint = Command::new(tools::tool("hadolint")?);
        hadolint.arg("--failure-threshold=style").arg(deploy().join(&file));
        tools::run(hadolint)?.success()?;
        let text = read(&file)?;
        let steps: Vec<_> = text.lines().filter(|line| !line.starts_with(['#', ' '])).collect();
        let of = |name: &str| steps.iter().filter(|step| step.split(' ').next() == Some(name)).count();
        ensure!(steps[0] == "FROM scratch", "{file} is built on something");
        ensure!(
            (of("RUN"), of("FROM"), of("COPY")) == (0, 1, 2),
            "{file} does more than copy the binary: {steps:?}"
        );
        ensure!(steps.contains(&"USER 65532:65532"), "{file}: the user has to be a number that is not 0");
        let binary = file.trim_start_matches("images/").trim_end_matches(".Containerfile");
        let entry = format!("ENTRYPOINT [\"/usr/local/bin/sidetrail-{binary}\"]");
        ensure!(steps.contains(&entry.as_str()), "{file}: the injector's exec probes need {entry}");
    }
    Ok(())
}

#[test]
fn the_compose_file_configures_our_binaries() -> Result<()> {
    let compose = documents(&read("compose/compose.yaml")?)?.remove(0);
    let services = compose["services"].as_object().context("no services")?;
    ensure!(
        services.contains_key("seaweedfs") && services.contains_key("collector"),
        "{:?}",
        services.keys()
    );
    let known =
        |kind: &str, name: &Value| name.as_str().is_some_and(|name| compose[kind].get(name).is_some());
    for (name, service) in services {
        for config in service["configs"].as_array().into_iter().flatten() {
            ensure!(known("configs", &config["source"]), "{name} asks for {config}");
        }
        for dependency in service["depends_on"].as_object().into_iter().flatten() {
            ensure!(known("services", &dependency.0.as_str().into()), "{name} waits for {dependency:?}");
        }
        // Whatever is published is for this host.
        for port in service["ports"].as_array().into_iter().flatten() {
            ensure!(
                port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")),
                "{name} publishes {port}"
            );
        }
    }
    let content =
        |name: &str| compose["configs"][name]["content"].as_str().context("no content").map(str::to_owned);
    is_configuration_of("sidetrail-collector", &content("collector")?)?;
    is_configuration_of("sidetrail-server", &content("server")?)?;
    serde_json::from_str::<Value>(&content("s3")?).context("the store's identities")?;
    Ok(())
}

/// systemd's own check, where it is installed; elsewhere, what is most easily wrong.
#[test]
fn units_start_our_binaries_hardened() -> Result<()> {
    let units = files("systemd", ".service")?;
    ensure!(units.len() == 3, "{units:?}");
    for unit in &units {
        let text = read(unit)?;
        let name = unit.trim_start_matches("systemd/").trim_end_matches(".service");
        let binary = if name == "sidetrail-gateway" { "sidetrail-collector" } else { name };
        let start = format!("\nExecStart=/usr/bin/{binary} --config /etc/sidetrail/");
        ensure!(text.contains(&start), "{unit} does not start {binary}");
        for line in
            ["NoNewPrivileges=yes", "ProtectSystem=strict", "DynamicUser=yes", "MemoryDenyWriteExecute=yes"]
        {
            ensure!(text.lines().any(|it| it == line), "{unit} has no {line}");
        }
        let analyze =
            Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(deploy().join(unit)).output();
        match analyze {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                println!("{unit}: systemd-analyze is not installed, so systemd itself has not looked");
            }
            output => {
                let said = String::from_utf8_lossy(&output?.stderr).into_owned();
                let own = said.lines().filter(|line| line.contains(".service"));
                // The binaries are not installed here.
                let bad: Vec<_> = own.filter(|line| !line.contains("is not executable")).collect();
                ensure!(bad.is_empty(), "{bad:?}");
            }
        }
    }
    Ok(())
}
