//! Writes text to standard output and complaints to standard error.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};

pub(crate) use sidetrail_archive::causes::chain;

/// Writes to standard output. A reader that has gone away is no error: the exit code still says how it ended.
///
/// # Errors
/// If standard output fails otherwise, such as on a full disk.
pub(crate) fn out(text: fmt::Arguments<'_>) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(OutputError(error)),
        _ => Ok(()),
    }
}

/// Standard output could not be written to.
#[derive(Debug)]
pub(crate) struct OutputError(pub(crate) io::Error);

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("could not write to standard output")
    }
}

impl Error for OutputError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// One line on standard error. There is nobody to tell if that fails.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    let text = text.to_string();
    let _ = writeln!(io::stderr().lock(), "sidetrail: {}", printable(&text));
}

/// Like [`chain`], after the name of what it is about, unless the error says that by itself, as the store's own do.
pub(crate) fn named(name: &str, error: &(dyn Error + 'static)) -> String {
    let text = chain(error);
    if text.contains(name) { text } else { format!("{name}: {text}") }
}

/// The text with control characters escaped: what comes out of a bucket must neither break lines nor steer a terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if char.is_control() {
            safe.extend(char.escape_default());
        } else {
            safe.push(char);
        }
    }
    safe.into()
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_the_rest_is_not() {
        assert_eq!(printable("a\u{1b}[2J\nb"), r"a\u{1b}[2J\nb");
        assert!(matches!(printable("Größe ✓ \"x\""), Cow::Borrowed("Größe ✓ \"x\"")));
    }

    #[test]
    fn a_chain_names_every_cause_once() {
        let inner = io::Error::other("inner");
        assert_eq!(chain(&OutputError(inner)), "could not write to standard output: inner");
        let twice = io::Error::other(io::Error::other("inner"));
        assert_eq!(chain(&twice), "inner");
    }

    #[test]
    fn what_an_error_is_about_is_named_once() {
        assert_eq!(named("a/b", &io::Error::other("no")), "a/b: no");
        assert_eq!(named("a/b", &io::Error::other("no a/b")), "no a/b");
    }

    #[test]
    fn counts_have_a_plural() {
        assert_eq!([count(0, "file"), count(1, "file"), count(2, "file")], ["0 files", "1 file", "2 files"]);
    }
}
