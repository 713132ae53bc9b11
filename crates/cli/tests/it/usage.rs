//! What the command line says of itself, and what it refuses.

use crate::run::sidetrail;

#[test]
fn a_command_line_that_makes_no_sense_ends_with_64() {
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["verify"],
        &["verify", "a", "--frobnicate"],
        &["verify", "a", "--from", "soon"],
        &["verify", "a", "--from", "-1h", "--to", "-2h"],
        &["send", "a", "--collector", "nowhere"],
        &["keys"],
    ] {
        let ended = sidetrail(arguments).with(64);
        assert_eq!(ended.stdout, "", "{arguments:?}");
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    for arguments in
        [&["--help"][..], &["verify", "--help"], &["cat", "-h"], &["send", "--help"], &["keys", "show", "-h"]]
    {
        let ended = sidetrail(arguments).with(0);
        assert!(ended.stdout.contains("Examples:"), "{}", ended.stdout);
        assert!(ended.stdout.contains("Exit codes:"), "{}", ended.stdout);
    }
}

#[test]
fn the_version_is_printed() {
    let text = format!("sidetrail {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(sidetrail(["version"]).with(0).stdout, text);
    assert_eq!(sidetrail(["--version"]).with(0).stdout, text);
}
