//! Where a collector is reached, by whom, and how much of it they get.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::Deserialize;
use sidetrail_wire::peer::PeerPattern;

use super::{ConfigError, range, wrong};

/// The longest path a Unix socket can have on Linux, without its terminating zero.
const MAX_SOCKET_PATH: usize = 107;
/// Patterns, user ids and group ids in one list: each is looked at for each connection.
const MAX_PEERS: usize = 256;
/// More need more file descriptors than a service is usually given.
const MAX_CONNECTIONS: u32 = 65_536;

/// Where applications and probes reach the collector.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Unix socket for applications, e.g. `/run/sidetrail/collector.sock`.
    pub socket: Option<PathBuf>,
    /// Mode of the socket's file, octal, e.g. `'0660'`, which is the default: its owner and its group may
    /// connect. In a pod give the volume a group with `fsGroup`, or use `'0666'` and `socket_peers`.
    #[serde(default)]
    pub socket_mode: SocketMode,
    /// Who of those that the mode lets in may connect. Left out: all of them.
    #[serde(default)]
    pub socket_peers: SocketPeers,
    /// TCP address for applications, e.g. `127.0.0.1:4319`. Without `tls` the protocol is plaintext there, so it must be
    /// a loopback address.
    #[schemars(with = "Option<String>")]
    pub tcp: Option<SocketAddr>,
    /// TLS 1.3 on `tcp`. Both sides show certificates.
    pub tls: Option<Tls>,
    /// Takes records in plaintext, from anybody, on a `tcp` address that is not loopback. Everybody on the path can read
    /// and forge them.
    #[serde(default)]
    pub unencrypted_beyond_loopback: bool,
    /// What connections may have and do.
    #[serde(default)]
    pub limits: Limits,
    /// HTTP address of `/livez`, `/readyz`, `/startupz` and `/metrics`, e.g. `127.0.0.1:9464`.
    #[schemars(with = "Option<String>")]
    pub health: Option<SocketAddr>,
}

/// Mode of a file: `'0660'`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct SocketMode(#[schemars(with = "String", regex(pattern = "^0?[0-7]{3}$"))] pub u32);

impl Default for SocketMode {
    fn default() -> Self {
        Self(0o660)
    }
}

impl TryFrom<String> for SocketMode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix('0').unwrap_or(&text);
        let mode = u32::from_str_radix(digits, 8).ok().filter(|_| digits.len() == 3);
        mode.map(Self).ok_or("a mode is three octal digits, such as '0660'")
    }
}

/// Processes that may connect to the socket, by what the kernel says of them. Who is in either list may; if both are
/// empty, whoever the mode lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SocketPeers {
    /// User ids.
    pub uids: Vec<u32>,
    /// Group ids. Only a process's effective group counts: the kernel does not tell the others.
    pub gids: Vec<u32>,
}

impl SocketPeers {
    /// Whether a process of this user and group may connect.
    #[must_use]
    pub fn admit(&self, uid: u32, gid: u32) -> bool {
        let Self { uids, gids } = self;
        (uids.is_empty() && gids.is_empty()) || uids.contains(&uid) || gids.contains(&gid)
    }
}

/// Who the collector is on `tcp`, and who may connect. The files are PEM; they are looked at every few seconds and taken
/// when they have changed and are valid.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The collector's certificate, followed by those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// Certificates of the authorities that may vouch for peers.
    pub client_ca: PathBuf,
    /// Which of their certificates may connect: `spiffe://domain/path`, `spiffe://domain/path/*`, `spiffe://domain/*`,
    /// `name.example.com`, `*.example.com`, or `*` for all of them.
    #[schemars(with = "Vec<String>", length(min = 1, max = 256))]
    pub allowed_peers: Vec<PeerPattern>,
}

/// What connections may have and do. More than that is closed, counted by reason, and logged.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at a time, up to 65536.
    pub connections: u32,
    /// Of these, from one user id on the socket, one IPv4 address, or one IPv6 network of 64 bits.
    pub connections_per_peer: u32,
    /// How long a TLS handshake may take, e.g. `5s`. From `100ms` to `1m`.
    #[schemars(with = "String")]
    pub handshake: SignedDuration,
    /// How long a connection may be without a stream that was welcomed, e.g. `30s`. From `1s` to `1h`.
    #[schemars(with = "String")]
    pub idle: SignedDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 256,
            handshake: SignedDuration::from_secs(5),
            idle: SignedDuration::from_secs(30),
        }
    }
}

impl Limits {
    /// How long a TLS handshake may take.
    #[must_use]
    pub fn handshake(&self) -> Duration {
        self.handshake.unsigned_abs()
    }

    /// How long a connection may be without a stream.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.idle.unsigned_abs()
    }

    fn problems(&self) -> impl Iterator<Item = ConfigError> {
        let (handshake, idle) = (self.handshake, self.idle);
        let ms = SignedDuration::from_millis;
        let limits = [
            range("listen.limits.connections", self.connections, 1, MAX_CONNECTIONS),
            range("listen.limits.connections_per_peer", self.connections_per_peer, 1, MAX_CONNECTIONS),
            range("listen.limits.handshake", handshake, ms(100), ms(60_000)),
            range("listen.limits.idle", idle, ms(1000), SignedDuration::from_hours(1)),
        ];
        limits.into_iter().filter_map(Result::err)
    }
}

impl Listen {
    /// Everything that the types cannot check and that is wrong.
    pub(super) fn problems(&self) -> Vec<ConfigError> {
        let mut problems: Vec<_> =
            [self.check_reachable(), self.check_socket(), self.check_plaintext(), self.check_tls()]
                .into_iter()
                .filter_map(Result::err)
                .collect();
        problems.extend(self.limits.problems());
        problems
    }

    fn check_reachable(&self) -> Result<(), ConfigError> {
        if self.socket.is_none() && self.tcp.is_none() {
            return wrong(
                "listen",
                "needs socket or tcp, or no application can reach the collector".to_owned(),
            );
        }
        Ok(())
    }

    fn check_socket(&self) -> Result<(), ConfigError> {
        for (field, ids) in [
            ("listen.socket_peers.uids", &self.socket_peers.uids),
            ("listen.socket_peers.gids", &self.socket_peers.gids),
        ] {
            if ids.len() > MAX_PEERS {
                return wrong(field, format!("has {} entries, allowed are {MAX_PEERS}", ids.len()));
            }
        }
        match &self.socket {
            Some(socket) if socket.as_os_str().len() > MAX_SOCKET_PATH => wrong(
                "listen.socket",
                format!("is longer than {MAX_SOCKET_PATH} bytes: {}", socket.display()),
            ),
            _ => Ok(()),
        }
    }

    fn check_plaintext(&self) -> Result<(), ConfigError> {
        match self.tcp {
            Some(address)
                if !address.ip().is_loopback() && self.tls.is_none() && !self.unencrypted_beyond_loopback =>
            {
                wrong(
                    "listen.tcp",
                    format!(
                        "{address} is not a loopback address, and without listen.tls the protocol is plaintext there"
                    ),
                )
            }
            _ => Ok(()),
        }
    }

    fn check_tls(&self) -> Result<(), ConfigError> {
        let Some(tls) = &self.tls else { return Ok(()) };
        if self.tcp.is_none() {
            return wrong("listen.tls", "is of no use without listen.tcp".to_owned());
        }
        if self.unencrypted_beyond_loopback {
            return wrong("listen.unencrypted_beyond_loopback", "contradicts listen.tls".to_owned());
        }
        let peers = tls.allowed_peers.len();
        if peers == 0 || peers > MAX_PEERS {
            return wrong(
                "listen.tls.allowed_peers",
                format!("has {peers} entries, allowed are 1 to {MAX_PEERS}"),
            );
        }
        Ok(())
    }
}
