//! Tokens that were verified a moment ago: a client sends the same one for minutes, and a signature takes long to check.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use sha2::{Digest as _, Sha256};

use crate::JwtClaims;

/// Tokens in one generation; there are two of them.
const MAX_TOKENS: usize = 512;

/// Longer tokens are not kept. With the bound above that is at most 4 MiB of tokens' worth of claims.
const MAX_KEPT: usize = 4 * 1024;

/// SHA-256 of a token, which is not kept itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// Verified tokens. Only those get in, so nobody without a key can push out the others.
#[derive(Debug, Default)]
pub(super) struct Cache(RwLock<Generations>);

type Tokens = HashMap<Digest, (JwtClaims, u64)>;

#[derive(Debug, Default)]
struct Generations {
    young: Tokens,
    /// When there are too many young ones they become old, and the old ones go.
    old: Tokens,
}

impl Cache {
    /// The claims of a token, if it was verified and has not expired since.
    pub(super) fn get(&self, digest: &Digest, now: u64) -> Option<JwtClaims> {
        let tokens = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (claims, end) = tokens.young.get(digest).or_else(|| tokens.old.get(digest))?;
        (now <= *end).then(|| claims.clone())
    }

    /// Keeps the claims of a verified token of this length until its end.
    pub(super) fn put(&self, digest: Digest, length: usize, claims: &JwtClaims, end: u64) {
        if length > MAX_KEPT {
            return;
        }
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tokens.young.insert(digest, (claims.clone(), end));
        if tokens.young.len() >= MAX_TOKENS {
            let young = std::mem::take(&mut tokens.young);
            let gone = std::mem::replace(&mut tokens.old, young);
            // Letting go of so many takes a while.
            drop(tokens);
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_kept_until_they_expire_or_are_too_many() {
        let cache = Cache::default();
        let claims = JwtClaims::new(&json!({ "sub": "u1" })).unwrap();
        let digest = |number: usize| Digest::of(&number.to_be_bytes());
        cache.put(digest(0), 100, &claims, 1000);
        assert!(cache.get(&digest(0), 1000).is_some());
        assert!(cache.get(&digest(0), 1001).is_none());
        assert!(cache.get(&digest(1), 0).is_none());
        cache.put(digest(1), MAX_KEPT + 1, &claims, 1000);
        assert!(cache.get(&digest(1), 0).is_none());
        for number in 2..10 * MAX_TOKENS {
            cache.put(digest(number), 100, &claims, 1000);
            assert!(cache.get(&digest(number), 0).is_some());
        }
        assert!(cache.get(&digest(0), 0).is_none());
        let tokens = cache.0.read().unwrap();
        assert!(tokens.young.len() + tokens.old.len() <= 2 * MAX_TOKENS);
    }
}
