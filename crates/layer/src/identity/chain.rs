//! The chain of places to look for the caller. The first that answers wins, and the record says which it was.

use std::{any::type_name, fmt, panic::AssertUnwindSafe, sync::Arc};

use http::request::Parts;
use sidetrail_record::UserIdentity;

use super::{Identity, JwtClaims, claimed::Claimed};
use crate::capture::{Fields, push_string};

/// What a place says of a request.
pub(crate) enum Answer {
    Found(Caller),
    Nobody,
    /// Something that should tell who is calling is there, and is not to be believed. The code says why and nothing of
    /// what it holds.
    Refused(&'static str),
}

impl From<Option<Identity>> for Answer {
    fn from(identity: Option<Identity>) -> Self {
        identity.map_or(Self::Nobody, |identity| Self::Found(Caller::Identity(identity)))
    }
}

impl From<Identity> for Answer {
    fn from(identity: Identity) -> Self {
        Some(identity).into()
    }
}

/// The caller, in a form that costs a request no more than a reference count.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Identity(Identity),
    Claims(JwtClaims),
}

pub(crate) type Look = Box<dyn Fn(&Parts) -> Answer + Send + Sync>;

/// A place to look, under the name that records give it.
pub(crate) struct Place {
    name: Arc<str>,
    look: Look,
}

impl Place {
    pub(crate) fn new(
        name: impl Into<Arc<str>>,
        look: impl Fn(&Parts) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), look: Box::new(look) }
    }
}

/// Where to look for the caller, in order.
pub(crate) struct Chain(Vec<Place>);

/// What the places of a chain said, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    caller: Option<(usize, Caller)>,
    /// The first that refused.
    refusal: Option<(usize, &'static str)>,
    /// Where nobody answered.
    claimed: Option<Claimed>,
}

/// The caller, as the record has it.
pub(crate) struct Who<'a> {
    pub(crate) identity: UserIdentity,
    source: &'a str,
    refusal: Option<(&'a str, &'static str)>,
    prior_actors: Vec<String>,
    claimed: Option<&'a Claimed>,
}

impl Chain {
    /// One more place, after those added before it.
    pub(crate) fn add(&mut self, place: Place) {
        // The last is for claims.
        let end = self.0.len().saturating_sub(1);
        self.0.insert(end, place);
    }

    /// The place that told who is calling.
    pub(crate) fn source(&self, heard: &Heard) -> Option<&str> {
        let (index, _) = heard.caller.as_ref()?;
        self.0.get(*index).map(|place| &*place.name)
    }

    /// Asks one place after the other.
    pub(crate) fn ask(&self, parts: &Parts) -> Heard {
        let mut heard = Heard::default();
        for (index, place) in self.0.iter().enumerate() {
            // An application's closure that panics has not found anybody.
            match std::panic::catch_unwind(AssertUnwindSafe(|| (place.look)(parts))) {
                Ok(Answer::Found(caller)) => {
                    heard.caller = Some((index, caller));
                    break;
                }
                Ok(Answer::Refused(code)) if heard.refusal.is_none() => heard.refusal = Some((index, code)),
                Ok(Answer::Refused(_) | Answer::Nobody) | Err(_) => {}
            }
        }
        if heard.caller.is_none() {
            heard.claimed = Claimed::of(parts);
        }
        heard
    }

    /// Writes out what was heard.
    pub(crate) fn who<'a>(&'a self, heard: &'a Heard) -> Who<'a> {
        let name = |index: usize| self.0.get(index).map_or("none", |place| &*place.name);
        let (identity, source, prior_actors) = match &heard.caller {
            Some((index, Caller::Identity(identity))) => (Some(identity.clone()), name(*index), Vec::new()),
            Some((index, Caller::Claims(claims))) => {
                (Identity::from_claims(claims), name(*index), claims.prior_actors())
            }
            None => (None, "none", Vec::new()),
        };
        Who {
            identity: identity.unwrap_or_else(Identity::anonymous).into(),
            source,
            // Of two verifiers only one can know a token: that the other does not is no news.
            refusal: heard
                .refusal
                .map(|(index, code)| (name(index), code))
                .filter(|(name, _)| *name != source),
            prior_actors,
            claimed: heard.claimed.as_ref(),
        }
    }
}

impl Who<'_> {
    /// What a handler says of its caller is the last word.
    pub(crate) fn by_handler(identity: Identity) -> Self {
        Self {
            identity: identity.into(),
            source: "handler",
            refusal: None,
            prior_actors: Vec::new(),
            claimed: None,
        }
    }

    /// Adds what `userIdentity` has no room for.
    pub(crate) fn describe(&self, fields: &mut Fields) {
        fields.string("identitySource", self.source);
        if let Some((name, code)) = self.refusal {
            fields.string("identityError", &format!("{name}: {code}"));
        }
        if let Some(claimed) = self.claimed {
            claimed.describe(fields);
        }
        if !self.prior_actors.is_empty() {
            fields.member("priorActors", |out| {
                for (index, actor) in self.prior_actors.iter().enumerate() {
                    out.push(if index == 0 { '[' } else { ',' });
                    push_string(out, actor);
                }
                out.push(']');
            });
        }
    }
}

impl Default for Chain {
    /// The extension [`Identity`], then the extension [`JwtClaims`].
    fn default() -> Self {
        let extension = Place::new("extension", |parts| parts.extensions.get::<Identity>().cloned().into());
        let claims = Place::new("jwt", |parts| match parts.extensions.get::<JwtClaims>() {
            Some(claims) if claims.has_subject() => Answer::Found(Caller::Claims(claims.clone())),
            _ => Answer::Nobody,
        });
        Self(vec![extension, claims])
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|place| &place.name)).finish()
    }
}

/// Looks for the extension `T` and lets the application say who it is.
pub(crate) fn from_extension<T, I>(map: impl Fn(&T) -> I + Send + Sync + 'static) -> Place
where
    T: Send + Sync + 'static,
    I: Into<Option<Identity>>,
{
    let path = type_name::<T>();
    let name = path.rsplit("::").next().unwrap_or(path);
    Place::new(name, move |parts| parts.extensions.get::<T>().and_then(|value| map(value).into()).into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn additional(who: &Who<'_>) -> Value {
        let mut fields = Fields::default();
        who.describe(&mut fields);
        serde_json::from_str(fields.finish().unwrap().as_str()).unwrap()
    }

    #[test]
    fn the_first_that_answers_wins_and_a_panic_is_no_answer() {
        #[derive(Clone)]
        struct Key(&'static str);
        let panics = from_extension(|_: &Key| -> Option<Identity> { panic!("extractor") });
        let mut chain = Chain::default();
        chain.add(panics);
        chain.add(from_extension(|key: &Key| Identity::service(key.0)));
        let (mut parts, ()) = http::Request::new(()).into_parts();
        let source = |parts: &Parts| chain.who(&chain.ask(parts)).source.to_owned();
        assert_eq!(source(&parts), "none");
        parts.extensions.insert(JwtClaims::new(&json!({ "sub": "" })).unwrap());
        assert_eq!(source(&parts), "none");
        parts.extensions.insert(JwtClaims::new(&json!({ "sub": "u1" })).unwrap());
        assert_eq!(source(&parts), "jwt");
        parts.extensions.insert(Key("billing"));
        assert_eq!(source(&parts), "Key");
        assert_eq!(chain.who(&chain.ask(&parts)).identity, UserIdentity::from(Identity::service("billing")));
        parts.extensions.insert(Identity::user("1", "jo"));
        assert_eq!(source(&parts), "extension");
    }

    #[test]
    fn the_first_refusal_is_told_unless_a_namesake_answers() {
        let (parts, ()) = http::Request::new(()).into_parts();
        let mut chain = Chain::default();
        chain.add(Place::new("bearer", |_| Answer::Refused("UnknownKey")));
        chain.add(Place::new("basic", |_| Answer::Refused("MalformedCredentials")));
        let heard = chain.ask(&parts);
        let who = chain.who(&heard);
        assert_eq!(who.identity, UserIdentity::from(Identity::anonymous()));
        let expected = json!({ "identitySource": "none", "identityError": "bearer: UnknownKey" });
        assert_eq!(additional(&who), expected);
        chain.add(Place::new("bearer", |_| Identity::user("1", "jo").into()));
        assert_eq!(additional(&chain.who(&chain.ask(&parts))), json!({ "identitySource": "bearer" }));
    }
}
