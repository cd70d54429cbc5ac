//! The tokens that proxies and replicas may present. Pure: time is an argument.
//!
//! Clients have the token from the same Secret, but get a new one at another time than the controller: a volume is renewed within
//! some two minutes, the environment of a process only when it restarts. So a replaced token stays valid for [`TOKEN_GRACE`].

use super::files::Contents;
use std::fmt;
use std::io;
use std::time::{Duration, Instant};
use subtle::{Choice, ConstantTimeEq};
use thiserror::Error;

/// How long a replaced token stays valid: time for a rollout of proxies that have it in their environment. It does not close
/// streams that are already open.
pub const TOKEN_GRACE: Duration = Duration::from_mins(15);
/// Longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 4096;
/// Most replaced tokens that are valid at a time. Beyond that, the oldest expire early.
const REPLACED_MAX: usize = 4;

/// The tokens that are valid.
#[derive(Debug)]
pub(super) struct Tokens {
    current: Token,
    /// With the time until which each is valid, oldest first.
    replaced: Vec<(Token, Instant)>,
}

/// One token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
struct Token(String);

/// Why a file's content is not a token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    Long,
    /// It has a character that a header cannot carry.
    #[error("it must be visible ASCII characters only, without spaces or a second line")]
    Character,
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(read: &Contents) -> Result<Self, TokenError> {
        Ok(Self { current: Token::of(read)?, replaced: Vec::new() })
    }

    /// The token to present to others.
    pub(super) fn current(&self) -> &str {
        &self.current.0
    }

    /// Replaces the current token. An invalid one changes nothing.
    pub(super) fn renew(&mut self, read: &Contents, now: Instant) -> Result<(), TokenError> {
        let next = Token::of(read)?;
        let before = std::mem::replace(&mut self.current, next);
        if before != self.current {
            self.replaced.push((before, now + TOKEN_GRACE));
        }
        self.replaced.retain(|(_, until)| *until > now);
        let excess = self.replaced.len().saturating_sub(REPLACED_MAX);
        self.replaced.drain(..excess);
        Ok(())
    }

    /// Whether a token is valid, in a time that does not depend on where it differs from a valid one.
    pub(super) fn is_valid(&self, presented: &[u8], now: Instant) -> bool {
        let replaced = self.replaced.iter().filter(|(_, until)| *until > now).map(|(token, _)| token);
        let all = std::iter::once(&self.current).chain(replaced);
        all.fold(Choice::from(0), |found, token| found | token.0.as_bytes().ct_eq(presented)).into()
    }
}

// === impl Token ===

impl Token {
    fn of(read: &Contents) -> Result<Self, TokenError> {
        let bytes = match read.first() {
            Some(Ok(bytes)) => bytes.trim_ascii(),
            Some(Err(kind)) => return Err(TokenError::Unreadable((*kind).into())),
            None => return Err(TokenError::Empty),
        };
        if bytes.is_empty() {
            return Err(TokenError::Empty);
        }
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Long);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(text.to_owned())),
            _ => Err(TokenError::Character),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::{REPLACED_MAX, TOKEN_GRACE, TokenError, Tokens};
    use std::io::ErrorKind;
    use std::time::Instant;

    fn tokens(text: &str) -> Tokens {
        Tokens::new(&vec![Ok(text.into())]).unwrap()
    }

    #[test]
    fn only_the_token_is_valid() {
        let (tokens, now) = (tokens("secret-1\n"), Instant::now());
        assert!(tokens.is_valid(b"secret-1", now));
        for wrong in ["", "secret", "secret-1 ", "secret-2", "SECRET-1", "secret-11"] {
            assert!(!tokens.is_valid(wrong.as_bytes(), now), "{wrong}");
        }
        assert!(!format!("{tokens:?}").contains("secret"));
    }

    #[test]
    fn a_replaced_token_is_valid_for_a_while() {
        let (mut tokens, start) = (tokens("one"), Instant::now());
        tokens.renew(&vec![Ok(b"two".into())], start).unwrap();
        for (token, at, wanted) in [
            ("one", start, true),
            ("two", start, true),
            ("one", start + TOKEN_GRACE / 2, true),
            ("one", start + TOKEN_GRACE, false),
            ("two", start + TOKEN_GRACE, true),
        ] {
            assert_eq!(tokens.is_valid(token.as_bytes(), at), wanted, "{token}");
        }
        assert_eq!(tokens.current(), "two");
    }

    #[test]
    fn replaced_tokens_are_bounded() {
        let (mut tokens, now) = (tokens("0"), Instant::now());
        for at in 1..=10 {
            tokens.renew(&vec![Ok(at.to_string().into())], now).unwrap();
        }
        assert_eq!(tokens.replaced.len(), REPLACED_MAX);
        assert!(tokens.is_valid(b"9", now) && !tokens.is_valid(b"1", now));
    }

    #[test]
    fn what_is_not_a_token_changes_nothing() {
        let (mut tokens, now) = (tokens("one"), Instant::now());
        let long = "x".repeat(4097);
        for (read, wanted) in [
            (Ok(b" \n".to_vec()), "it is empty"),
            (Ok(long.into()), "it is longer than 4096 bytes"),
            (
                Ok(b"a b".to_vec()),
                "it must be visible ASCII characters only, without spaces or a second line",
            ),
            (Ok(vec![0xff]), "it must be visible ASCII characters only, without spaces or a second line"),
            (Err(ErrorKind::NotFound), "it cannot be read"),
        ] {
            let error: TokenError = tokens.renew(&vec![read], now).unwrap_err();
            assert_eq!(error.to_string(), wanted);
        }
        assert!(tokens.is_valid(b"one", now + TOKEN_GRACE));
    }
}
