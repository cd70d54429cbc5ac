//! The keys of service accounts' tokens.

use anyhow::Context;
use rcgen::KeyPair;

/// A new pair in PEM, for one test run: the key that signs, and the one that checks.
pub(super) fn service_account_keys() -> anyhow::Result<(String, String)> {
    let pair = KeyPair::generate().context("cannot generate a key")?;
    Ok((pair.serialize_pem(), pair.public_key_pem()))
}
