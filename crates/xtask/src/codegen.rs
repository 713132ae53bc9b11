//! `cargo xtask codegen`: the Rust half of `proto/`.
//!
//! The output is committed, so that building Sidetrail needs neither protoc nor this generator; `--check` proves that
//! it is what the protos say. `crates/wire` takes the files in with `include!`, which keeps rustfmt away from them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// Generated files by name.
type Files = BTreeMap<String, String>;

pub(crate) fn write(workspace: &Workspace) -> Result<()> {
    let directory = committed(workspace);
    let wanted = generate(&workspace.root.join("proto"))?;
    let present = read(&directory)?;
    if !wanted.is_empty() {
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    }
    // Untouched files keep their time stamp, so nothing is rebuilt for nothing.
    for (name, text) in wanted.iter().filter(|(name, text)| present.get(*name) != Some(text)) {
        fs::write(directory.join(name), text).with_context(|| format!("cannot write {name}"))?;
        println!("wrote {}", workspace.relative(&directory.join(name)).display());
    }
    for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(directory.join(name)).with_context(|| format!("cannot remove {name}"))?;
        println!(
            "removed {}: no proto package of that name",
            workspace.relative(&directory.join(name)).display()
        );
    }
    Ok(())
}

pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let directory = committed(workspace);
    let wanted = generate(&workspace.root.join("proto"))?;
    let differences = differences(&wanted, &read(&directory)?);
    if differences.is_empty() {
        return Ok(());
    }
    let place = workspace.relative(&directory).display();
    bail!("{place} is not what proto/ generates; run `cargo xtask codegen`\n  {}", differences.join("\n  "));
}

fn committed(workspace: &Workspace) -> PathBuf {
    workspace.root.join("crates/wire/src/gen")
}

/// Compiles everything under `protos`, one file per package.
fn generate(protos: &Path) -> Result<Files> {
    let mut sources = Vec::new();
    find_protos(protos, &mut sources)?;
    sources.sort();
    if sources.is_empty() {
        return Ok(Files::new());
    }
    let mut descriptors = protox::compile(&sources, [protos]).context("the protos do not compile")?;
    let out = tempfile::tempdir().context("cannot create a temporary directory")?;
    let builder = || {
        tonic_prost_build::configure()
            .bytes(".")
            // `connect()` would bind the client to tonic's TCP channel; our clients bring a Unix-socket channel.
            .build_transport(false)
            .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
            .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
    };
    let compiled = builder().out_dir(out.path()).compile_fds(descriptors.clone());
    compiled.context("cannot generate code from the protos")?;
    let mut files = read(out.path())?;

    descriptors.file.retain(|file| file.package() == INGEST);
    if descriptors.file.is_empty() {
        return Ok(files);
    }
    let out = tempfile::tempdir().context("cannot create a temporary directory")?;
    let mut builder = builder().build_client(false).out_dir(out.path());
    for message in descriptors.file.iter_mut().flat_map(|file| &mut file.message_type) {
        let name = message.name().to_owned();
        if !UNREAD.contains(&&*name) {
            builder = builder.extern_path(format!(".{INGEST}.{name}"), format!("crate::ingest::v1::{name}"));
        }
        for field in message.field.iter_mut().filter(|field| name == "Batch" && field.name() == "events") {
            (field.r#type, field.type_name) = (Some(TYPE_BYTES), None);
        }
    }
    builder.compile_fds(descriptors).context("cannot generate the server's side from the protos")?;
    files.extend(read(out.path())?.into_values().map(|text| (format!("{INGEST}.unread.rs"), text)));
    Ok(files)
}

/// The package of which there is a second form, for who takes events in great numbers: in a batch they are bytes, which are
/// the same on the wire.
const INGEST: &str = "sidetrail.ingest.v1";
/// What is different in that form.
const UNREAD: [&str; 2] = ["Batch", "DeliverRequest"];
/// `FieldDescriptorProto.Type.TYPE_BYTES`.
const TYPE_BYTES: i32 = 12;

fn find_protos(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", directory.display())),
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

fn read(directory: &Path) -> Result<Files> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Files::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", directory.display())),
    };
    let mut files = Files::new();
    for entry in entries {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())
            .with_context(|| format!("cannot read {}", entry.path().display()))?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Ok(files)
}

fn differences(wanted: &Files, present: &Files) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, text) in wanted {
        match present.get(name) {
            None => differences.push(format!("{name}: missing")),
            Some(committed) if committed == text => {}
            Some(committed) => {
                let same = text.lines().zip(committed.lines()).take_while(|(a, b)| a == b).count();
                differences.push(format!("{name}: differs from line {}", same + 1));
            }
        }
    }
    differences.extend(
        present
            .keys()
            .filter(|name| !wanted.contains_key(*name))
            .map(|name| format!("{name}: no such package")),
    );
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_protos_generate_nothing() {
        let empty = tempfile::tempdir().unwrap();
        assert!(generate(empty.path()).unwrap().is_empty());
        assert!(generate(&empty.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn one_file_per_package_with_bytes_and_features() {
        let protos = tempfile::tempdir().unwrap();
        let source = "syntax = \"proto3\"; package a.v1; message M { bytes raw = 1; } \
                      service S { rpc Call(stream M) returns (stream M); }";
        fs::write(protos.path().join("a.proto"), source).unwrap();
        let files = generate(protos.path()).unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a.v1.rs"]);
        let text = &files["a.v1.rs"];
        for part in ["bytes::Bytes", "#[cfg(feature = \"client\")]", "#[cfg(feature = \"server\")]"] {
            assert!(text.contains(part), "no {part} in:\n{text}");
        }
    }

    #[test]
    fn the_ingest_package_has_a_second_form_without_events() {
        let protos = tempfile::tempdir().unwrap();
        let source = "syntax = \"proto3\"; package sidetrail.ingest.v1; message Event { string a = 1; } \
                      message Batch { repeated Event events = 1; } message DeliverRequest { Batch batch = 1; } \
                      message Ack {} service S { rpc Call(DeliverRequest) returns (Ack); }";
        fs::write(protos.path().join("a.proto"), source).unwrap();
        let files = generate(protos.path()).unwrap();
        assert!(files["sidetrail.ingest.v1.rs"].contains("Vec<Event>"));
        let text = &files["sidetrail.ingest.v1.unread.rs"];
        for (part, is_there) in [
            ("Vec<::prost::bytes::Bytes>", true),
            ("struct DeliverRequest", true),
            ("crate::ingest::v1::Ack", true),
            ("struct Event", false),
            ("struct Ack", false),
        ] {
            assert_eq!(text.contains(part), is_there, "{part} in:\n{text}");
        }
    }

    #[test]
    fn differences_name_file_and_line() {
        let files = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Files>()
        };
        let wanted = files(&[("a", "1\n2\n"), ("b", "1\n"), ("same", "1\n")]);
        let present = files(&[("a", "1\n3\n"), ("c", "1\n"), ("same", "1\n")]);
        assert_eq!(
            differences(&wanted, &present),
            ["a: differs from line 2", "b: missing", "c: no such package"]
        );
    }
}
