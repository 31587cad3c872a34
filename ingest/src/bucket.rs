//! The bucket: where objects appear. A folder, or memory for tests; S3 speaks the same words.
//!
//! Nothing is ever written here. An object is read by ranges, each on condition that it still has
//! the version that was listed, so that no two versions are ever mixed.

use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{GetOptions, GetRange, GetResultPayload, ObjectStore, ObjectStoreExt};

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

/// What a bucket holds at a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its objects, in ascending order of keys.
    pub objects: Vec<Object>,
    /// Why some of it could not be looked at; the first such reason.
    pub unreadable: Option<String>,
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
    pub async fn list(&self) -> Result<Listing, Error> {
        let mut listed = self.store.list(None);
        let (mut metas, mut first_error) = (Vec::new(), None);
        // One entry that can't be looked at must not hide the others.
        while let Some(entry) = listed.next().await {
            match entry {
                Ok(meta) => metas.push(meta),
                Err(error) if first_error.is_none() => first_error = Some(error),
                Err(_) => (),
            }
        }
        if let Some(source) = first_error.take_if(|_| metas.is_empty()) {
            return Err(Error::Unavailable { name: self.name.clone(), source });
        }
        let object = |meta: object_store::ObjectMeta| Object {
            key: meta.location.to_string(),
            version: version_of(&meta),
            size: meta.size,
        };
        let mut objects: Vec<Object> = metas.into_iter().map(object).collect();
        objects.sort();
        Ok(Listing { objects, unreadable: first_error.map(|error| error.to_string()) })
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
        let found = match self.store.get_opts(&path, options).await {
            Ok(found) => found,
            Err(error) => return Err(self.error(object, &path, error).await),
        };
        let bytes = match found.payload {
            // Read at once rather than through object_store's stream, which takes small steps.
            GetResultPayload::File(file, _) => read_file(file, range.clone()).await,
            GetResultPayload::Stream(stream) => {
                let parts = stream.try_fold(Vec::new(), |mut all, part| async move {
                    all.extend_from_slice(&part);
                    Ok(all)
                });
                match parts.await {
                    Ok(bytes) => Ok(Bytes::from(bytes)),
                    Err(error) => return Err(self.error(object, &path, error).await),
                }
            }
        };
        let bytes = bytes.map_err(|source| Error::Read { key: object.key.clone(), source })?;
        // Cut short after it was opened: another version, whatever its name says.
        if u64::try_from(bytes.len()).ok() != range.end.checked_sub(range.start) {
            return Err(Error::Gone { key: object.key.clone() });
        }
        Ok(bytes)
    }

    /// What a failed read means: another version may show itself as any error, such as a range
    /// behind the end, so the object is looked at again.
    async fn error(
        &self,
        object: &Object,
        path: &object_store::path::Path,
        error: object_store::Error,
    ) -> Error {
        use object_store::Error as Store;
        let gone = Error::Gone { key: object.key.clone() };
        match (&error, self.store.head(path).await) {
            (
                Store::NotFound { .. } | Store::Precondition { .. } | Store::NotModified { .. },
                _,
            ) => gone,
            (_, Err(Store::NotFound { .. })) => gone,
            (_, Ok(meta)) if version_of(&meta) != object.version => gone,
            _ => {
                Error::Unavailable { name: format!("{}/{}", self.name, object.key), source: error }
            }
        }
    }
}

fn version_of(meta: &object_store::ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| format!("{}-{}", meta.last_modified, meta.size))
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
    use object_store::PutPayload;

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
            let [object] = bucket.list().await.unwrap().objects.try_into().unwrap();
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
