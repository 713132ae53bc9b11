//! What shells and `man` know of the command line: both are made of its definition.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::arguments;
use crate::exit::Exit;
use crate::print::out;

const NAME: &str = "sidetrail";

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Manual {
    /// Write a page for each command to this directory, which is made if it is not there, and print nothing.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The page of this command, e.g. `keys show`.
    #[arg(conflicts_with = "out")]
    command: Vec<String>,
}

/// Prints the completions of a shell.
pub(crate) fn completions(arguments: &Completions) -> Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut arguments::definition(), NAME, &mut text);
    print(&text)
}

/// Prints a page, or writes all of them.
pub(crate) fn manual(arguments: &Manual) -> Result<Exit> {
    let mut root = arguments::definition();
    root.build();
    if let Some(directory) = &arguments.out {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        write(&root, NAME, directory)?;
        return Ok(Exit::Done);
    }
    let (mut command, mut name) = (&root, NAME.to_owned());
    for word in &arguments.command {
        command =
            command.find_subcommand(word).with_context(|| format!("there is no command {name} {word}"))?;
        name = format!("{name}-{word}");
    }
    print(&page(command, &name)?)
}

/// Writes the page of a command and those of the commands below it.
fn write(command: &Command, name: &str, directory: &Path) -> Result<()> {
    let path = directory.join(format!("{name}.1"));
    fs::write(&path, page(command, name)?).with_context(|| format!("cannot write {}", path.display()))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        write(below, &format!("{name}-{}", below.get_name()), directory)?;
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let command = command.clone().version(env!("CARGO_PKG_VERSION"));
    Man::new(command).title(name).render(&mut text).context("cannot make the page")?;
    Ok(text)
}

fn print(text: &[u8]) -> Result<Exit> {
    // Both are made of texts.
    out(format_args!("{}", String::from_utf8_lossy(text)))?;
    Ok(Exit::Done)
}
