//! SoftHSM: a PKCS#11 module whose tokens are files, with one directory of them for each test.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools;

/// Where distributions have the module.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// The PIN of every token.
pub const PIN: &str = "1234";

/// Tokens of a test. Programs find them by a variable that [`SoftHsm::configure`] sets.
#[derive(Debug)]
pub struct SoftHsm {
    module: PathBuf,
    config: PathBuf,
    pin: PathBuf,
}

impl SoftHsm {
    /// Keeps tokens in `directory`; `more` are lines of its configuration.
    ///
    /// # Errors
    ///
    /// When SoftHSM is not installed.
    pub fn new(directory: &Path, more: &str) -> Result<Self> {
        let module = MODULES.iter().map(PathBuf::from).find(|module| module.is_file());
        let module = module.context("SoftHSM is not installed: `apt-get install softhsm2`")?;
        let (tokens, config, pin) =
            (directory.join("tokens"), directory.join("softhsm2.conf"), directory.join("pin"));
        fs::create_dir(&tokens)?;
        fs::write(&config, format!("directories.tokendir = {}\n{more}", tokens.display()))?;
        fs::write(&pin, format!("{PIN}\n"))?;
        Ok(Self { module, config, pin })
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn token(&self, label: &str) -> Result<()> {
        self.util(["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678"])
    }

    /// Puts the private key of a PEM file on a token; `id` is in hexadecimal digits.
    ///
    /// # Errors
    ///
    /// When it cannot be put there.
    pub fn import(&self, token: &str, key: &Path, label: &str, id: &str) -> Result<()> {
        let key = key.to_str().context("a path in UTF-8")?;
        self.util(["--import", key, "--token", token, "--label", label, "--id", id, "--pin", PIN])
    }

    /// How a key is named.
    pub fn uri(&self, token: &str, object: &str) -> String {
        let (module, pin) = (self.module.display(), self.pin.display());
        format!("pkcs11:token={token};object={object}?module-path={module}&pin-source=file:{pin}")
    }

    /// The file with the PIN.
    pub fn pin(&self) -> &Path {
        &self.pin
    }

    /// The variable that leads a program to the tokens.
    pub fn variable(&self) -> (&'static str, &Path) {
        ("SOFTHSM2_CONF", &self.config)
    }

    /// Leads a program to the tokens.
    pub fn configure(&self, command: &mut Command) {
        let (name, value) = self.variable();
        command.env(name, value);
    }

    fn util<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<()> {
        let mut util = Command::new("softhsm2-util");
        util.args(arguments);
        self.configure(&mut util);
        tools::run(util)?.success().map(drop)
    }
}
