//! Reads layouts back as a registry does, and checks every digest and the contents.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;
use tempfile::TempDir;
use warmpath_image::{Architecture, Digest, ElfError, controller, filter, write};

const WASM: &[u8] = b"\0asm\x01\0\0\0";

/// A header of a program, with program headers of these kinds.
fn elf(machine: u16, kinds: &[u32]) -> Vec<u8> {
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(64, 0);
    program[18..20].copy_from_slice(&machine.to_le_bytes());
    program[32..40].copy_from_slice(&64_u64.to_le_bytes());
    program[54..56].copy_from_slice(&56_u16.to_le_bytes());
    program[56..58].copy_from_slice(&u16::try_from(kinds.len()).unwrap().to_le_bytes());
    for kind in kinds {
        let end = program.len() + 56;
        program.extend_from_slice(&kind.to_le_bytes());
        program.resize(end, 0);
    }
    program
}

/// A layout that was read back.
struct Loaded {
    manifest_digest: String,
    manifest: Value,
    config: Value,
    /// Paths with modes and contents.
    files: BTreeMap<String, (u32, Vec<u8>)>,
}

fn read(folder: &Path) -> Loaded {
    let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    let layout = json(&fs::read(folder.join("oci-layout")).unwrap());
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
    let index = json(&fs::read(folder.join("index.json")).unwrap());
    let mut seen = BTreeSet::new();
    let mut blob = |reference: &Value, media_type: &str| -> Vec<u8> {
        assert_eq!(reference["mediaType"], media_type);
        let digest = reference["digest"].as_str().unwrap();
        let hex = digest.strip_prefix("sha256:").unwrap();
        let bytes = fs::read(folder.join("blobs/sha256").join(hex)).unwrap();
        assert_eq!(Digest::of(&bytes).to_string(), digest);
        assert_eq!(reference["size"], bytes.len());
        seen.insert(hex.to_owned());
        bytes
    };
    let of_manifest = &index["manifests"][0];
    let manifest = json(&blob(of_manifest, "application/vnd.oci.image.manifest.v1+json"));
    let config = json(&blob(&manifest["config"], "application/vnd.oci.image.config.v1+json"));
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1);
    let layer = blob(&layers[0], "application/vnd.oci.image.layer.v1.tar+gzip");
    let mut archive = Vec::new();
    GzDecoder::new(&*layer).read_to_end(&mut archive).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], Digest::of(&archive).to_string());
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(&*archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
        let (path, mode) = (entry.path().unwrap().display().to_string(), header.mode().unwrap());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(path, (mode, content));
    }
    let blobs = fs::read_dir(folder.join("blobs/sha256")).unwrap();
    let blobs: BTreeSet<_> = blobs.map(|blob| blob.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(blobs, seen, "nothing else lies there");
    Loaded { manifest_digest: of_manifest["digest"].as_str().unwrap().to_owned(), manifest, config, files }
}

#[test]
fn the_controllers_image_has_program_and_filter() {
    let folder = TempDir::new().unwrap();
    let program = elf(183, &[1, 1]);
    let digest = write(folder.path(), controller(&program, WASM, "1.2.3").unwrap()).unwrap();
    let read = read(folder.path());
    assert_eq!(read.manifest_digest, digest.to_string());
    let files: Vec<_> = read.files.iter().map(|(path, (mode, _))| (path.as_str(), *mode)).collect();
    let wanted = [
        ("usr/", 0o755),
        ("usr/local/", 0o755),
        ("usr/local/bin/", 0o755),
        ("usr/local/bin/warmpath", 0o755),
        ("wasm/", 0o755),
        ("wasm/warmpath-router.wasm", 0o644),
    ];
    assert_eq!(files, wanted);
    assert_eq!(read.files["usr/local/bin/warmpath"].1, program);
    assert_eq!(read.files["wasm/warmpath-router.wasm"].1, WASM);
    assert_eq!(read.config["architecture"], "arm64");
    assert_eq!(read.config["config"]["User"], "65532:65532");
    assert_eq!(read.config["config"]["Entrypoint"][0], "/usr/local/bin/warmpath");
    let index: Value = serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
}

#[test]
fn the_filters_image_is_as_istio_expects() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), filter(WASM, "1.2.3")).unwrap();
    let read = read(folder.path());
    assert_eq!(read.files.keys().collect::<Vec<_>>(), ["plugin.wasm"]);
    assert_eq!(read.files["plugin.wasm"].1, WASM);
    assert_eq!(read.manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
}

#[test]
fn equal_files_give_equal_images_also_over_older_ones() {
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(one.path(), filter(b"\0asm older", "1")).unwrap();
    let digests = [&one, &other].map(|folder| write(folder.path(), filter(WASM, "1")).unwrap());
    assert_eq!(digests[0], digests[1]);
    read(one.path());
}

#[test]
fn a_program_that_an_empty_image_cannot_run_is_refused() {
    for (program, wanted) in [
        (elf(62, &[1, 3]), Err(ElfError::Dynamic)),
        (elf(62, &[1]), Ok(Architecture::Amd64)),
        (elf(40, &[1]), Err(ElfError::Machine(40))),
        (b"#!/bin/sh".to_vec(), Err(ElfError::NotElf)),
        (elf(62, &[1, 1])[..100].to_vec(), Err(ElfError::NotElf)),
    ] {
        assert_eq!(Architecture::of_static(&program), wanted);
        assert_eq!(controller(&program, WASM, "1").is_err(), wanted.is_err());
    }
}
