//! Programs the tests run: ours from the target directory, others from where `cargo xtask tools` put them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

/// How a program that ran to its end went.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed, with what is not UTF-8 replaced.
    pub stdout: String,
    /// What it complained about, likewise.
    pub stderr: String,
    name: String,
}

impl Ran {
    /// What it printed.
    ///
    /// # Errors
    ///
    /// When it failed; quotes what it said.
    pub fn success(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        bail!("{} ended with {}\n{}{}", self.name, self.status, self.stdout, self.stderr);
    }
}

/// Runs `command` to its end.
///
/// # Errors
///
/// When it cannot be started; a failure of the program itself is for [`Ran`] to tell.
pub fn run(mut command: Command) -> Result<Ran> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let name = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr), name })
}

/// Where binaries are that are to be run in place of those beside the test: static ones, say, as they are published.
pub const BINARIES: &str = "SIDETRAIL_BINARIES";

/// A binary of this workspace, such as `sidetrail-collector`.
///
/// # Errors
///
/// When it has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    match std::env::var_os(BINARIES) {
        Some(directory) => built(&Path::new(&directory).join(name)),
        None => built(&profile()?.join(name)),
    }
}

/// An example of this workspace, such as `orders`.
///
/// # Errors
///
/// When it has not been built.
pub fn example(name: &str) -> Result<PathBuf> {
    built(&profile()?.join("examples").join(name))
}

/// The Python that has boto3, ready for `-c` or a script and its arguments.
///
/// # Errors
///
/// When the tools are not installed.
pub fn python() -> Result<Command> {
    Ok(Command::new(tool("python")?))
}

/// A program of an environment of its own, such as `moto`'s.
///
/// # Errors
///
/// When they are not installed.
pub fn tool_of(environment: &str, name: &str) -> Result<PathBuf> {
    let venv = tool(name)?;
    let tools = venv.ancestors().nth(3).context("the tools lie in no directory")?;
    let program = tools.join(environment).join("bin").join(name);
    if !program.is_file() {
        bail!("`{environment}` is not installed: run `cargo xtask tools`");
    }
    Ok(program)
}

/// A program of the tools' environment: `weed`, `aws`, `python`, `helm`, `hadolint`.
///
/// # Errors
///
/// When the tools are not installed.
pub fn tool(name: &str) -> Result<PathBuf> {
    let executable = executable()?;
    // Next to the profile's directory, or one further up when built with `--target`.
    let found = executable.ancestors().map(|directory| directory.join("tools")).find(|tools| {
        // The stamp is written last: without it an installation is under way or was interrupted.
        tools.join("stamp").is_file()
    });
    let Some(tools) = found else {
        bail!(
            "`{name}` is not installed for {}: run `cargo xtask test`, or `cargo xtask tools` once before `cargo test`",
            executable.display()
        );
    };
    Ok(tools.join("venv/bin").join(name))
}

fn built(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    bail!(
        "{} is not built: run `cargo xtask test`, or `cargo build --workspace --all-features --bins --examples`",
        path.display()
    );
}

/// `<target>/<profile>`: the test binary is in its `deps`.
fn profile() -> Result<PathBuf> {
    let executable = executable()?;
    let profile =
        executable.parent().and_then(Path::parent).context("the test binary lies in no directory")?;
    Ok(profile.to_owned())
}

fn executable() -> Result<PathBuf> {
    std::env::current_exe().context("cannot tell where the test binary lies")
}
