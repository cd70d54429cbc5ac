//! TLS and the token of the gRPC port, as clients see them.

use crate::support::{metric, quiet_settings, until};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use warmpath::config::{Settings, Tls};
use warmpath::identity::Identity;
use warmpath::metrics::Metrics;
use warmpath::run::{Running, StartError, start};
use warmpath_core::wire::{Down, Hello, Up};

const NAME: &str = "controller.llm.svc";
const SYNC: &str = "/warmpath.v1.State/Sync";
const EDS: &str = "/envoy.service.endpoint.v3.EndpointDiscoveryService/StreamEndpoints";

/// The files that a controller is given.
struct Secrets {
    folder: TempDir,
}

impl Secrets {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        // Whole or not at all, as kubelets do.
        fs::write(self.path("new"), content).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn write_pair(&self, pair: &CertifiedKey) {
        self.write("tls.crt", &pair.cert.pem());
        self.write("tls.key", &pair.key_pair.serialize_pem());
    }

    fn with_tls(&self, settings: Settings) -> Settings {
        let tls = Tls { cert: self.path("tls.crt"), key: self.path("tls.key") };
        Settings { tls: Some(tls), ..settings }
    }

    fn with_token(&self, settings: Settings) -> Settings {
        Settings { token_file: Some(self.path("token")), ..settings }
    }
}

fn pair() -> CertifiedKey {
    generate_simple_self_signed([NAME.to_owned()]).unwrap()
}

async fn plaintext(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// Opens a stream of an RPC with this header.
async fn call(channel: Channel, path: &'static str, header: Option<&str>) -> Result<Streaming<Down>, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let (up, messages) = mpsc::channel(1);
    let hello = Hello { process: 7, ..Hello::default() };
    up.send(Up { hello: Some(hello), events: Vec::new() }).await.unwrap();
    // Kept open until the test ends.
    std::mem::forget(up);
    let mut request = Request::new(ReceiverStream::new(messages));
    if let Some(header) = header {
        request.metadata_mut().insert("authorization", header.parse().unwrap());
    }
    let codec: ProstCodec<Up, Down> = ProstCodec::default();
    Ok(client.streaming(request, PathAndQuery::from_static(path), codec).await?.into_inner())
}

async fn sync(address: SocketAddr, token: &str) -> Result<Streaming<Down>, Status> {
    call(plaintext(address).await, SYNC, Some(&format!("Bearer {token}"))).await
}

async fn reloads(running: &Running, secret: &str, result: &str) -> f64 {
    let name = format!("secret_reloads_total{{secret=\"{secret}\",result=\"{result}\"}}");
    metric(running.http_addr(), &name).await
}

async fn reloaded(running: &Running, secret: &str, result: &str, times: f64) {
    until("the change was noticed", async || (reloads(running, secret, result).await >= times).then_some(()))
        .await;
}

#[tokio::test]
async fn every_rpc_requires_the_token() {
    let secrets = Secrets::new();
    secrets.write("token", "secret-1\n");
    let running = start(secrets.with_token(quiet_settings())).await.unwrap();
    let address = running.grpc_addr();
    for path in [SYNC, EDS, "/warmpath.v1.State/Other", "/unknown.Service/Method"] {
        for header in [
            None,
            Some("Bearer secret-2"),
            Some("Bearer secret-1 "),
            Some("Basic secret-1"),
            Some("secret-1"),
        ] {
            let Err(refused) = call(plaintext(address).await, path, header).await else {
                panic!("{path} served {header:?}")
            };
            assert_eq!(refused.code(), Code::Unauthenticated, "{path} {header:?}");
        }
    }
    let http = running.http_addr();
    for (reason, count) in [("absent", 4.0), ("wrong", 8.0), ("malformed", 8.0)] {
        let found = metric(http, &format!("unauthenticated_total{{reason=\"{reason}\"}}")).await;
        assert!((found - count).abs() < 0.1, "{reason}: {found}");
    }
    assert!(metric(http, "proxies").await < 0.1, "nobody was let in");
    let mut served = sync(address, "secret-1").await.unwrap();
    assert!(served.message().await.unwrap().is_some());
    let served = call(plaintext(address).await, SYNC, Some("bearer secret-1")).await;
    assert!(served.is_ok(), "the scheme's case does not matter");
    running.shutdown().await;
}

#[tokio::test]
async fn a_token_is_rotated_without_a_broken_stream_or_a_lost_proxy() {
    let secrets = Secrets::new();
    secrets.write("token", "secret-1");
    let running = start(secrets.with_token(quiet_settings())).await.unwrap();
    let mut open = sync(running.grpc_addr(), "secret-1").await.unwrap();
    assert!(open.message().await.unwrap().is_some());

    secrets.write("token", "");
    reloaded(&running, "token", "refused", 1.0).await;
    fs::remove_file(secrets.path("token")).unwrap();
    reloaded(&running, "token", "refused", 2.0).await;
    assert!(sync(running.grpc_addr(), "secret-1").await.is_ok(), "the old one stays");

    secrets.write("token", "secret-2");
    reloaded(&running, "token", "applied", 1.0).await;
    for token in ["secret-1", "secret-2"] {
        assert!(sync(running.grpc_addr(), token).await.is_ok(), "{token}");
    }
    assert!(open.message().await.unwrap().is_some(), "the stream goes on");
    running.shutdown().await;
}

#[tokio::test]
async fn a_controller_does_not_start_with_files_that_it_cannot_use() {
    let secrets = Secrets::new();
    let error = start(secrets.with_token(quiet_settings())).await.unwrap_err();
    assert!(matches!(error, StartError::Identity(_)), "{error:?}");
    let (one, other) = (pair(), pair());
    secrets.write("tls.crt", &one.cert.pem());
    secrets.write("tls.key", &other.key_pair.serialize_pem());
    let error = start(secrets.with_tls(quiet_settings())).await.unwrap_err();
    assert!(error.to_string().contains("tls.crt"), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "certificate and key do not belong together, or are of an unsupported kind");
}

/// TLS to an address, believing this certificate only.
async fn handshake(address: SocketAddr, trusted: &str, alpn: &[&str]) -> io::Result<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(NAME.try_into().unwrap(), stream).await?;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_controller_runs() {
    let (secrets, first, second) = (Secrets::new(), pair(), pair());
    secrets.write_pair(&first);
    let running = start(secrets.with_tls(quiet_settings())).await.unwrap();
    let address = running.grpc_addr();
    let shown = handshake(address, &first.cert.pem(), &["h2"]).await.unwrap();
    assert_eq!(&shown, first.cert.der());
    assert!(handshake(address, &second.cert.pem(), &["h2"]).await.is_err(), "not the one that is believed");
    assert!(handshake(address, &first.cert.pem(), &["http/1.1"]).await.is_err(), "only HTTP/2");

    secrets.write("tls.crt", &second.cert.pem());
    reloaded(&running, "certificate", "refused", 1.0).await;
    assert!(handshake(address, &first.cert.pem(), &["h2"]).await.is_ok(), "half of a pair changes nothing");
    secrets.write_pair(&second);
    reloaded(&running, "certificate", "applied", 1.0).await;
    let shown = handshake(address, &second.cert.pem(), &["h2"]).await.unwrap();
    assert_eq!(&shown, second.cert.der());
    secrets.write("tls.key", "nonsense");
    reloaded(&running, "certificate", "refused", 2.0).await;
    assert!(handshake(address, &second.cert.pem(), &["h2"]).await.is_ok());

    let failed = |reason: &str| format!("handshakes_failed_total{{reason=\"{reason}\"}}");
    assert!(metric(running.http_addr(), &failed("refused")).await > 0.5);
    running.shutdown().await;
}

#[tokio::test]
async fn a_client_without_tls_gets_nothing() {
    let secrets = Secrets::new();
    secrets.write_pair(&pair());
    let running = start(secrets.with_tls(quiet_settings())).await.unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", running.grpc_addr())).unwrap();
    let refused = match endpoint.connect().await {
        Ok(channel) => call(channel, SYNC, None).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    let plaintext = "handshakes_failed_total{reason=\"plaintext\"}";
    until("it was counted", async || (metric(running.http_addr(), plaintext).await > 0.5).then_some(()))
        .await;
    running.shutdown().await;
}

fn identity(settings: &Settings) -> Identity {
    Identity::load(settings, Arc::new(Metrics::default())).unwrap()
}

#[tokio::test]
async fn a_replica_believes_its_own_certificate_and_no_other() {
    let (secrets, other) = (Secrets::new(), Secrets::new());
    secrets.write_pair(&pair());
    other.write_pair(&pair());
    for folder in [&secrets, &other] {
        folder.write("token", "secret-1");
    }
    let of = |secrets: &Secrets| secrets.with_token(secrets.with_tls(quiet_settings()));
    let running = start(of(&secrets)).await.unwrap();
    let peers = identity(&of(&secrets)).peers();
    let channel = peers.connect(running.grpc_addr(), |endpoint| endpoint).await.unwrap();
    let token = peers.authorization().unwrap();
    let mut stream = call(channel, SYNC, Some(token.to_str().unwrap())).await.unwrap();
    assert!(stream.message().await.unwrap().is_some());

    let stranger = identity(&of(&other)).peers();
    assert!(stranger.connect(running.grpc_addr(), |endpoint| endpoint).await.is_err());
    let bare = identity(&quiet_settings()).peers();
    assert!(bare.authorization().is_none());
    running.shutdown().await;
}

#[test]
fn secrets_do_not_show_themselves() {
    let secrets = Secrets::new();
    secrets.write_pair(&pair());
    secrets.write("token", "secret-1");
    let identity = identity(&secrets.with_token(secrets.with_tls(quiet_settings())));
    let shown = format!("{identity:?} {:?} {:?}", identity.peers(), identity.peers().authorization());
    assert!(!shown.contains("secret-1") && !shown.contains("BEGIN"), "{shown}");
}
