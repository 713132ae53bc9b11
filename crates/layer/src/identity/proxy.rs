//! Names that an authenticating proxy puts into headers.

use http::{HeaderMap, HeaderName, request::Parts};
use sidetrail_record::UserIdentity;

use super::{Answer, Identity, asserted};
use crate::address::{self, Networks};

/// Headers in which an authenticating proxy says who is calling, for
/// [`Builder::proxy_headers`](crate::Builder::proxy_headers).
///
/// They are believed only if the connection comes from one of the proxies: anybody else can send them too. The proxies
/// have to remove them from what they receive, or set them always.
///
/// ```
/// use sidetrail::ProxyHeaders;
///
/// // oauth2-proxy with --pass-user-headers, on the same host.
/// let headers = ProxyHeaders::behind(["127.0.0.1", "::1"])
///     .id("x-forwarded-user")
///     .name("x-forwarded-preferred-username")
///     .name("x-forwarded-email");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ProxyHeaders {
    proxies: Vec<String>,
    id: Vec<String>,
    name: Vec<String>,
}

impl ProxyHeaders {
    /// For connections from these addresses and networks, the proxies themselves: `10.1.2.3`, `10.0.0.0/8`,
    /// `fd00::/8`.
    pub fn behind(proxies: impl IntoIterator<Item: ToString>) -> Self {
        let proxies = proxies.into_iter().map(|network| network.to_string()).collect();
        Self { proxies, id: Vec::new(), name: Vec::new() }
    }

    /// A header with the caller's id, `principalId`. Of several the first one that is there counts.
    pub fn id(mut self, header: impl Into<String>) -> Self {
        self.id.push(header.into());
        self
    }

    /// A header with the caller's name, `userName`: as [`id`](Self::id). Id and name stand in for each other.
    pub fn name(mut self, header: impl Into<String>) -> Self {
        self.name.push(header.into());
        self
    }

    /// Looks at requests, or says what is wrong with the settings: name, value and reason.
    pub(crate) fn look(
        self,
    ) -> Result<impl Fn(&Parts) -> Answer + Send + Sync + 'static, (&'static str, String, &'static str)> {
        const NAME: &str = "proxy_headers";
        let proxies = Networks::parse(&self.proxies).map_err(|(value, reason)| (NAME, value, reason))?;
        if self.id.is_empty() && self.name.is_empty() {
            return Err((NAME, String::new(), "no header is named"));
        }
        let names = |headers: Vec<String>| -> Result<Vec<HeaderName>, _> {
            headers
                .into_iter()
                .map(|name| HeaderName::try_from(&name).map_err(|_| (NAME, name, "not the name of a header")))
                .collect()
        };
        let (ids, names) = (names(self.id)?, names(self.name)?);
        Ok(move |parts: &Parts| {
            if !ids.iter().chain(&names).any(|name| parts.headers.contains_key(name)) {
                return Answer::Nobody;
            }
            if !address::peer(parts).is_some_and(|peer| proxies.contain(peer)) {
                return Answer::Refused("UntrustedProxy");
            }
            let first = |names| first(&parts.headers, names);
            match first(&ids).and_then(|id| Ok((id, first(&names)?))) {
                Ok((id, name)) => user(id.or(name), name.or(id)).into(),
                Err(code) => Answer::Refused(code),
            }
        })
    }
}

/// What the first of these headers says that says something.
fn first<'a>(headers: &'a HeaderMap, names: &[HeaderName]) -> Result<Option<&'a str>, &'static str> {
    for name in names {
        if let Some(value) = asserted::only(headers, name)?
            && let Some(text) = asserted::name(value.as_bytes())?
        {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn user(id: Option<&str>, name: Option<&str>) -> Option<Identity> {
    Some(Identity::from(UserIdentity {
        kind: Some("IAMUser".to_owned()),
        principal_id: Some(id?.to_owned()),
        user_name: name.map(str::to_owned),
        ..UserIdentity::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PeerAddr, identity::chain::Caller};

    fn ask(peer: Option<&str>, headers: &[(&str, &str)]) -> Result<Option<(String, String)>, &'static str> {
        let look = ProxyHeaders::behind(["10.0.0.0/8", "::1"])
            .id("X-Forwarded-User")
            .name("x-forwarded-preferred-username")
            .name("x-forwarded-email")
            .look()
            .unwrap_or_else(|_| panic!("settings"));
        let mut request = http::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        if let Some(peer) = peer {
            parts.extensions.insert(PeerAddr(peer.parse().unwrap()));
        }
        match look(&parts) {
            Answer::Found(Caller::Identity(identity)) => {
                let identity = UserIdentity::from(identity);
                Ok(Some((identity.principal_id.unwrap(), identity.user_name.unwrap())))
            }
            Answer::Found(Caller::Claims(_)) => panic!("claims"),
            Answer::Nobody => Ok(None),
            Answer::Refused(code) => Err(code),
        }
    }

    #[test]
    fn only_proxies_are_believed() {
        let header = [("x-forwarded-user", "u1")];
        let found = || Ok(Some(("u1".to_owned(), "u1".to_owned())));
        assert_eq!(ask(Some("10.1.2.3:1"), &header), found());
        assert_eq!(ask(Some("[::ffff:10.1.2.3]:1"), &header), found());
        assert_eq!(ask(Some("[::1]:1"), &header), found());
        for peer in [None, Some("192.0.2.1:1"), Some("[::2]:1"), Some("11.0.0.0:1")] {
            assert_eq!(ask(peer, &header), Err("UntrustedProxy"), "{peer:?}");
            assert_eq!(ask(peer, &[("x-forwarded-for", "10.1.2.3")]), Ok(None));
        }
    }

    #[test]
    fn id_and_name_stand_in_for_each_other() {
        let peer = Some("10.0.0.1:1");
        let found = |id: &str, name: &str| Ok(Some((id.to_owned(), name.to_owned())));
        let (id, name, email) = (
            ("x-forwarded-user", "u1"),
            ("x-forwarded-preferred-username", "jo"),
            ("x-forwarded-email", "jo@x"),
        );
        assert_eq!(ask(peer, &[id, name, email]), found("u1", "jo"));
        assert_eq!(ask(peer, &[id, email]), found("u1", "jo@x"));
        assert_eq!(ask(peer, &[email]), found("jo@x", "jo@x"));
        assert_eq!(ask(peer, &[("x-forwarded-user", " "), email]), found("jo@x", "jo@x"));
        assert_eq!(ask(peer, &[("x-forwarded-user", "")]), Ok(None));
        assert_eq!(ask(peer, &[id, id]), Err("AmbiguousHeader"));
        assert_eq!(ask(peer, &[("x-forwarded-user", "Bearer abc123def")]), Err("SecretAsName"));
    }

    #[test]
    fn settings_are_checked() {
        let problem = |headers: ProxyHeaders| headers.look().err().unwrap();
        assert_eq!(problem(ProxyHeaders::behind(["10.0.0.0/33"]).id("a")).1, "10.0.0.0/33");
        assert_eq!(problem(ProxyHeaders::behind(["::1"]).id("a b")).1, "a b");
        assert_eq!(problem(ProxyHeaders::behind(["::1"])).2, "no header is named");
    }
}
