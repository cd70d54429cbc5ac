//! Volumes as folders that are swapped as a whole when their ConfigMap or Secret changes.
//!
//! A file is a link to `..data/<file>`, and `..data` a link to the current version, as the real kubelet has them: programs that
//! watch their configuration see the same changes as in a cluster.

use super::env::Facts;
use super::lookup::{Data, Lookup};
use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A volume's source on this machine.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) name: String,
    pub(super) source: PathBuf,
}

/// Makes the folders of all volumes below `folder`, or brings them up to date.
pub(super) async fn prepare(
    volumes: &[Volume],
    folder: &Path,
    facts: &Facts<'_>,
    lookup: &Lookup,
) -> anyhow::Result<Vec<Prepared>> {
    let mut prepared = Vec::new();
    for volume in volumes {
        let place = folder.join(&volume.name);
        let source = if let Some(path) = &volume.host_path {
            PathBuf::from(&path.path)
        } else {
            fs::create_dir_all(&place).context("cannot make a volume")?;
            if volume.empty_dir.is_none() {
                let data = contents(volume, facts, lookup).await;
                let data =
                    data.with_context(|| format!("MountVolume.SetUp failed for volume {}", volume.name))?;
                write(&place, &data)?;
            }
            place
        };
        prepared.push(Prepared { name: volume.name.clone(), source });
    }
    Ok(prepared)
}

/// Whether what is in these volumes may change.
pub(super) fn may_change(volumes: &[Volume]) -> bool {
    let of_pod = |volume: &&Volume| !volume.name.starts_with("kube-api-access");
    volumes
        .iter()
        .filter(of_pod)
        .any(|volume| volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some())
}

async fn contents(volume: &Volume, facts: &Facts<'_>, lookup: &Lookup) -> anyhow::Result<Data> {
    if let Some(source) = &volume.config_map {
        return pick(lookup.config_map(&source.name, source.optional).await?, source.items.as_deref());
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        return pick(lookup.secret(name, source.optional).await?, source.items.as_deref());
    }
    if let Some(source) = &volume.downward_api {
        return fields(source.items.as_deref().unwrap_or_default(), facts);
    }
    let Some(projected) = &volume.projected else { bail!("a kind of volume that these nodes do not have") };
    let mut all = Data::new();
    for source in projected.sources.iter().flatten() {
        all.extend(projection(source, facts, lookup).await?);
    }
    Ok(all)
}

async fn projection(source: &VolumeProjection, facts: &Facts<'_>, lookup: &Lookup) -> anyhow::Result<Data> {
    if let Some(source) = &source.config_map {
        return pick(lookup.config_map(&source.name, source.optional).await?, source.items.as_deref());
    }
    if let Some(source) = &source.secret {
        return pick(lookup.secret(&source.name, source.optional).await?, source.items.as_deref());
    }
    if let Some(source) = &source.downward_api {
        return fields(source.items.as_deref().unwrap_or_default(), facts);
    }
    if let Some(source) = &source.service_account_token {
        let spec = facts.pod.spec.as_ref();
        let account = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
        let token = lookup.token(account, source.audience.as_ref(), source.expiration_seconds).await?;
        return Ok(Data::from([(source.path.clone(), token)]));
    }
    bail!("a projection that these nodes do not have")
}

fn fields(items: &[DownwardAPIVolumeFile], facts: &Facts<'_>) -> anyhow::Result<Data> {
    let field = |item: &DownwardAPIVolumeFile| {
        let path = item.field_ref.as_ref().map(|field| field.field_path.as_str()).unwrap_or_default();
        Ok((item.path.clone(), facts.field(path)?.into_bytes()))
    };
    items.iter().map(field).collect()
}

/// Selected keys at their paths, or all of them.
fn pick(data: Data, items: Option<&[KeyToPath]>) -> anyhow::Result<Data> {
    let Some(items) = items else { return Ok(data) };
    let item = |item: &KeyToPath| {
        let value = data.get(&item.key).with_context(|| format!("no key {}", item.key))?;
        Ok((item.path.clone(), value.clone()))
    };
    items.iter().map(item).collect()
}

/// Writes a version of the files, and then makes it the current one.
fn write(place: &Path, data: &Data) -> anyhow::Result<()> {
    let current = place.join("..data");
    if is_current(&current, data) {
        return Ok(());
    }
    let old = fs::read_link(&current).ok();
    let number =
        old.as_ref().and_then(|old| old.to_str()?.strip_prefix("..v")?.parse::<u32>().ok()).unwrap_or(0);
    let version = format!("..v{}", number + 1);
    for (path, bytes) in data {
        let file = place.join(&version).join(path);
        file.parent().map_or(Ok(()), fs::create_dir_all).context("cannot make a folder in a volume")?;
        fs::write(&file, bytes).context("cannot write a file of a volume")?;
        let first = Path::new(path).components().next().context("a file without a name")?;
        match symlink(Path::new("..data").join(first), place.join(first)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context("cannot link a file of a volume");
            }
            _ => {}
        }
    }
    fs::create_dir_all(place.join(&version)).context("cannot make a version of a volume")?;
    symlink(&version, place.join("..new")).context("cannot link a version of a volume")?;
    fs::rename(place.join("..new"), &current).context("cannot exchange a volume")?;
    if let Some(old) = old {
        let _removed = fs::remove_dir_all(place.join(old));
    }
    Ok(())
}

fn is_current(current: &Path, data: &Data) -> bool {
    let count = |folder: &Path| fs::read_dir(folder).into_iter().flatten().count();
    current.exists()
        && data.iter().all(|(path, bytes)| fs::read(current.join(path)).is_ok_and(|there| &there == bytes))
        && (count(current) == data.len() || data.keys().any(|path| path.contains('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_volume_is_exchanged_whole() {
        let folder = tempfile::tempdir().unwrap();
        let data = |text: &str| Data::from([("a".to_owned(), text.into()), ("b/c".to_owned(), text.into())]);
        for text in ["old", "new", "new"] {
            write(folder.path(), &data(text)).unwrap();
            for file in ["a", "b/c"] {
                assert_eq!(fs::read_to_string(folder.path().join(file)).unwrap(), text);
            }
        }
        assert_eq!(fs::read_link(folder.path().join("..data")).unwrap(), Path::new("..v2"));
        assert!(!folder.path().join("..v1").exists());
    }
}
