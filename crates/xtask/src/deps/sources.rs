//! Rules for source files: a length one can read, and a first line that says what the module is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Longer files need a line ``- `path`: reason`` in `crates/ARCHITECTURE.md`.
const MAX_LINES: usize = 600;

/// Folders that hold no source of ours.
const SKIPPED: [&str; 2] = ["gen", "target"];

pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let map = root.join("crates/ARCHITECTURE.md");
    let map = fs::read_to_string(&map).with_context(|| format!("cannot read {}", map.display()))?;
    let mut excused = excuses(&map);
    let mut files = Vec::new();
    for directory in ["crates", "tests"] {
        find(&root.join(directory), &mut files)?;
    }
    files.sort();
    let mut findings = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let place = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        let lines = text.lines().count();
        // An excuse that is used up is taken out of the set; what stays excuses nothing.
        if lines > MAX_LINES && !excused.remove(&place) {
            findings.push(format!(
                "{place}: {lines} lines, of at most {MAX_LINES}; split it, or give a reason in crates/ARCHITECTURE.md \
                 as \"- `{place}`: reason\""
            ));
        }
        // `tests.rs` is the tests of the module beside it: there is nothing to add to that.
        if !text.starts_with("//!") && !file.ends_with("tests.rs") {
            findings.push(format!("{place}:1: a module opens with a `//!` line that says what it is for"));
        }
    }
    findings.extend(excused.iter().map(|place| {
        format!("crates/ARCHITECTURE.md: excuses `{place}`, which is not longer than {MAX_LINES} lines")
    }));
    Ok(findings)
}

/// The source files that the map lists with a reason.
fn excuses(map: &str) -> BTreeSet<String> {
    map.lines()
        .filter_map(|line| line.strip_prefix("- `")?.split_once("`: "))
        .filter(|(place, reason)| place.ends_with(".rs") && !reason.trim().is_empty())
        .map(|(place, _)| place.to_owned())
        .collect()
}

fn find(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
                find(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(map: &str, files: &[(&str, String)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("crates/a/src/gen")).unwrap();
        fs::create_dir_all(root.path().join("tests")).unwrap();
        fs::write(root.path().join("crates/ARCHITECTURE.md"), map).unwrap();
        for (path, text) in files {
            fs::write(root.path().join(path), text).unwrap();
        }
        check(root.path()).unwrap()
    }

    #[test]
    fn long_and_unexplained_files_are_found() {
        let long = format!("//! long\n{}", "\n".repeat(MAX_LINES));
        let files = [
            ("crates/a/src/long.rs", long.clone()),
            ("crates/a/src/mute.rs", "fn f() {}\n".to_owned()),
            ("crates/a/src/fine.rs", "//! fine\n".to_owned()),
            ("crates/a/src/tests.rs", "use super::*;\n".to_owned()),
            ("crates/a/src/gen/x.rs", "\n".repeat(2 * MAX_LINES)),
        ];
        let found = findings("", &files);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("crates/a/src/long.rs: 601 lines"));
        assert!(found[1].starts_with("crates/a/src/mute.rs:1:"));
    }

    #[test]
    fn an_excuse_needs_a_long_file() {
        let long = format!("//! long\n{}", "\n".repeat(MAX_LINES));
        let map = "- `crates/a/src/long.rs`: one table\n";
        assert_eq!(findings(map, &[("crates/a/src/long.rs", long)]), Vec::<String>::new());
        assert_eq!(findings(map, &[]).len(), 1);
    }
}
