//! Protects the gRPC port: a token says who may use it, and a certificate keeps others from reading it. Both come from files.
//!
//! ```text
//!   tls.cert, tls.key ─► certificate ─► connections (TLS, or plaintext without files)
//!                                          │
//!   token_file ─► token ─► Admission ──────┴─► every RPC of every service
//! ```
//!
//! A proxy that is believed can steer any prompt anywhere, and one that is served sees which prompts are cached where. So every
//! RPC requires a token, in one place before all services: a service that is added later cannot forget it. The services that know
//! nothing and believe nothing are named there ([`open`]). Files are read again
//! while the controller runs, because Secrets and certificates are renewed; if new ones are invalid, the old ones stay in use.
//! Metrics and the API are on another port, which has neither.

mod admission;
mod certificate;
mod connections;
mod files;
mod peer;
mod token;

pub use admission::{Admission, open};
pub use certificate::CertificateError;
pub use connections::{Connection, connections};
pub use peer::Peers;
pub use token::{TOKEN_GRACE, TokenError};

use crate::config::{Settings, Tls};
use crate::metrics::Metrics;
use certificate::Certificate;
use files::Files;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use thiserror::Error;
use token::Tokens;

/// The certificate that the gRPC port shows, and the tokens that it requires.
#[derive(Clone, Debug)]
pub struct Identity {
    certificate: Option<(Files, Arc<Certificate>)>,
    tokens: Option<(Files, Arc<Mutex<Tokens>>)>,
    metrics: Arc<Metrics>,
}

/// Why a controller cannot start with its files.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The certificate or its key cannot be used.
    #[error("cannot use the certificate {} with the key {}", .tls.cert.display(), .tls.key.display())]
    Certificate {
        /// The files.
        tls: Tls,
        /// What is wrong.
        source: CertificateError,
    },
    /// The token cannot be used.
    #[error("cannot use the token in {}", .path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TokenError,
    },
}

// === impl Identity ===

impl Identity {
    /// Reads the files that the settings name.
    pub fn load(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, IdentityError> {
        let certificate = settings.tls.clone().map(|tls| {
            let files = Files::of_certificate(&tls);
            match Certificate::new(files.read()) {
                Ok(certificate) => Ok((files, Arc::new(certificate))),
                Err(source) => Err(IdentityError::Certificate { tls, source }),
            }
        });
        let tokens = settings.token_file.clone().map(|path| {
            let files = Files::of_token(&path);
            match Tokens::new(files.read()) {
                Ok(tokens) => Ok((files, Arc::new(Mutex::new(tokens)))),
                Err(source) => Err(IdentityError::Token { path, source }),
            }
        });
        Ok(Self { certificate: certificate.transpose()?, tokens: tokens.transpose()?, metrics })
    }

    /// The check that every RPC must pass.
    pub fn admission(&self) -> Admission {
        let tokens = self.tokens.as_ref().map(|(_, tokens)| Arc::clone(tokens));
        Admission::new(tokens, Arc::clone(&self.metrics))
    }

    /// How this replica connects to the others.
    pub fn peers(&self) -> Peers {
        let certificate = self.certificate.as_ref().map(|(_, certificate)| Arc::clone(certificate));
        Peers::new(certificate, self.tokens.as_ref().map(|(_, tokens)| Arc::clone(tokens)))
    }

    /// Follows the files. Never ends.
    pub async fn follow(self) {
        let certificate = async {
            let Some((files, certificate)) = &self.certificate else { return std::future::pending().await };
            let mut files = files.clone();
            loop {
                let read = files.changed().await;
                self.note("certificate", certificate.renew(&read));
            }
        };
        let tokens = async {
            let Some((files, tokens)) = &self.tokens else { return std::future::pending().await };
            let mut files = files.clone();
            loop {
                let read = files.changed().await;
                let renewed = lock(tokens).renew(&read, Instant::now());
                self.note("token", renewed);
            }
        };
        tokio::join!(certificate, tokens);
    }

    fn note<E: std::error::Error>(&self, secret: &'static str, renewed: Result<(), E>) {
        let result = match renewed {
            Ok(()) => {
                tracing::info!(secret, "a secret was renewed");
                "applied"
            }
            Err(error) => {
                let source = error.source().map(ToString::to_string);
                tracing::error!(secret, %error, source, "a renewed secret cannot be used: the old one stays");
                "refused"
            }
        };
        self.metrics.secret_reloads.get_or_create(&[("secret", secret), ("result", result)]).inc();
    }
}

/// Ignores poison: a panic elsewhere leaves no token half replaced.
fn lock(tokens: &Mutex<Tokens>) -> std::sync::MutexGuard<'_, Tokens> {
    tokens.lock().unwrap_or_else(PoisonError::into_inner)
}
