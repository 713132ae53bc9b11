//! Page tokens: where a listing goes on, and of which query.
//!
//! A token holds the position and a hash of the query and the account it was made for, so that it is of no use with
//! another query: CloudTrail's `InvalidNextTokenException`. It holds no secret and gives no right, since whoever brings it
//! is asked for his own rights again; so any server may read it, and none has to keep a key for it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Bytes of a token's text that are looked at.
const MAX_TOKEN: usize = 5000;
const VERSION: u8 = 1;
const TAG: usize = 16;

/// The token is not one of this query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token belongs to no page of this query")]
pub struct InvalidToken;

/// What a token belongs to: the operation, who asks, and everything that must stay the same from page to page.
#[derive(Clone, Debug)]
pub struct Query(Sha256);

impl Query {
    /// The query that `parts` make up.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of parts run into each other.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash)
    }

    /// The token of a position in it.
    #[must_use]
    pub fn token(&self, position: &[u8]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.tag(position));
        bytes.extend_from_slice(position);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position that a token stands for.
    ///
    /// # Errors
    /// If it is no token, was changed, or is another query's.
    pub fn position(&self, token: &str) -> Result<Vec<u8>, InvalidToken> {
        if token.len() > MAX_TOKEN {
            return Err(InvalidToken);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
        let (head, position) = bytes.split_at_checked(1 + TAG).ok_or(InvalidToken)?;
        if head[0] != VERSION || head[1..] != self.tag(position) {
            return Err(InvalidToken);
        }
        Ok(position.to_vec())
    }

    fn tag(&self, position: &[u8]) -> [u8; TAG] {
        let hash: [u8; 32] = self.0.clone().chain_update(position).finalize().into();
        std::array::from_fn(|at| hash[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_query() {
        let query = Query::of(["LookupEvents", "111122223333", "a"]);
        let token = query.token(b"17");
        assert_eq!(query.position(&token).unwrap(), b"17");
        for other in [
            Query::of(["LookupEvents", "111122223333", "b"]),
            Query::of(["LookupEvents", "111122223333a"]),
            Query::of(["ListTrails", "111122223333", "a"]),
        ] {
            assert_eq!(other.position(&token), Err(InvalidToken));
        }
    }

    #[test]
    fn what_was_changed_is_none() {
        let query = Query::of(["a"]);
        let token = query.token(b"position");
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character has bits that mean nothing; the decoder refuses those that are set.
            assert_eq!(query.position(&changed), Err(InvalidToken), "{at}");
        }
        for no_token in ["", "A", "?", &"A".repeat(6000)] {
            assert_eq!(query.position(no_token), Err(InvalidToken));
        }
    }
}
