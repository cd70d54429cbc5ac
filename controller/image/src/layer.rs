//! A layer: files as a compressed tar archive.

use crate::layout::Digest;
use flate2::{Compression, GzBuilder};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

/// Only root may write; everybody may read.
const FILE_MODE: u32 = 0o644;
const PROGRAM_MODE: u32 = 0o755;

/// One layer.
#[derive(Debug, Default)]
pub struct Layer {
    entries: Vec<Entry>,
}

/// A file. Its path is relative to the root.
#[derive(Debug)]
struct Entry {
    path: &'static str,
    mode: u32,
    content: Vec<u8>,
}

/// A layer that is ready to be written.
#[derive(Debug)]
pub(crate) struct Packed {
    /// The digest of the uncompressed archive, by which an image's configuration names its layers.
    pub(crate) diff_id: Digest,
    pub(crate) bytes: Vec<u8>,
}

// === impl Layer ===

impl Layer {
    /// Adds a file that is read. `path` is relative to the root.
    #[must_use]
    pub fn file(self, path: &'static str, content: &[u8]) -> Self {
        self.add(path, FILE_MODE, content)
    }

    /// Adds a file that is run.
    #[must_use]
    pub fn program(self, path: &'static str, content: &[u8]) -> Self {
        self.add(path, PROGRAM_MODE, content)
    }

    fn add(mut self, path: &'static str, mode: u32, content: &[u8]) -> Self {
        self.entries.push(Entry { path, mode, content: content.to_vec() });
        self
    }

    pub(crate) fn pack(self) -> io::Result<Packed> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut folders = BTreeSet::new();
        for Entry { path, mode, content } in self.entries {
            let parents: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
            for folder in parents.into_iter().rev().filter(|folder| !folder.as_os_str().is_empty()) {
                if folders.insert(folder) {
                    let mut header = header(PROGRAM_MODE, tar::EntryType::Directory);
                    archive.append_data(&mut header, format!("{}/", folder.display()), io::empty())?;
                }
            }
            let mut header = header(mode, tar::EntryType::Regular);
            header.set_size(u64::try_from(content.len()).map_err(io::Error::other)?);
            archive.append_data(&mut header, path, content.as_slice())?;
        }
        let archive = archive.into_inner()?;
        let diff_id = Digest::of(&archive);
        // Without a name and a time, so that equal files give equal bytes.
        let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
        gzip.write_all(&archive)?;
        Ok(Packed { diff_id, bytes: gzip.finish()? })
    }
}

/// A header with fixed times and owner, so that equal files give equal bytes.
fn header(mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}
