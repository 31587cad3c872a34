//! A folder as a bucket.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt};

use super::leave::Left;
use super::{Error, Object, version_of};

/// A folder, and its files as objects.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    store: LocalFileSystem,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let store = LocalFileSystem::new_with_prefix(path)
            .map_err(|source| Error::Open { name: path.display().to_string(), source })?;
        Ok(Self { path: path.to_owned(), store })
    }

    pub(super) fn store(&self) -> &dyn ObjectStore {
        &self.store
    }

    /// Looks whether it can be listed.
    pub(super) fn check(&self) -> Result<(), Error> {
        let name = self.path.display().to_string();
        match std::fs::read_dir(&self.path) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Unavailable { name, what: error.to_string() }),
        }
    }

    /// True where `other` is this folder or lies in it.
    pub(super) fn holds(&self, other: &Self) -> bool {
        let real = |folder: &Self| folder.path.canonicalize().unwrap_or(folder.path.clone());
        real(other).starts_with(real(self))
    }

    /// Checks that a file can be renamed from here into `archive`.
    pub(super) fn check_archive(&self, archive: &Self) -> Result<(), Error> {
        use std::os::unix::fs::MetadataExt as _;
        let device = |folder: &Self| std::fs::metadata(&folder.path).map(|found| found.dev());
        let (this, to) = (self.path.display(), archive.path.display());
        match (device(self), device(archive)) {
            (Ok(one), Ok(other)) if one == other => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(Error::Settings {
                what: format!("{this} and {to} can't be looked at: {error}"),
            }),
            _ => Err(Error::Settings {
                what: format!(
                    "{to} is on another file system than {this}: a file can't be renamed into it; \
                     give one on the same"
                ),
            }),
        }
    }

    /// Renames an object into `archive`. One that came in its place meanwhile is put back.
    pub(super) async fn rename(
        &self,
        object: &Object,
        archive: &Self,
        to: &str,
    ) -> Result<Left, Box<dyn std::error::Error + Send + Sync>> {
        let target = object_store::path::Path::parse(to)?;
        let here = self.store.path_to_filesystem(&object_store::path::Path::parse(&object.key)?)?;
        let there = archive.store.path_to_filesystem(&target)?;
        let (from, into) = (here.clone(), there.clone());
        let rename = move || -> std::io::Result<Left> {
            if let Some(parent) = into.parent() {
                std::fs::create_dir_all(parent)?;
            }
            match std::fs::rename(&from, &into) {
                Ok(()) => sync_parents(&[&into, &from]).map(|()| Left::Now),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Left::Before),
                Err(error) => Err(error),
            }
        };
        if tokio::task::spawn_blocking(rename).await?? == Left::Before {
            return Ok(Left::Before);
        }
        if version_of(&archive.store.head(&target).await?) == object.version {
            return Ok(Left::Now);
        }
        // A link never writes over what came meanwhile.
        let put_back = move || {
            std::fs::hard_link(&there, &here)?;
            std::fs::remove_file(&there)
        };
        tokio::task::spawn_blocking(put_back).await??;
        Ok(Left::Replaced)
    }
}

/// Makes sure that a rename outlasts a power cut.
fn sync_parents(paths: &[&Path]) -> std::io::Result<()> {
    for parent in paths.iter().filter_map(|path| path.parent()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Reads a range of an open file; less where it is shorter.
pub(super) async fn read(mut file: File, range: Range<u64>) -> std::io::Result<Bytes> {
    let read = move || {
        file.seek(SeekFrom::Start(range.start))?;
        let length = range.end.saturating_sub(range.start);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.take(length).read_to_end(&mut bytes)?;
        Ok(Bytes::from(bytes))
    };
    tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
}
