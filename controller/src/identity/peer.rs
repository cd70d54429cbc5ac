//! How a replica connects to another one.
//!
//! Replicas connect by pod address, which no certificate names. They have their certificate from the same Secret, so a replica
//! trusts a peer that shows this certificate, or the one before it. A CA would have to be configured, and would also vouch for
//! every other service with a certificate of that CA.

use super::certificate::Certificate;
use super::lock;
use super::token::Tokens;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Error};

/// Connects to other replicas, by default without certificate and token.
#[derive(Clone, Default)]
pub struct Peers {
    connector: Option<TlsConnector>,
    tokens: Option<Arc<Mutex<Tokens>>>,
}

/// Makes encrypted connections to one address.
struct Connect {
    address: SocketAddr,
    connector: TlsConnector,
}

/// Trusts a peer that shows this replica's own certificate.
#[derive(Debug)]
struct SameCertificate(Arc<Certificate>);

// === impl Peers ===

impl Peers {
    pub(super) fn new(certificate: Option<Arc<Certificate>>, tokens: Option<Arc<Mutex<Tokens>>>) -> Self {
        Self { connector: certificate.map(connector), tokens }
    }

    /// Opens a connection. `prepare` sets its time limits.
    pub async fn connect(
        &self,
        address: SocketAddr,
        prepare: impl FnOnce(Endpoint) -> Endpoint,
    ) -> Result<Channel, Error> {
        let endpoint = prepare(Endpoint::from_shared(format!("http://{address}"))?);
        match self.connector.clone() {
            None => endpoint.connect().await,
            Some(connector) => endpoint.connect_with_connector(Connect { address, connector }).await,
        }
    }

    /// The value of the header `authorization` that other replicas require.
    pub fn authorization(&self) -> Option<MetadataValue<Ascii>> {
        let tokens = self.tokens.as_ref()?;
        let value = format!("Bearer {}", lock(tokens).current());
        let mut value: MetadataValue<Ascii> =
            value.parse().unwrap_or_else(|_| unreachable!("a token has visible characters only"));
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("has_tls", &self.connector.is_some()).finish_non_exhaustive()
    }
}

fn connector(certificate: Arc<Certificate>) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(Arc::clone(certificate.provider()));
    let versions = builder.with_safe_default_protocol_versions();
    let versions = versions.unwrap_or_else(|_| unreachable!("ring has suites of both versions"));
    let verifier = Arc::new(SameCertificate(certificate));
    let mut config = versions.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

// === impl Connect ===

impl Service<Uri> for Connect {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (address, connector) = (self.address, self.connector.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::IpAddress(address.ip().into());
            Ok(TokioIo::new(connector.connect(name, stream).await?))
        })
    }
}

// === impl SameCertificate ===

impl ServerCertVerifier for SameCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.0.is_ours(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.provider().signature_verification_algorithms.supported_schemes()
    }
}
