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

#[test]
fn shells_and_man_know_every_command() {
    for (shell, says) in
        [("bash", "complete -F"), ("zsh", "#compdef sidetrail"), ("fish", "complete -c sidetrail")]
    {
        let script = sidetrail(["completions", shell]).with(0).stdout;
        assert!(script.contains(says) && script.contains("verify-proof"), "{shell}");
    }
    sidetrail(["completions", "cmd"]).with(64);

    let page = sidetrail(["man", "keys", "show"]).with(0).stdout;
    assert!(page.contains(".TH sidetrail-keys-show 1") && page.contains("Exit codes:"), "{page}");
    assert!(
        sidetrail(["man", "keys", "hide"]).with(2).stderr.contains("there is no command sidetrail-keys hide")
    );
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("man1");
    sidetrail(["man".as_ref(), "--out".as_ref(), out.as_os_str()]).with(0);
    for name in ["sidetrail", "sidetrail-verify", "sidetrail-keys-rotate", "sidetrail-trails-create"] {
        let page = std::fs::read_to_string(out.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")) && page.contains(".SH SYNOPSIS"), "{page}");
    }
}

/// Bash itself is asked what it would complete.
#[test]
fn bash_completes_commands() {
    let script = sidetrail(["completions", "bash"]).with(0).stdout;
    let asks = "COMP_WORDS=(sidetrail veri); COMP_CWORD=1; _sidetrail sidetrail veri sidetrail; echo \"${COMPREPLY[@]}\"";
    let mut bash = std::process::Command::new("bash");
    let ended = crate::run::ended(bash.arg("-c").arg(format!("{script}\n{asks}")), b"").with(0);
    assert_eq!(ended.stdout.trim(), "verify verify-proof");
}
