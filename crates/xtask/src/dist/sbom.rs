//! A bill of materials in CycloneDX 1.6: what is linked into a binary, from Cargo's own answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::workspace::{Workspace, output};

/// Name and version.
type Package = (String, String);

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Licensed>,
}

#[derive(Deserialize)]
struct Licensed {
    name: String,
    version: String,
    license: Option<String>,
}

/// The bill of a package's binary on a platform, at a time in seconds since the Unix epoch.
pub(super) fn make(workspace: &Workspace, package: &str, target: &str, time: &str) -> Result<String> {
    let mut tree = workspace.cargo(["tree", "--locked", "--package", package, "--target", target]);
    let tree = output(tree.args(["--edges", "normal", "--prefix", "depth", "--format", " {p}"]))?;
    let mut metadata = workspace.cargo(["metadata", "--locked", "--format-version", "1"]);
    let metadata: Metadata = serde_json::from_str(&output(&mut metadata)?)?;
    let lock =
        std::fs::read_to_string(workspace.root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let lock: Lock = toml::from_str(&lock).context("Cargo.lock is not what it was")?;
    let mut date = std::process::Command::new("date");
    let date = output(date.args(["--utc", "--date", &format!("@{time}"), "+%Y-%m-%dT%H:%M:%SZ"]))?;

    let edges = edges(&tree);
    let root = first(&tree).context("cargo tree printed nothing")?;
    let licences: HashMap<Package, String> = metadata
        .packages
        .into_iter()
        .filter_map(|package| Some(((package.name, package.version), package.license?)))
        .collect();
    let checksums: HashMap<Package, String> = lock
        .package
        .into_iter()
        .filter_map(|package| Some(((package.name, package.version), package.checksum?)))
        .collect();
    Ok(format!("{:#}\n", render(&root, &edges, &licences, &checksums, date.trim())))
}

fn render(
    root: &Package,
    edges: &BTreeMap<Package, BTreeSet<Package>>,
    licences: &HashMap<Package, String>,
    checksums: &HashMap<Package, String>,
    date: &str,
) -> Value {
    let name = |(name, version): &Package| format!("pkg:cargo/{name}@{version}");
    let component = |package: &Package, kind: &str| {
        let (title, version) = package;
        let mut component = json!({
            "type": kind, "bom-ref": name(package), "name": title, "version": version, "purl": name(package),
        });
        if let Some(licence) = licences.get(package) {
            // An older way to write `OR`.
            component["licenses"] = json!([{ "expression": licence.replace('/', " OR ") }]);
        }
        if let Some(checksum) = checksums.get(package) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        component
    };
    let libraries = edges.keys().filter(|package| *package != root);
    let libraries: Vec<_> = libraries.map(|package| component(package, "library")).collect();
    let dependencies: Vec<_> = edges
        .iter()
        .map(|(package, needs)| {
            json!({ "ref": name(package), "dependsOn": needs.iter().map(name).collect::<Vec<_>>() })
        })
        .collect();
    let mut bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "timestamp": date, "component": component(root, "application") },
        "components": libraries,
        "dependencies": dependencies,
    });
    // Of the content, so that the same content is the same document.
    let digest: [u8; 32] = Sha256::digest(bill.to_string()).into();
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let uuid =
        [&hex[..8], &hex[8..12], &format!("8{}", &hex[13..16]), &format!("8{}", &hex[17..20]), &hex[20..]];
    bill["serialNumber"] = json!(format!("urn:uuid:{}", uuid.join("-")));
    bill
}

/// What needs what, of lines such as `2 serde v1.0.228`. What was printed before is not printed with what it needs again.
fn edges(tree: &str) -> BTreeMap<Package, BTreeSet<Package>> {
    let mut edges: BTreeMap<Package, BTreeSet<Package>> = BTreeMap::new();
    let mut above: Vec<Package> = Vec::new();
    for (depth, package) in tree.lines().filter_map(line) {
        edges.entry(package.clone()).or_default();
        above.truncate(depth);
        if let Some(parent) = above.last() {
            edges.entry(parent.clone()).or_default().insert(package.clone());
        }
        above.push(package);
    }
    edges
}

fn first(tree: &str) -> Option<Package> {
    tree.lines().find_map(line).map(|(_, package)| package)
}

fn line(line: &str) -> Option<(usize, Package)> {
    let (depth, package) = line.split_once(' ')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some((depth.parse().ok()?, (name.to_owned(), version.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0 sidetrail-cli v0.1.0 (/sidetrail/crates/cli)\n\
                        1 anyhow v1.0.100\n\
                        1 serde_json v1.0.150\n\
                        2 itoa v1.0.1\n\
                        2 serde v1.0.228\n\
                        1 serde v1.0.228 (*)\n";

    fn package(name: &str, version: &str) -> Package {
        (name.to_owned(), version.to_owned())
    }

    #[test]
    fn a_bill_names_all_that_is_linked_and_by_whom() {
        let root = first(TREE).unwrap();
        let licences = HashMap::from([(package("itoa", "1.0.1"), "MIT/Apache-2.0".to_owned())]);
        let checksums = HashMap::from([(package("serde", "1.0.228"), "ab".repeat(32))]);
        let bill = render(&root, &edges(TREE), &licences, &checksums, "2026-01-15T11:00:00Z");
        assert_eq!(bill["metadata"]["component"]["purl"], "pkg:cargo/sidetrail-cli@0.1.0");
        let names: Vec<_> = bill["components"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        assert_eq!(names, ["anyhow", "itoa", "serde", "serde_json"]);
        assert_eq!(bill["components"][1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["components"][2]["hashes"][0]["content"], "ab".repeat(32));
        let needs = |name: &str| {
            let all = bill["dependencies"].as_array().unwrap();
            let found = all.iter().find(|it| it["ref"].as_str().unwrap().contains(name)).unwrap();
            found["dependsOn"].as_array().unwrap().len()
        };
        assert_eq!([needs("/sidetrail-cli@"), needs("/serde_json@"), needs("/serde@")], [3, 2, 0]);
        let again = render(&root, &edges(TREE), &licences, &checksums, "2026-01-15T11:00:00Z");
        assert_eq!(bill, again);
        let later = render(&root, &edges(TREE), &licences, &checksums, "2026-01-15T11:00:01Z");
        assert_ne!(bill["serialNumber"], later["serialNumber"]);
        assert_eq!(bill["serialNumber"].as_str().unwrap().len(), "urn:uuid:".len() + 36);
    }
}
