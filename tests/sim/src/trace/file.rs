//! A trace file's text and the format that its name tells, compressed or not.

use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

const GZIP: &str = "gz";

/// The whole text.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut text = String::new();
    if ending(path) == Some(GZIP) {
        MultiGzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        file.read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The ending of the name, without that of the compression.
pub(super) fn format(path: &Path) -> Option<&str> {
    match ending(path) {
        Some(GZIP) => ending(Path::new(path.file_stem()?)),
        other => other,
    }
}

fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(|ending| ending.to_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compression_is_no_part_of_the_format() {
        assert_eq!(format(Path::new("a/b.csv.gz")), Some("csv"));
        assert_eq!(format(Path::new("a/b.jsonl")), Some("jsonl"));
        assert_eq!(format(Path::new("a/b")), None);
    }
}
