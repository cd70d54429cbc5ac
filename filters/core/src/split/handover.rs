//! What the prefill leg's response hands over to the decode leg, as it is written there.

use crate::json::{JsonError, KnownFields, Raw, Scanner};

/// Bytes of a handover that are passed on: a list of block ids for each group of caches, and TensorRT-LLM's opaque state.
const HANDOVER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the decode leg needs of the prefill leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handover {
    /// vLLM's `kv_transfer_params`, verbatim.
    Transfer(String),
    /// TensorRT-LLM's `disaggregated_params` and, if the response has them, the prompt's tokens, verbatim.
    Context {
        /// An object.
        params: String,
        /// A list of numbers.
        prompt_token_ids: Option<String>,
    },
    /// Both legs know all before.
    Agreed,
    /// The prefill leg's response is all that there is to generate.
    Complete,
}

/// Why a response hands nothing over. The prompt is then computed elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverError {
    /// It is not JSON, or another shape of it.
    Unreadable,
    /// It has no parameters: the engine has no connector, or refused to keep the KV.
    Absent,
    /// They are too large to be passed on.
    TooLarge,
}

// === impl HandoverError ===

impl From<JsonError> for HandoverError {
    fn from(_: JsonError) -> Self {
        Self::Unreadable
    }
}

/// The fields `names` of the outermost object; of equal ones the last, and `None` for `null`.
pub(super) fn fields<'a, const N: usize>(
    response: &'a [u8],
    names: &'static [&'static str; N],
) -> Result<[Option<Raw<'a>>; N], HandoverError> {
    let mut scanner = Scanner::new(response);
    let mut found = [None; N];
    let mut known = KnownFields::open(&mut scanner, names)?;
    while let Some(name) = known.next(&mut scanner)? {
        let at = names.iter().position(|other| *other == name);
        if let Some(slot) = at.and_then(|at| found.get_mut(at)) {
            *slot = scanner.present()?;
        }
    }
    scanner.end()?;
    Ok(found)
}

/// A value as text of its own.
pub(super) fn owned(value: &[u8]) -> Result<String, HandoverError> {
    if value.len() > HANDOVER_BYTES_MAX {
        return Err(HandoverError::TooLarge);
    }
    std::str::from_utf8(value).map(str::to_owned).map_err(|_| HandoverError::Unreadable)
}
