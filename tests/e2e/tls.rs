//! Who gets in: certificates over TCP, users on the socket, and how many of them.

use std::fs;
use std::future::Future;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use sidetrail_tests::authority::Identity;
use sidetrail_tests::collector::Settings;
use sidetrail_tests::sender::{Stream, batch, hello};
use sidetrail_tests::{
    Authority, Collector, Process, START, STOP, archive, free_address, http, tools, wait_for,
};
use sidetrail_wire::connect::{Address, ClientTls};
use sidetrail_wire::ingest::v1::deliver_response::Message;

const SOURCE: [u8; 16] = [7; 16];
/// Somebody beside it.
const OTHER: [u8; 16] = [8; 16];
const APP: &str = "spiffe://example.org/ns/prod/sa/orders";
const COLLECTOR: &str = "spiffe://example.org/ns/prod/sa/collector";

fn run<T>(steps: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(steps)
}

/// A collector on TCP with a certificate for the loopback address, which lets in who `allowed` says.
fn start(
    directory: &Path,
    authority: &Authority,
    server: &Identity,
    allowed: &str,
) -> Result<(Collector, SocketAddr)> {
    let address = free_address()?;
    let mut collector = Collector::new(directory, Settings::default())?;
    collector.set_listen(listen(address, authority, server, allowed));
    collector.start()?;
    Ok((collector, address))
}

pub(crate) fn listen(address: SocketAddr, authority: &Authority, server: &Identity, allowed: &str) -> String {
    format!(
        "tcp: '{address}', tls: {{ certificate: {}, key: {}, client_ca: {}, allowed_peers: ['{allowed}'] }}",
        server.certificate.display(),
        server.key.display(),
        authority.ca().display(),
    )
}

/// A stream over TLS that was welcomed.
async fn open(address: SocketAddr, tls: ClientTls) -> Result<Stream> {
    open_as(SOURCE, address, tls).await
}

async fn open_as(source: [u8; 16], address: SocketAddr, tls: ClientTls) -> Result<Stream> {
    let address = Address::parse(&format!("https://{address}"))?.with_tls(Some(tls))?;
    let mut stream = Stream::over(address.connect().await?, hello(source)).await?;
    ensure!(matches!(stream.receive().await?, Message::Welcome(_)), "no welcome");
    Ok(stream)
}

/// Sends a record and waits for its ack.
async fn record(stream: &mut Stream, sequence: u64) -> Result<()> {
    let text = r#"{"eventVersion":"1.11","eventTime":"2026-01-15T10:41:17Z","eventName":"Load"}"#;
    stream.send(batch(sequence, [Bytes::from(text)])).await?;
    let answer = stream.receive().await?;
    ensure!(matches!(&answer, Message::Ack(ack) if ack.sequence == sequence), "no ack but {answer:?}");
    Ok(())
}

/// Waits for the end of a stream, which is not the sender's.
async fn ended_by_the_collector(stream: &mut Stream) -> Result<()> {
    let end = tokio::time::timeout(START, stream.receive()).await.context("the stream goes on")?;
    ensure!(end.is_err(), "an answer to nothing: {end:?}");
    Ok(())
}

fn send(address: SocketAddr, tls: &ClientTls, file: &Path) -> Result<tools::Ran> {
    let mut command = Command::new(tools::binary("sidetrail")?);
    command.arg("send").arg(file).args(["--timeout", "3s", "--collector", &format!("https://{address}")]);
    command.arg("--ca").arg(&tls.ca).arg("--certificate").arg(&tls.certificate).arg("--key").arg(&tls.key);
    if let Some(id) = &tls.id {
        command.args(["--collector-id", id]);
    }
    tools::run(command)
}

#[test]
fn an_app_reaches_a_collector_over_mutual_tls() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(&directory.path().join("ca"))?;
    let server = authority.issue("server", &["127.0.0.1", COLLECTOR])?;
    let (mut collector, address) =
        start(directory.path(), &authority, &server, "spiffe://example.org/ns/prod/*")?;

    let client = authority.issue("client", &[APP])?;
    let orders = free_address()?;
    let mut command = Command::new(tools::example("orders")?);
    command.env("SIDETRAIL_COLLECTOR", format!("https://{address}")).arg("--listen").arg(orders.to_string());
    command.env("SIDETRAIL_COLLECTOR_CA", authority.ca());
    command.env("SIDETRAIL_COLLECTOR_CERTIFICATE", &client.certificate);
    command.env("SIDETRAIL_COLLECTOR_KEY", &client.key);
    command.env("SIDETRAIL_COLLECTOR_ID", COLLECTOR);
    let mut app = Process::spawn(command, &directory.path().join("orders.log"))?;
    app.wait_until("the app", START, || Ok(http::get(orders, "/orders/1").ok()))?;
    app.wait_until("a connection", START, || {
        Ok((collector.metric(r#"sidetrail_connections_open{transport="tls"}"#)? == 1.0).then_some(()))
    })?;
    app.terminate()?;
    ensure!(app.wait(STOP)?.success(), "{}", app.log()?);

    let left = collector.metric("sidetrail_tls_certificate_expiry_timestamp_seconds")?;
    ensure!(left > 1.7e9, "the certificate's end is {left}");
    collector.stop()?;
    let records = archive::records(&collector)?;
    ensure!(records.iter().any(|record| record["eventName"] == "GetOrder"), "{records:?}");
    let log = collector.log()?;
    ensure!(
        log.contains(&format!("\"peer\":\"{APP} at 127.0.0.1:")),
        "the stream's line names the peer: {log}"
    );
    Ok(())
}

#[test]
fn who_is_not_allowed_does_not_get_in() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("records");
    fs::write(
        &file,
        "{\"eventVersion\":\"1.11\",\"eventTime\":\"2026-01-15T10:41:17Z\",\"eventName\":\"A\"}\n",
    )?;
    let authority = Authority::new(&directory.path().join("ca"))?;
    let stranger = Authority::new(&directory.path().join("stranger"))?;
    let server = authority.issue("server", &["127.0.0.1", COLLECTOR])?;
    let (mut collector, address) = start(directory.path(), &authority, &server, APP)?;

    let good = authority.issue("good", &[APP])?;
    send(address, &authority.client(&good, None), &file)?.success()?;
    send(address, &authority.client(&good, Some(COLLECTOR)), &file)?.success()?;

    // Another name, a name that merely begins like it, two ids in one certificate, and no name at all.
    for (name, names) in [
        ("other", &["spiffe://example.org/ns/dev/sa/orders"][..]),
        ("longer", &["spiffe://example.org/ns/prod/sa/orders2"]),
        ("two", &[APP, "spiffe://example.org/b"]),
        ("dns", &["example.org"]),
    ] {
        let identity = authority.issue(name, names)?;
        let ran = send(address, &authority.client(&identity, None), &file)?;
        ensure!(ran.status.code() == Some(2), "{name}: {ran:?}");
    }
    let refused = |reason: &str| {
        collector.metric(&format!("sidetrail_connections_refused_total{{reason=\"{reason}\"}}"))
    };
    ensure!(refused("not_allowed")? >= 4.0, "each was counted");

    // The right name from another authority, and a collector that is not the one that was asked for.
    let forged = stranger.issue("forged", &[APP])?;
    let tls = ClientTls { ca: authority.ca(), ..stranger.client(&forged, None) };
    ensure!(send(address, &tls, &file)?.status.code() == Some(2), "a stranger got in");
    let ran = send(address, &authority.client(&good, Some("spiffe://example.org/other")), &file)?;
    ensure!(ran.status.code() == Some(2), "any collector will do: {ran:?}");
    let ran = send(address, &stranger.client(&good, None), &file)?;
    ensure!(ran.status.code() == Some(2), "the collector of a stranger was believed: {ran:?}");
    // And who speaks no TLS.
    let plain = run(async {
        let channel = Address::parse(&format!("http://{address}"))?.connect().await?;
        Stream::over(channel, hello(SOURCE)).await
    });
    ensure!(plain.is_err(), "plaintext was taken");
    ensure!(refused("handshake")? >= 1.0, "handshakes that failed are counted");
    ensure!(collector.metrics()?["sidetrail_events_accepted_total"] == 2.0, "two records were sent");
    collector.stop()
}

#[test]
fn certificates_change_under_a_stream_that_goes_on() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let old = Authority::new(&directory.path().join("old"))?;
    let new = Authority::new(&directory.path().join("new"))?;
    let server = old.issue("server", &["127.0.0.1"])?;
    let (mut collector, address) = start(directory.path(), &old, &server, "spiffe://example.org/*")?;
    let (of_old, of_new) = (old.issue("client", &[APP])?, new.issue("client", &[APP])?);
    let expiry = "sidetrail_tls_certificate_expiry_timestamp_seconds";
    let reloads = |outcome: &str| format!("sidetrail_config_reloads_total{{outcome=\"{outcome}\"}}");
    let until = |collector: &Collector, series: &str, value: f64| {
        wait_for(&format!("{series} to be {value}"), START, || {
            Ok((collector.metric(series)? >= value).then_some(()))
        })
    };

    run(async {
        let mut stream = open(address, old.client(&of_old, None)).await?;
        record(&mut stream, 1).await?;

        // A key that is not the certificate's: nothing changes.
        let end = collector.metric(expiry)?;
        fs::copy(&of_new.key, &server.key)?;
        until(&collector, &reloads("failure"), 1.0)?;
        ensure!(collector.metric(expiry)? == end, "the certificate changed");
        record(&mut stream, 2).await?;
        drop(open_as(OTHER, address, old.client(&of_old, None)).await.context("the old certificate stays")?);

        // A whole change, with the authority of the clients.
        let renewed = new.issue("server", &["127.0.0.1"])?;
        fs::copy(&renewed.certificate, &server.certificate)?;
        fs::copy(&renewed.key, &server.key)?;
        fs::copy(new.ca(), old.ca())?;
        until(&collector, &reloads("success"), 1.0)?;
        wait_for("the new certificate", START, || {
            let opened = beside(open_as(OTHER, address, new.client(&of_new, None)));
            Ok(opened.ok().map(drop))
        })?;
        record(&mut stream, 3).await.context("the open stream goes on")
    })?;
    // Whom the old authority vouched for is a stranger now.
    ensure!(
        run(open(address, ClientTls { ca: new.ca(), ..old.client(&of_old, None) })).is_err(),
        "still let in"
    );
    collector.stop()
}

/// Runs a future beside the one that asks.
fn beside<T: Send>(future: impl Future<Output = Result<T>> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(|| run(future)).join().map_err(|_| anyhow!("it panicked"))?)
}

#[test]
fn a_peer_that_is_no_longer_allowed_is_cut_off() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(&directory.path().join("ca"))?;
    let server = authority.issue("server", &["127.0.0.1"])?;
    let (mut collector, address) = start(directory.path(), &authority, &server, APP)?;
    let client = authority.issue("client", &[APP])?;
    run(async {
        let mut stream = open(address, authority.client(&client, None)).await?;
        record(&mut stream, 1).await?;
        collector.set_listen(listen(address, &authority, &server, COLLECTOR));
        collector.write_config()?;
        collector.process().context("it runs")?.hang_up()?;
        // The end of the connection, for which nobody else has to do anything.
        ended_by_the_collector(&mut stream).await?;
        ensure!(open(address, authority.client(&client, None)).await.is_err(), "it came again");
        Ok(())
    })?;
    collector.stop()
}

#[test]
fn the_socket_knows_who_connects() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    let own = rustix::process::getuid().as_raw();
    collector.set_listen(format!("socket_mode: '0600', socket_peers: {{ uids: [{own}] }}"));
    collector.start()?;
    let mode = fs::metadata(collector.socket())?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the mode is {mode:o}");
    run(async {
        let mut stream = Stream::open(&collector.socket(), hello(SOURCE)).await?;
        ensure!(matches!(stream.receive().await?, Message::Welcome(_)), "no welcome");
        record(&mut stream, 1).await?;
        // Somebody else's now.
        collector.set_listen(format!("socket_mode: '0600', socket_peers: {{ uids: [{}] }}", own + 1));
        collector.write_config()?;
        collector.process().context("it runs")?.hang_up()?;
        ended_by_the_collector(&mut stream).await?;
        Ok(())
    })?;
    let log = collector.log()?;
    ensure!(log.contains(&format!("\"peer\":\"uid {own} gid ")), "the stream's line names the peer: {log}");
    ended(UnixStream::connect(collector.socket())?)?;
    ensure!(
        collector.metric(r#"sidetrail_connections_refused_total{reason="not_allowed"}"#)? == 1.0,
        "counted"
    );
    collector.stop()
}

/// Waits for the other side to hang up.
fn ended(mut stream: impl Read) -> Result<()> {
    let mut buffer = [0; 512];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            // The server's own greeting.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[test]
fn who_says_nothing_does_not_stay() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let authority = Authority::new(&directory.path().join("ca"))?;
    let server = authority.issue("server", &["127.0.0.1"])?;
    let address = free_address()?;
    let mut collector = Collector::new(directory.path(), Settings::default())?;
    collector.set_listen(format!(
        "limits: {{ connections: 3, connections_per_peer: 2, handshake: 1s, idle: 1s }}, {}",
        listen(address, &authority, &server, APP)
    ));
    collector.start()?;
    let refused = |reason: &str| {
        collector.metric(&format!("sidetrail_connections_refused_total{{reason=\"{reason}\"}}"))
    };

    // No handshake, no preface.
    ended(TcpStream::connect(address)?)?;
    ensure!(refused("handshake")? == 1.0, "a handshake that does not come");
    ended(UnixStream::connect(collector.socket())?)?;
    ensure!(refused("idle")? == 1.0, "a connection without a stream");

    // Two are the limit for one user; one with a stream stays.
    run(async {
        let mut stream = Stream::open(&collector.socket(), hello(SOURCE)).await?;
        ensure!(matches!(stream.receive().await?, Message::Welcome(_)), "no welcome");
        let idle = UnixStream::connect(collector.socket())?;
        wait_for("two connections", START, || {
            Ok((collector.metric(r#"sidetrail_connections_open{transport="unix"}"#)? == 2.0).then_some(()))
        })?;
        ended(UnixStream::connect(collector.socket())?)?;
        ensure!(refused("peer_limit")? == 1.0, "a third connection of one user");
        // Of all, three: the one over TCP takes the last place, in its handshake, and there is no fourth.
        let handshake = TcpStream::connect(address)?;
        ended(idle)?;
        drop(handshake);
        record(&mut stream, 1).await
    })?;
    collector.stop()
}
