//! Modules that were loaded. One is loaded once and stays until the process ends: the library keeps state for the process, and
//! another signer may be in the middle of a call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::ElsewhereError;
use crate::hash::Sha256;

/// A configuration names two keys; more come when it is changed again and again.
const MAX_MODULES: usize = 16;
/// PINs that were wrong.
const MAX_REFUSED: usize = 64;

#[derive(Default)]
struct Loaded {
    modules: BTreeMap<PathBuf, Pkcs11>,
    /// Hashes of token and PIN.
    refused: BTreeSet<Sha256>,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

fn with<T>(look: impl FnOnce(&mut Loaded) -> T) -> T {
    look(LOADED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// The module at a path, loaded and initialised.
pub(super) fn load(path: &Path) -> Result<Pkcs11, ElsewhereError> {
    with(|loaded| {
        if let Some(module) = loaded.modules.get(path) {
            return Ok(module.clone());
        }
        if loaded.modules.len() >= MAX_MODULES {
            return Err(ElsewhereError::lasting(format!(
                "{MAX_MODULES} modules are loaded already: start anew"
            )));
        }
        let failed = |error: Error| ElsewhereError::passing(format!("{}: {error}", path.display()));
        let module = Pkcs11::new(path).map_err(failed)?;
        // The same library may have been loaded by another name.
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(failed(error)),
        }
        loaded.modules.insert(path.to_owned(), module.clone());
        Ok(module)
    })
}

fn attempt(token: &str, pin: &str) -> Sha256 {
    Sha256::of(format!("{token}\0{pin}").as_bytes())
}

/// Whether a token refused this PIN. It is not told it twice: after a few it locks itself.
pub(super) fn was_refused(token: &str, pin: &str) -> bool {
    with(|loaded| loaded.refused.contains(&attempt(token, pin)))
}

pub(super) fn refuse(token: &str, pin: &str) {
    with(|loaded| {
        if loaded.refused.len() >= MAX_REFUSED {
            loaded.refused.pop_first();
        }
        loaded.refused.insert(attempt(token, pin));
    });
}
