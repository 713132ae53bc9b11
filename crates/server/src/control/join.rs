//! Who comes, by what it shows: a certificate, a join token, or the token of a pod's ServiceAccount.

use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use sidetrail_api::shape::Workload;
use sidetrail_api::sigv4::Secret;
use sidetrail_archive::key::{Account, Region};
use sidetrail_wire::control::v1::Hello;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::accept::Peer;
use super::review::{self, Reviewer};
use crate::config::{ConfigError, ControlConfig, JoinCertificates, Kubernetes};

/// A collector is believed for so long, and then has to show again what it has: its pod may be gone.
const LONGEST: Duration = Duration::from_secs(3600);
/// And for so long at least, however soon what it showed is over: who comes again has nothing newer before that.
const SHORTEST: Duration = Duration::from_secs(10);

/// What lets collectors join.
#[derive(Debug)]
pub(crate) struct Joins {
    tokens: Vec<Token>,
    certificates: Vec<JoinCertificates>,
    kubernetes: Option<(Kubernetes, Reviewer)>,
}

#[derive(Debug)]
struct Token {
    secret: Secret,
    account: Account,
    region: Option<Region>,
}

/// A collector that may join.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    /// What it showed.
    by: &'static str,
    account: Account,
    region: Option<Region>,
    /// The pod that it is in, if Kubernetes says so.
    pub(super) workload: Option<Workload>,
    /// The trails that it fills, if those are not all.
    pub(super) trails: Option<Vec<String>>,
    /// When it has to come again.
    pub(super) until: Option<Instant>,
}

impl Joins {
    /// Reads tokens and credentials.
    pub(crate) fn read(
        config: &ControlConfig,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let tokens = config.join_tokens.iter().enumerate().map(|(index, token)| {
            let secret = token.token.read(&format!("control.join_tokens[{index}].token"), env)?;
            Ok(Token { secret, account: token.account.clone(), region: token.region.clone() })
        });
        let kubernetes = config
            .kubernetes
            .as_ref()
            .map(|kubernetes| Reviewer::new(kubernetes, env).map(|reviewer| (kubernetes.clone(), reviewer)));
        Ok(Self {
            tokens: tokens.collect::<Result<_, ConfigError>>()?,
            certificates: config.join_certificates.clone(),
            kubernetes: kubernetes.transpose()?,
        })
    }

    /// Whether some collectors come with the word of Kubernetes: then an id is nobody else's.
    pub(super) fn knows_pods(&self) -> bool {
        self.kubernetes.is_some()
    }

    /// Lets it join. A token counts before a certificate, which may be that of a proxy.
    pub(super) async fn join(&self, metadata: &MetadataMap, peer: &Peer) -> Result<Joined, Status> {
        let Some(sent) = metadata.get("authorization") else {
            return self.by_certificate(peer).ok_or_else(|| {
                Status::unauthenticated(
                    "a token is needed, or a certificate that control.join_certificates admits",
                )
            });
        };
        let sent = sent.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        // All are looked at, whichever it is.
        let found = self.tokens.iter().fold(
            None,
            |found, token| {
                if token.secret.is(sent) { Some(token) } else { found }
            },
        );
        match (found, &self.kubernetes) {
            (Some(Token { account, region, .. }), _) => Ok(Joined {
                by: "join token",
                account: account.clone(),
                region: region.clone(),
                workload: None,
                trails: None,
                until: None,
            }),
            (None, Some((config, reviewer))) if review::is_one(sent) => {
                by_review(config, reviewer, sent).await
            }
            (None, _) => Err(Status::unauthenticated("the join token is not one of this server's")),
        }
    }

    /// The pod of the injector, which may report pods that are not audited.
    pub(crate) async fn injector(&self, headers: &HeaderMap) -> Result<Workload, (StatusCode, String)> {
        let nobody = "control.kubernetes.injector is not configured".to_owned();
        let Some((config, reviewer)) = &self.kubernetes else { return Err((StatusCode::NOT_FOUND, nobody)) };
        let Some(injector) = &config.injector else { return Err((StatusCode::NOT_FOUND, nobody)) };
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let sent = sent.and_then(|value| value.strip_prefix("Bearer ")).filter(|sent| review::is_one(sent));
        let unauthorized = |problem: String| (StatusCode::UNAUTHORIZED, problem);
        let sent = sent.ok_or_else(|| unauthorized("a ServiceAccount token is needed".to_owned()))?;
        let away = "Kubernetes cannot be asked about the ServiceAccount token now".to_owned();
        let answer = reviewer.review(sent).await.map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, away))?;
        let workload = answer.map_err(|reason| unauthorized(reason.to_string()))?;
        let Workload { namespace, service_account, .. } = &*workload;
        if (namespace, service_account) != (&injector.namespace, &injector.service_account) {
            let problem =
                format!("service account {service_account} of namespace {namespace} is not the injector's");
            return Err((StatusCode::FORBIDDEN, problem));
        }
        Ok((*workload).clone())
    }

    fn by_certificate(&self, peer: &Peer) -> Option<Joined> {
        let (names, expires_unix_s) = peer.certificate.as_deref()?;
        let admits = |entry: &&JoinCertificates| entry.peers.iter().any(|peer| peer.admits(names).is_some());
        let entry = self.certificates.iter().find(admits)?;
        Some(Joined {
            by: "certificate",
            account: entry.account.clone(),
            region: entry.region.clone(),
            workload: None,
            trails: None,
            until: Some(Instant::now() + believed(*expires_unix_s, Timestamp::now())),
        })
    }
}

async fn by_review(config: &Kubernetes, reviewer: &Reviewer, token: &str) -> Result<Joined, Status> {
    let answer = reviewer.review(token).await;
    // The log has the reason, which is between this server and the cluster.
    let answer = answer
        .map_err(|_| Status::unavailable("Kubernetes cannot be asked about the ServiceAccount token now"))?;
    let workload = answer.map_err(|reason| Status::unauthenticated(reason.to_string()))?;
    let now = Timestamp::now();
    let expires = review::expiry(token).unwrap_or(i64::MAX);
    // What is remembered of a token does not make it last.
    if expires <= now.as_second() {
        return Err(Status::unauthenticated(review::Unbelieved::Expired.to_string()));
    }
    let (namespace, service_account) = (&workload.namespace, &workload.service_account);
    let entry = config.workloads.iter().find(|entry| entry.are(namespace, service_account));
    let entry = entry.ok_or_else(|| {
        Status::permission_denied(format!(
            "no entry of control.kubernetes.workloads is for service account {service_account} of namespace {namespace}"
        ))
    })?;
    Ok(Joined {
        by: "service account",
        account: entry.account.clone(),
        region: entry.region.clone(),
        workload: Some((*workload).clone()),
        trails: entry.trails.clone(),
        until: Some(Instant::now() + believed(expires, now)),
    })
}

/// How long who showed what is over then is believed.
fn believed(expires_unix_s: i64, now: Timestamp) -> Duration {
    let left = u64::try_from(expires_unix_s.saturating_sub(now.as_second())).unwrap_or(0);
    Duration::from_secs(left).clamp(SHORTEST, LONGEST)
}

impl Joined {
    /// Whether it is who it says it is.
    pub(super) fn check(&self, hello: &Hello) -> Result<(), Status> {
        let by = self.by;
        if self.account.as_str() != hello.account_id {
            return Err(Status::permission_denied(format!("the {by} is for another account")));
        }
        if self.region.as_ref().is_some_and(|region| region.as_str() != hello.region) {
            return Err(Status::permission_denied(format!("the {by} is for another region")));
        }
        let (Some(is), Some(says)) = (&self.workload, &hello.workload) else { return Ok(()) };
        let claims = [
            ("namespace", &says.namespace, Some(&is.namespace)),
            ("pod", &says.pod, Some(&is.pod)),
            ("uid", &says.uid, Some(&is.uid)),
            ("service_account", &says.service_account, Some(&is.service_account)),
            ("node", &says.node, is.node.as_ref()),
        ];
        for (member, claimed, known) in claims {
            if let Some(known) = known.filter(|known| !claimed.is_empty() && *known != claimed) {
                return Err(Status::permission_denied(format!(
                    "hello.workload.{member} is {claimed:?}, and the token is for {known:?}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sidetrail_wire::control::v1::Workload as Claimed;

    use super::*;

    fn joined() -> Joined {
        Joined {
            by: "service account",
            account: Account::new("111122223333").unwrap(),
            region: None,
            workload: Some(Workload {
                namespace: "prod".to_owned(),
                service_account: "orders".to_owned(),
                pod: "orders-7".to_owned(),
                uid: "1".to_owned(),
                node: None,
            }),
            trails: None,
            until: None,
        }
    }

    fn hello(workload: Option<Claimed>) -> Hello {
        Hello { account_id: "111122223333".to_owned(), workload, ..Hello::default() }
    }

    #[test]
    fn nobody_claims_another_pod() {
        assert!(joined().check(&hello(None)).is_ok());
        let own = Claimed { pod: "orders-7".to_owned(), node: "node-1".to_owned(), ..Claimed::default() };
        assert!(joined().check(&hello(Some(own))).is_ok(), "the cluster does not tell nodes");
        for (claimed, member) in [
            (Claimed { namespace: "dev".to_owned(), ..Claimed::default() }, "namespace"),
            (Claimed { pod: "refunds-1".to_owned(), ..Claimed::default() }, "pod"),
            (Claimed { uid: "2".to_owned(), ..Claimed::default() }, "uid"),
            (Claimed { service_account: "default".to_owned(), ..Claimed::default() }, "service_account"),
        ] {
            let status = joined().check(&hello(Some(claimed))).unwrap_err();
            assert_eq!(status.code(), tonic::Code::PermissionDenied);
            assert!(status.message().contains(&format!("hello.workload.{member} is")), "{status}");
        }
        let other = Hello { account_id: "444455556666".to_owned(), ..hello(None) };
        assert!(joined().check(&other).unwrap_err().message().contains("is for another account"));
    }

    #[test]
    fn what_is_over_soon_is_believed_that_long() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let left = |expires| believed(expires, now);
        assert_eq!(left(1_700_000_600), Duration::from_secs(600));
        assert_eq!(left(1_700_000_001), SHORTEST);
        assert_eq!(left(i64::MAX), LONGEST);
    }
}
