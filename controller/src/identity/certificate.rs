//! The certificate of the gRPC port, which may be replaced while connections are open.

use super::files::Contents;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use thiserror::Error;

/// A certificate with its key.
pub(super) struct Certificate {
    provider: Arc<CryptoProvider>,
    keys: RwLock<Keys>,
}

/// The certificate for new connections, and the one before it.
#[derive(Clone)]
struct Keys {
    current: Arc<CertifiedKey>,
    replaced: Option<Arc<CertifiedKey>>,
}

/// Why the files are not a certificate with its key.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("the {what} cannot be read")]
    Unreadable {
        /// Which one.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM, or lacks the certificate or the key.
    #[error("the {what} cannot be read as PEM")]
    Pem {
        /// Which one.
        what: &'static str,
        /// What is wrong.
        source: pem::Error,
    },
    /// The two do not belong together, or are of an unsupported kind.
    #[error("certificate and key do not belong together, or are of an unsupported kind")]
    Pair(#[source] rustls::Error),
}

// === impl Certificate ===

impl Certificate {
    pub(super) fn new(read: &Contents) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(parse(read, &provider)?);
        Ok(Self { provider, keys: RwLock::new(Keys { current, replaced: None }) })
    }

    /// Replaces the current one for new connections. Unusable files change nothing.
    pub(super) fn renew(&self, read: &Contents) -> Result<(), CertificateError> {
        let next = Arc::new(parse(read, &self.provider)?);
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.replaced = Some(std::mem::replace(&mut keys.current, next));
        Ok(())
    }

    /// The cryptography that it is used with.
    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    /// Whether another replica's certificate is the current one, or the one before it.
    pub(super) fn is_ours(&self, certificate: &CertificateDer<'_>) -> bool {
        let keys = self.keys();
        let mut ours = std::iter::once(&keys.current).chain(&keys.replaced);
        ours.any(|key| key.end_entity_cert().is_ok_and(|own| own == certificate))
    }

    fn keys(&self) -> Keys {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.keys().current)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

fn parse(read: &Contents, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let [cert, key] = read.as_slice() else { unreachable!("a certificate has two files") };
    let cert = bytes("certificate", cert)?;
    let key = bytes("key", key)?;
    let pem = |what| move |source| CertificateError::Pem { what, source };
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>().map_err(pem("certificate"))?;
    if chain.is_empty() {
        return Err(pem("certificate")(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(pem("key"))?;
    CertifiedKey::from_der(chain, key, provider).map_err(CertificateError::Pair)
}

fn bytes<'a>(
    what: &'static str,
    read: &'a Result<Vec<u8>, io::ErrorKind>,
) -> Result<&'a [u8], CertificateError> {
    match read {
        Ok(bytes) => Ok(bytes),
        Err(kind) => Err(CertificateError::Unreadable { what, source: (*kind).into() }),
    }
}
