//! The bucket: where objects appear. A folder, or memory for tests; S3 speaks the same words.
//!
//! Nothing is ever written here. An object is read by ranges, each on condition that it still has
//! the version that was listed, so that no two versions are ever mixed.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore};

/// An object as it was listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key in the bucket.
    pub key: String,
    /// Its version: the etag; on a folder inode, time of change and size.
    pub version: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A bucket. A cheap handle; clones are the same bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// What it is called in errors.
    name: String,
}

/// Why a bucket can't be used, or an object can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder can't be opened.
    #[error("the inbox {name} can't be opened: {source}; create it, or give another --inbox")]
    Open {
        /// The folder.
        name: String,
        /// Why.
        source: object_store::Error,
    },
    /// The bucket can't be listed or read for now.
    #[error("the inbox {name} can't be read: {source}")]
    Unavailable {
        /// The bucket.
        name: String,
        /// Why.
        source: object_store::Error,
    },
    /// The object isn't there any more, or not in this version.
    #[error("the object {key} is gone or was replaced")]
    Gone {
        /// Its key.
        key: String,
    },
    /// The object's bytes can't be read for now.
    #[error("the object {key} can't be read: {source}")]
    Read {
        /// Its key.
        key: String,
        /// Why.
        source: std::io::Error,
    },
}

impl Bucket {
    /// The folder at `path`, which must be there.
    ///
    /// # Errors
    ///
    /// Where it isn't, or may not be entered.
    pub fn folder(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let store = LocalFileSystem::new_with_prefix(path)
            .map_err(|source| Error::Open { name: name.clone(), source })?;
        Ok(Self { store: Arc::new(store), name })
    }

    /// An empty bucket in memory, and the store to put objects into, for tests.
    pub fn memory() -> (Self, Arc<InMemory>) {
        let store = Arc::new(InMemory::new());
        let bucket = Self { store: Arc::<InMemory>::clone(&store), name: "memory".to_owned() };
        (bucket, store)
    }

    /// Every object of the bucket, in ascending order of keys: also markers and hidden ones, which
    /// a feed leaves out.
    ///
    /// # Errors
    ///
    /// *Unavailable* where it can't be listed; nothing is known then, and nothing is forgotten.
    pub async fn list(&self) -> Result<Vec<Object>, Error> {
        let unavailable = |source| Error::Unavailable { name: self.name.clone(), source };
        let listed: Vec<_> = self.store.list(None).try_collect().await.map_err(unavailable)?;
        let object = |meta: object_store::ObjectMeta| Object {
            key: meta.location.to_string(),
            version: meta.e_tag.unwrap_or_else(|| format!("{}-{}", meta.last_modified, meta.size)),
            size: meta.size,
        };
        let mut objects: Vec<Object> = listed.into_iter().map(object).collect();
        objects.sort();
        Ok(objects)
    }

    /// The bytes of a range of an object, on condition that it still has its version.
    ///
    /// # Errors
    ///
    /// *Gone* where the object or its version isn't there; else *unavailable* or *read*.
    pub async fn read(&self, object: &Object, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let options = GetOptions {
            if_match: Some(object.version.clone()),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let path = object_store::path::Path::parse(&object.key)
            .map_err(|_| Error::Gone { key: object.key.clone() })?;
        let found = self.store.get_opts(&path, options).await.map_err(|e| self.error(object, e))?;
        let bytes = match found.payload {
            // Read at once rather than through object_store's stream, which takes small steps.
            GetResultPayload::File(file, _) => read_file(file, range.clone()).await,
            GetResultPayload::Stream(stream) => {
                let parts = stream.try_fold(Vec::new(), |mut all, part| async move {
                    all.extend_from_slice(&part);
                    Ok(all)
                });
                Ok(Bytes::from(parts.await.map_err(|error| self.error(object, error))?))
            }
        };
        let bytes = bytes.map_err(|source| Error::Read { key: object.key.clone(), source })?;
        // Cut short after it was opened: another version, whatever its name says.
        if u64::try_from(bytes.len()).ok() != range.end.checked_sub(range.start) {
            return Err(Error::Gone { key: object.key.clone() });
        }
        Ok(bytes)
    }

    fn error(&self, object: &Object, error: object_store::Error) -> Error {
        use object_store::Error as Store;
        match error {
            Store::NotFound { .. } | Store::Precondition { .. } | Store::NotModified { .. } => {
                Error::Gone { key: object.key.clone() }
            }
            // The range begins behind the end: the object has become shorter.
            Store::Generic { source, .. } if source.to_string().contains("range") => {
                Error::Gone { key: object.key.clone() }
            }
            source => Error::Unavailable { name: self.name.clone(), source },
        }
    }
}

async fn read_file(mut file: std::fs::File, range: Range<u64>) -> std::io::Result<Bytes> {
    let read = move || {
        file.seek(SeekFrom::Start(range.start))?;
        let length = range.end.saturating_sub(range.start);
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        file.take(length).read_to_end(&mut bytes)?;
        Ok(Bytes::from(bytes))
    };
    tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use object_store::{ObjectStoreExt, PutPayload};

    use super::*;

    /// Both kinds of bucket: read by range, and refuse another version than the one listed.
    #[tokio::test]
    async fn a_range_is_of_the_version_that_was_listed() {
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let (memory, memory_store) = Bucket::memory();
        let cases: [(Bucket, Arc<dyn ObjectStore>); 2] =
            [(Bucket::folder(folder.path()).unwrap(), local), (memory, memory_store)];
        for (bucket, store) in cases {
            let path = object_store::path::Path::from("in/a.ach");
            store.put(&path, PutPayload::from_static(b"0123456789")).await.unwrap();
            let [object] = bucket.list().await.unwrap().try_into().unwrap();
            assert_eq!((object.key.as_str(), object.size), ("in/a.ach", 10));
            assert_eq!(bucket.read(&object, 2..5).await.unwrap(), "234");
            assert_eq!(bucket.read(&object, 5..5).await.unwrap(), "");

            store.put(&path, PutPayload::from_static(b"abc")).await.unwrap();
            let replaced = bucket.read(&object, 2..5).await.unwrap_err();
            assert!(matches!(replaced, Error::Gone { .. }), "{replaced}");
            store.delete(&path).await.unwrap();
            let gone = bucket.read(&object, 2..5).await.unwrap_err();
            assert!(matches!(gone, Error::Gone { .. }), "{gone}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_named() {
        let error = Bucket::folder(Path::new("/nowhere/inbox")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/inbox"), "{error}");
    }
}
