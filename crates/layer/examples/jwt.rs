//! Who called, by a token that the layer itself verifies.
//!
//! ```text
//! cargo run -p sidetrail --features axum,jwt --example jwt
//! ```
//!
//! It makes an issuer's key, writes the public half to a JWKS file, serves on a free port of this host, and calls itself:
//! with a good token, with one that has expired, and without. The records go to stdout or, if `SIDETRAIL_COLLECTOR` is
//! set, to the collector.

use std::{env, error::Error, fs, net::SocketAddr, time::Duration};

use aws_lc_rs::signature::Ed25519KeyPair;
use axum::{Router, routing::get};
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp, jwk::Jwk};
use serde_json::json;
use sidetrail::{AuditLayer, JwtVerifier, Record, Sink};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = Issuer::new()?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("jwks.json");
    fs::write(&file, issuer.jwks()?)?;

    // This is what a service does. The file may change while it runs.
    let verifier = JwtVerifier::builder().jwks_file(file).issuer(Issuer::NAME).audience("orders").build()?;
    let builder = AuditLayer::builder("orders.example.com").jwt(verifier);
    let collected = env::var_os("SIDETRAIL_COLLECTOR").is_some();
    let layer = if collected { builder } else { builder.sink(Stdout) }.build()?;
    let app = Router::new().route("/orders/{id}", get(async || "order")).layer(layer.clone());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    for token in [issuer.token(300)?, issuer.token(-300)?, String::new()] {
        let header = if token.is_empty() { token } else { format!("Authorization: Bearer {token}\r\n") };
        let request = format!("GET /orders/17 HTTP/1.1\r\nHost: localhost\r\n{header}\r\n");
        client.write_all(request.as_bytes()).await?;
        _ = client.read(&mut [0; 1024]).await?;
    }

    layer.shutdown(Duration::from_secs(5)).await?;
    Ok(())
}

/// What somebody else runs.
struct Issuer(EncodingKey);

impl Issuer {
    const NAME: &str = "https://id.example.com";
    const KEY: &str = "2026-01";

    fn new() -> Result<Self, Box<dyn Error>> {
        let key = Ed25519KeyPair::generate()?.to_pkcs8v1()?;
        Ok(Self(EncodingKey::from_ed_der(key.as_ref())))
    }

    fn jwks(&self) -> Result<String, Box<dyn Error>> {
        let mut key = Jwk::from_encoding_key(&self.0, Algorithm::EdDSA)?;
        key.common.key_id = Some(Self::KEY.to_owned());
        Ok(json!({ "keys": [key] }).to_string())
    }

    /// For Alice, who lets a support agent act for her. It is good for so many seconds.
    fn token(&self, seconds: i64) -> Result<String, Box<dyn Error>> {
        let now = get_current_timestamp();
        let claims = json!({
            "iss": Self::NAME,
            "sub": "4711",
            "preferred_username": "alice",
            "aud": "orders",
            "iat": now,
            "exp": now.saturating_add_signed(seconds),
            "act": { "sub": "support" },
        });
        let header = Header { kid: Some(Self::KEY.to_owned()), ..Header::new(Algorithm::EdDSA) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.0)?)
    }
}

/// Prints records.
struct Stdout;

impl Sink for Stdout {
    fn record(&self, record: Record) {
        println!("{}", serde_json::to_string_pretty(&record).unwrap_or_default());
    }
}
