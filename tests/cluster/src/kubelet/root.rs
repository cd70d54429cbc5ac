//! A container's file system: the machine's, with the files of image and volumes at their paths.
//!
//! The root is an ordinary folder in which `/.host` is the machine's root, and everything else links into it. Folders above a mount
//! are real ones, whose other entries are links. So a chart's paths work unchanged, and the machine need not have these folders,
//! nor allow the tests to create them.

use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Something that appears at a place in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    /// Absolute.
    pub(crate) place: PathBuf,
}

/// Makes the folder `root`, and returns the mounts in the order in which they must be made: outer ones first.
pub(super) fn prepare(root: &Path, mounts: Vec<Mount>) -> anyhow::Result<Vec<Mount>> {
    // The last of several at one place counts.
    let by_place: BTreeMap<PathBuf, PathBuf> =
        mounts.into_iter().map(|mount| (mount.place, mount.source)).collect();
    fs::create_dir_all(root.join(".host")).context("cannot make a container's root")?;
    let mut folders = BTreeSet::from([PathBuf::from("/")]);
    for place in by_place.keys() {
        let inside_another = |above: &&Path| by_place.contains_key(*above);
        if place.ancestors().skip(1).find(inside_another).is_none() {
            folders.extend(place.ancestors().skip(1).map(Path::to_owned));
        }
    }
    for folder in &folders {
        let made = within(root, folder);
        fs::create_dir_all(&made).with_context(|| format!("cannot make {}", made.display()))?;
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let place = folder.join(entry.file_name());
            if !folders.contains(&place) && !by_place.contains_key(&place) && place != Path::new("/tmp") {
                link(root, &place)?;
            }
        }
    }
    // Every container has one of its own.
    if !by_place.contains_key(Path::new("/tmp")) {
        fs::create_dir_all(root.join("tmp")).context("cannot make /tmp")?;
    }
    for (place, source) in &by_place {
        make_place(&within(root, place), source)?;
    }
    Ok(by_place.into_iter().map(|(place, source)| Mount { source, place }).collect())
}

/// Something to mount on, of the kind of what is mounted.
fn make_place(place: &Path, source: &Path) -> anyhow::Result<()> {
    if place.exists() {
        return Ok(());
    }
    let made = if source.is_dir() {
        fs::create_dir_all(place)
    } else {
        let folder = place.parent().map_or(Ok(()), fs::create_dir_all);
        folder.and_then(|()| fs::write(place, ""))
    };
    made.with_context(|| format!("cannot make {}", place.display()))
}

fn link(root: &Path, place: &Path) -> anyhow::Result<()> {
    let link = within(root, place);
    if link.symlink_metadata().is_ok() {
        return Ok(());
    }
    symlink(within(Path::new("/.host"), place), &link)
        .with_context(|| format!("cannot link {}", link.display()))
}

/// An absolute path below another root.
fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_has_real_folders_above_it_and_links_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let source = folder.path().join("source");
        fs::create_dir_all(&source).unwrap();
        let mount = Mount { source, place: "/etc/warmpath/config".into() };
        assert_eq!(prepare(&root, vec![mount.clone()]).unwrap(), [mount]);
        assert!(root.join("etc/warmpath/config").is_dir());
        assert!(!root.join("etc").is_symlink());
        assert_eq!(fs::read_link(root.join("etc/passwd")).unwrap(), Path::new("/.host/etc/passwd"));
        assert_eq!(fs::read_link(root.join("usr")).unwrap(), Path::new("/.host/usr"));
        assert!(root.join("tmp").is_dir() && !root.join("tmp").is_symlink());
    }

    #[test]
    fn a_mount_inside_another_is_made_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let inner = Mount { source: file, place: "/data/inner".into() };
        let outer = Mount { source: folder.path().to_owned(), place: "/data".into() };
        let ordered = prepare(&folder.path().join("root"), vec![inner.clone(), outer.clone()]).unwrap();
        assert_eq!(ordered, [outer, inner]);
    }
}
