//! Programs under test: started with a log file, waited for, ended by their id.
//!
//! A test process may die without dropping anything: Ctrl-C, an abort, or the shared S3 server, which is a static. So
//! each child has a guard, a shell that waits for the end of its input. That end comes when the test process is gone,
//! however it went, and the guard then kills the child and removes what it would leave behind.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{http, wait_for};

/// Lines of its log that a failure quotes.
const QUOTED_LINES: usize = 30;

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    ended: Option<ExitStatus>,
    guard: Option<Guard>,
}

impl Process {
    /// Starts `command` with no input and everything it prints appended to the file `log`.
    ///
    /// # Errors
    ///
    /// When the log cannot be opened or the program cannot be started.
    pub fn spawn(command: Command, log: &Path) -> Result<Self> {
        Self::spawn_with(command, log, &[])
    }

    /// Like [`Process::spawn`]; the `leftovers` go too if the test process dies without dropping the result.
    pub(crate) fn spawn_with(mut command: Command, log: &Path, leftovers: &[PathBuf]) -> Result<Self> {
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot open {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let guard = match Guard::spawn(child.id(), leftovers) {
            Ok(guard) => Some(guard),
            Err(error) => {
                let _ = child.kill().and_then(|()| child.wait());
                return Err(error);
            }
        };
        Ok(Self { name, log: log.to_owned(), child, ended: None, guard })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the program has printed so far.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("cannot read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until `GET path` is answered with 200.
    ///
    /// # Errors
    ///
    /// When the program ends, or the deadline passes; both quote the log.
    pub fn wait_http(&mut self, address: SocketAddr, path: &str, deadline: Duration) -> Result<()> {
        self.wait_until(&format!("http://{address}{path}"), deadline, || {
            Ok(http::get(address, path).is_ok_and(|response| response.status == 200).then_some(()))
        })
    }

    /// Waits until something listens on the Unix socket at `path`.
    ///
    /// # Errors
    ///
    /// When the program ends, or the deadline passes; both quote the log.
    pub fn wait_socket(&mut self, path: &Path, deadline: Duration) -> Result<()> {
        self.wait_until(&path.display().to_string(), deadline, || {
            Ok(std::os::unix::net::UnixStream::connect(path).ok().map(drop))
        })
    }

    /// Like [`wait_for`], for something that only comes while the program runs.
    ///
    /// # Errors
    ///
    /// When the program ends, `ask` fails, or the deadline passes; all quote the log.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut ask: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let result = wait_for(what, deadline, || match self.poll()? {
            Some(status) => bail!("ended with {status} before {what}"),
            None => ask(),
        });
        result.map_err(|error| self.explain(&error))
    }

    /// Asks the program to end: SIGTERM.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops the program in the middle of whatever it does: SIGSTOP. It does nothing until [`Process::thaw`].
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the program go on: SIGCONT.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub fn thaw(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// How the program ended, if it has.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.poll()
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.poll()?.is_none() {
            kill_process(Pid::from_child(&self.child), signal)
                .with_context(|| format!("cannot signal {}", self.name))?;
        }
        Ok(())
    }

    /// Asks the program to look at its configuration again: SIGHUP.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub fn hang_up(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::HUP)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Ends the program on the spot: SIGKILL. It is gone on return.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub fn kill(&mut self) -> Result<()> {
        if self.poll()?.is_none() {
            self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
            self.ended = Some(self.child.wait()?);
            self.guard = None;
        }
        Ok(())
    }

    /// Waits for the program to end.
    ///
    /// # Errors
    ///
    /// When it still runs at the deadline; quotes the log.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        wait_for("its end", deadline, || self.poll()).map_err(|error| self.explain(&error))
    }

    fn poll(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().with_context(|| format!("cannot ask after {}", self.name))?;
            if self.ended.is_some() {
                self.guard = None;
            }
        }
        Ok(self.ended)
    }

    fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let log = self.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n");
        anyhow!("{}: {error:#}; the end of {}:\n{tail}", self.name, self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing to be done about a failure here; the guard, which goes last, would try the same.
        let _ = self.kill();
    }
}

/// Ends a child that outlives us. Must go before the child is reaped, as its id may then be another's.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    fn spawn(id: u32, leftovers: &[PathBuf]) -> Result<Self> {
        // The signals that end a test run in a terminal reach the guard too, and must not.
        let script = "trap '' HUP INT TERM; read -r _; kill -9 \"$1\"; shift; rm -rf -- \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "guard", &id.to_string()]).args(leftovers);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().map(Self).map_err(|error| match error.kind() {
            ErrorKind::NotFound => anyhow!("the harness needs a POSIX `sh`"),
            _ => anyhow!(error).context("cannot start a guard"),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{START, STOP};

    fn shell(script: &str, log: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn(command, log).unwrap()
    }

    #[test]
    fn an_early_end_is_told_with_the_log_and_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = shell("echo no such trail >&2; exit 64", &directory.path().join("log"));
        let began = Instant::now();
        let error = process.wait_socket(&directory.path().join("socket"), START).unwrap_err().to_string();
        assert!(error.contains("exit status: 64") && error.contains("no such trail"), "{error}");
        assert!(began.elapsed() < START / 2);
    }

    #[test]
    fn a_program_may_end_in_its_own_way() {
        let directory = tempfile::tempdir().unwrap();
        let ready = directory.path().join("ready");
        let script = format!("trap 'exit 7' TERM; touch {}; while :; do sleep 0.01; done", ready.display());
        let mut process = shell(&script, &directory.path().join("log"));
        process.wait_until("the trap", START, || Ok(ready.exists().then_some(()))).unwrap();
        process.terminate().unwrap();
        assert_eq!(process.wait(STOP).unwrap().code(), Some(7));
    }

    #[test]
    fn a_guard_ends_what_outlives_us() {
        let directory = tempfile::tempdir().unwrap();
        let leftover = directory.path().join("leftover");
        fs::create_dir(&leftover).unwrap();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let mut guard = Guard::spawn(child.id(), std::slice::from_ref(&leftover)).unwrap();
        // What the kernel does for a process that is gone.
        drop(guard.0.stdin.take());
        wait_for("the child's end", STOP, || Ok(child.try_wait()?)).unwrap();
        wait_for("the removal", STOP, || Ok((!leftover.exists()).then_some(()))).unwrap();
    }
}
