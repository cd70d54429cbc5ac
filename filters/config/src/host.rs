//! A host name with a port, for engines whose addresses change.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Longest host name, in bytes, and the longest of its labels (RFC 1035).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// `name:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// The name, in lower case.
    pub name: String,
    /// The port, not zero.
    pub port: u16,
}

/// An endpoint as the configuration writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Address(SocketAddr),
    Host(Host),
}

/// The text is not a host name with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHost;

// === impl Host ===

impl FromStr for Host {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let (name, port) = text.rsplit_once(':').ok_or(NoHost)?;
        let port: u16 = port.parse().map_err(|_| NoHost)?;
        let labels = || name.strip_suffix('.').unwrap_or(name).split('.');
        // A name whose last label is a number would be a mistyped address.
        let is_number =
            labels().next_back().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if port == 0 || name.len() > NAME_BYTES_MAX || is_number || !labels().all(is_label) {
            return Err(NoHost);
        }
        Ok(Self { name: name.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

// === impl Endpoint ===

impl FromStr for Endpoint {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        text.parse().map(Self::Address).or_else(|_| text.parse().map(Self::Host))
    }
}

fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && label.bytes().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::Host;

    #[test]
    fn a_host_needs_a_name_and_a_port() {
        let host = |text: &str| text.parse::<Host>().map(|host| host.to_string());
        assert_eq!(host("Engines.llm.svc:8000").unwrap(), "engines.llm.svc:8000");
        assert_eq!(host("localhost:80").unwrap(), "localhost:80");
        assert_eq!(host("a_b.c-d.:1").unwrap(), "a_b.c-d.:1");
        for text in
            ["", "a", "a:", ":80", "a:0", "a:70000", "10.0.0.999:80", "a b:80", "-a:80", "a..b:80", "[::1]:x"]
        {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
