//! Reads what a program needs to run: its architecture, and nothing else, or it would not start in an empty image.

use thiserror::Error;

const MAGIC: &[u8] = b"\x7fELF\x02\x01";
/// Places in the header of a 64-bit file.
const MACHINE_AT: usize = 18;
const HEADERS_AT: usize = 32;
const HEADER_BYTES_AT: usize = 54;
const HEADERS_COUNT_AT: usize = 56;
/// The kind of program header that names an interpreter, which is the dynamic loader.
const PT_INTERP: u32 = 3;
const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// A kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86, 64 bits.
    Amd64,
    /// ARM, 64 bits.
    Arm64,
}

/// Why a file is not a program for an empty image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ElfError {
    /// It is not a program for Linux.
    #[error("it is not a 64-bit program for Linux")]
    NotElf,
    /// It is for another kind of machine.
    #[error("it is for a kind of machine (number {0}) that is not known here")]
    Machine(u16),
    /// It needs shared libraries.
    #[error("it needs shared libraries, which an empty image lacks: build it for a musl target")]
    Dynamic,
}

// === impl Architecture ===

impl Architecture {
    /// Its name in images.
    pub fn label(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The architecture of a program that needs nothing else.
    pub fn of_static(program: &[u8]) -> Result<Self, ElfError> {
        if !program.starts_with(MAGIC) {
            return Err(ElfError::NotElf);
        }
        let architecture = match u16_at(program, MACHINE_AT)? {
            X86_64 => Self::Amd64,
            AARCH64 => Self::Arm64,
            other => return Err(ElfError::Machine(other)),
        };
        let first = usize::try_from(u64_at(program, HEADERS_AT)?).map_err(|_| ElfError::NotElf)?;
        let bytes = usize::from(u16_at(program, HEADER_BYTES_AT)?);
        for header in 0..usize::from(u16_at(program, HEADERS_COUNT_AT)?) {
            if u32::from_le_bytes(at(program, first.saturating_add(header * bytes))?) == PT_INTERP {
                return Err(ElfError::Dynamic);
            }
        }
        Ok(architecture)
    }
}

fn u16_at(program: &[u8], place: usize) -> Result<u16, ElfError> {
    at(program, place).map(u16::from_le_bytes)
}

fn u64_at(program: &[u8], place: usize) -> Result<u64, ElfError> {
    at(program, place).map(u64::from_le_bytes)
}

fn at<const N: usize>(program: &[u8], place: usize) -> Result<[u8; N], ElfError> {
    let bytes = program.get(place..).and_then(|rest| rest.first_chunk::<N>());
    bytes.copied().ok_or(ElfError::NotElf)
}
