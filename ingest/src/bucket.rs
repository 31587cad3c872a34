//! The bucket: where objects appear. A folder, an S3 bucket below a prefix, or memory for tests.
//!
//! Nothing is ever written under a watched prefix. An object is read by ranges, each on condition
//! that it still has the version that was listed, so that no two versions are ever mixed. What is
//! done with an object once its file is reconciled is in [`leave`].

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::{
    GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

mod folder;
mod leave;
mod s3;

pub use leave::Left;
use s3::S3;

/// An object as it was listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// Its key, below the folder or the prefix that is watched: the same wherever that lies.
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
#[derive(Clone)]
pub struct Bucket {
    shared: Arc<Shared>,
    is_patient: bool,
}

struct Shared {
    /// What it is called in errors.
    name: String,
    store: Store,
    /// Since when it is away.
    away_since: Mutex<Option<Instant>>,
    /// For ranges that are read ahead of their use, a permit for each MiB.
    ahead: Arc<Semaphore>,
}

/// What a bucket is.
enum Store {
    Folder(folder::Folder),
    S3(S3),
    Memory(Arc<InMemory>),
}

/// How much of all objects of a bucket is read ahead of its use, in MiB: several files at once keep
/// an S3 server busy, and memory stays flat.
const AHEAD_MIB: usize = 32;

/// How long a patient read waits for a bucket that is away. Longer than a server takes to start
/// again; who waits longer holds up other feeds.
const PATIENCE: Duration = Duration::from_secs(20);

const WAIT_FIRST: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(4);

/// Why a bucket can't be used, or an object can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder can't be opened.
    #[error("the folder {name} can't be opened: {source}; create it, or give another")]
    Open {
        /// The folder.
        name: String,
        /// Why.
        source: object_store::Error,
    },
    /// The settings can't be used: which, why, and what to do.
    #[error("{what}")]
    Settings {
        /// A sentence.
        what: String,
    },
    /// There is no such bucket.
    #[error("there is no bucket {name}; create it, or give another")]
    NoBucket {
        /// The bucket.
        name: String,
    },
    /// The server knows us not, or lets us not in.
    #[error(
        "the server refused the credentials for {name}: {what}; correct AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, or what they allow"
    )]
    Denied {
        /// The bucket.
        name: String,
        /// What the server said.
        what: String,
    },
    /// No server of this kind is where it should be.
    #[error("no S3 server answers for {name}: {what}; correct AWS_ENDPOINT_URL or AWS_REGION")]
    NoServer {
        /// The bucket.
        name: String,
        /// Why.
        what: String,
    },
    /// The bucket can't be listed or read for now.
    #[error("{name} can't be used for now: {what}")]
    Unavailable {
        /// The bucket.
        name: String,
        /// Why.
        what: String,
    },
    /// The object isn't there any more, or not in this version.
    #[error("the object {key} is gone or was replaced")]
    Gone {
        /// Its key.
        key: String,
    },
    /// This object can't be read or removed, while others can.
    #[error("the object {key} can't be used: {source}")]
    Object {
        /// Its key.
        key: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// True where the surroundings are at fault and it may be tried again: the bucket is away.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::NoBucket { .. }
                | Self::Denied { .. }
                | Self::NoServer { .. }
                | Self::Unavailable { .. }
        )
    }

    pub(crate) fn object(
        key: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Object { key: key.to_owned(), source: source.into() }
    }
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is inside holds credentials.
        f.debug_tuple("Bucket").field(&self.shared.name).finish()
    }
}

impl Bucket {
    /// The folder at `path`, which must be there.
    ///
    /// # Errors
    ///
    /// Where it isn't, or may not be entered.
    pub fn folder(path: &Path) -> Result<Self, Error> {
        let folder = folder::Folder::open(path)?;
        Ok(Self::new(path.display().to_string(), Store::Folder(folder)))
    }

    /// The objects of an S3 bucket whose keys begin with `prefix`, a whole number of segments; an
    /// empty one is the whole bucket. Nothing is asked of the server yet; see [`Self::check`].
    ///
    /// `variables` are those of the environment whose names begin with `AWS_`: endpoint, region,
    /// credentials and more, as `object_store` names them. Others are passed over.
    ///
    /// # Errors
    ///
    /// *Settings* where they can't be used, or would send credentials in clear beyond this machine
    /// and `AWS_ALLOW_HTTP` doesn't ask for that.
    pub fn s3(
        bucket: &str,
        prefix: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        let s3 = S3::new(bucket, prefix, variables)?;
        Ok(Self::new(s3.name(), Store::S3(s3)))
    }

    /// An empty bucket in memory, and the store to put objects into, for tests.
    pub fn memory() -> (Self, Arc<InMemory>) {
        let store = Arc::new(InMemory::new());
        (Self::new("memory".to_owned(), Store::Memory(Arc::clone(&store))), store)
    }

    fn new(name: String, store: Store) -> Self {
        let ahead = Arc::new(Semaphore::new(AHEAD_MIB));
        let shared = Shared { name, store, away_since: Mutex::default(), ahead };
        Self { shared: Arc::new(shared), is_patient: false }
    }

    /// What it is called: its path, or `s3://bucket/prefix`.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The same bucket, whose reads wait a while where it is away.
    #[must_use]
    pub(crate) fn patient(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), is_patient: true }
    }

    /// For ranges that are read ahead of their use; none where asking for one costs nothing.
    pub(crate) fn ahead(&self) -> Option<&Arc<Semaphore>> {
        match self.shared.store {
            Store::Folder(_) => None,
            Store::S3(_) | Store::Memory(_) => Some(&self.shared.ahead),
        }
    }

    /// A first look: says at once what is wrong with the settings.
    ///
    /// # Errors
    ///
    /// *No bucket*, *denied*, *no server*: somebody must mend it. *Unavailable*: it may pass.
    pub async fn check(&self) -> Result<(), Error> {
        match &self.shared.store {
            Store::Folder(folder) => folder.check(),
            Store::S3(s3) => s3.check().await,
            Store::Memory(_) => Ok(()),
        }
    }

    /// Every object of the bucket, in ascending order of keys: also markers and hidden ones, which
    /// a feed leaves out.
    ///
    /// # Errors
    ///
    /// An outage where it can't be listed; nothing is known then, and nothing is forgotten.
    pub async fn list(&self) -> Result<Listing, Error> {
        let listed = match &self.shared.store {
            Store::Folder(folder) => list(folder.store(), self.name()).await,
            Store::S3(s3) => s3.list().await,
            Store::Memory(store) => list(store.as_ref(), self.name()).await,
        };
        self.note(&listed);
        let mut listing = listed?;
        listing.objects.sort();
        Ok(listing)
    }

    /// The bytes of a range of an object, on condition that it still has its version.
    ///
    /// # Errors
    ///
    /// *Gone* where the object or its version isn't there, *object* where it can't be read, or an
    /// outage.
    pub async fn read(&self, object: &Object, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let (begun, mut wait) = (Instant::now(), WAIT_FIRST);
        loop {
            let read = self.read_once(object, range.clone()).await;
            self.note(&read);
            match read {
                Err(error)
                    if self.is_patient && error.is_outage() && begun.elapsed() < PATIENCE =>
                {
                    tokio::time::sleep(wait).await;
                    wait = wait.saturating_mul(2).min(WAIT_MAX);
                }
                read => return read,
            }
        }
    }

    async fn read_once(&self, object: &Object, range: Range<u64>) -> Result<Bytes, Error> {
        let options = GetOptions {
            if_match: Some(object.version.clone()),
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let path = self.path(&object.key)?;
        let found = match self.store().get_opts(&path, options).await {
            Ok(found) => found,
            Err(error) => return Err(self.read_error(object, &path, error).await),
        };
        let bytes = match found.payload {
            // Read at once rather than through object_store's stream, which takes small steps.
            GetResultPayload::File(file, _) => folder::read(file, range.clone())
                .await
                .map_err(|source| Error::object(&object.key, source))?,
            GetResultPayload::Stream(stream) => {
                let length = range.end.saturating_sub(range.start);
                let whole = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
                let parts = stream.try_fold(whole, |mut all, part| async move {
                    all.extend_from_slice(&part);
                    Ok(all)
                });
                match parts.await {
                    Ok(bytes) => Bytes::from(bytes),
                    Err(error) => return Err(self.read_error(object, &path, error).await),
                }
            }
        };
        // Cut short after it was opened: another version, whatever its name says.
        if u64::try_from(bytes.len()).ok() != range.end.checked_sub(range.start) {
            return Err(Error::Gone { key: object.key.clone() });
        }
        Ok(bytes)
    }

    /// The object of this key as it is now; none where there is none.
    ///
    /// # Errors
    ///
    /// *Object* where it can't be looked at, or an outage.
    pub async fn find(&self, key: &str) -> Result<Option<Object>, Error> {
        let path = self.path(key)?;
        let found = match self.store().head(&path).await {
            Ok(meta) => Ok(Some(Object {
                key: key.to_owned(),
                version: version_of(&meta),
                size: meta.size,
            })),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error(key, error)),
        };
        self.note(&found);
        found
    }

    /// What a failed read means: another version may show itself as any error, such as a range
    /// behind the end, so the object is looked at again.
    async fn read_error(
        &self,
        object: &Object,
        path: &object_store::path::Path,
        error: object_store::Error,
    ) -> Error {
        use object_store::Error as Store;
        let gone = Error::Gone { key: object.key.clone() };
        if let Store::Precondition { .. } | Store::NotModified { .. } = &error {
            return gone;
        }
        if let Store::NotFound { .. } = &error
            && !s3::is_of_bucket(&error)
        {
            return gone;
        }
        let error = self.error(&object.key, error);
        if error.is_outage() {
            return error;
        }
        match self.store().head(path).await {
            Err(Store::NotFound { .. }) => gone,
            Ok(meta) if version_of(&meta) != object.version => gone,
            _ => error,
        }
    }

    /// What an error of the store means, where it doesn't mean that the object is gone.
    fn error(&self, key: &str, error: object_store::Error) -> Error {
        match &self.shared.store {
            Store::Folder(_) | Store::Memory(_) => Error::object(key, error),
            Store::S3(s3) => s3.error(key, error),
        }
    }

    fn store(&self) -> &dyn ObjectStore {
        match &self.shared.store {
            Store::Folder(folder) => folder.store(),
            Store::S3(s3) => s3.store(),
            Store::Memory(store) => store.as_ref(),
        }
    }

    /// Where an object stands in the store.
    fn path(&self, key: &str) -> Result<object_store::path::Path, Error> {
        let full = match &self.shared.store {
            Store::Folder(_) | Store::Memory(_) => key.to_owned(),
            Store::S3(s3) => s3.full_key(key),
        };
        // No key that was listed is refused here.
        object_store::path::Path::parse(full).map_err(|_| Error::Gone { key: key.to_owned() })
    }

    /// Tells once that the bucket is away, and once that it is there again, whoever finds out.
    fn note<T>(&self, result: &Result<T, Error>) {
        let mut since = self.shared.away_since.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = self.name();
        match (result, *since) {
            (Err(error), None) if error.is_outage() => {
                tracing::warn!(bucket, %error, "the bucket is away; trying again");
                *since = Some(Instant::now());
            }
            (Err(error), Some(_)) if error.is_outage() => (),
            (_, Some(begun)) => {
                let seconds = begun.elapsed().as_secs();
                tracing::info!(bucket, seconds, "the bucket is there again");
                *since = None;
            }
            (_, None) => (),
        }
    }
}

/// Lists a store whose keys are the objects' own.
async fn list(store: &dyn ObjectStore, name: &str) -> Result<Listing, Error> {
    let mut listed = store.list(None);
    let (mut objects, mut first_error) = (Vec::new(), None);
    // One entry that can't be looked at must not hide the others.
    while let Some(entry) = listed.next().await {
        match entry {
            Ok(meta) => objects.push(object_of(meta.location.to_string(), &meta)),
            Err(error) if first_error.is_none() => first_error = Some(error.to_string()),
            Err(_) => (),
        }
    }
    if let Some(what) = first_error.take_if(|_| objects.is_empty()) {
        return Err(Error::Unavailable { name: name.to_owned(), what });
    }
    Ok(Listing { objects, unreadable: first_error })
}

fn object_of(key: String, meta: &ObjectMeta) -> Object {
    Object { key, version: version_of(meta), size: meta.size }
}

fn version_of(meta: &ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| format!("{}-{}", meta.last_modified, meta.size))
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;
    use object_store::local::LocalFileSystem;

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
            assert_eq!(bucket.find("in/a.ach").await.unwrap(), Some(object.clone()));
            assert_eq!(bucket.read(&object, 2..5).await.unwrap(), "234");
            assert_eq!(bucket.read(&object, 5..5).await.unwrap(), "");

            store.put(&path, PutPayload::from_static(b"abc")).await.unwrap();
            let replaced = bucket.read(&object, 2..5).await.unwrap_err();
            assert!(matches!(replaced, Error::Gone { .. }), "{replaced}");
            store.delete(&path).await.unwrap();
            let gone = bucket.read(&object, 2..5).await.unwrap_err();
            assert!(matches!(gone, Error::Gone { .. }), "{gone}");
            assert_eq!(bucket.find("in/a.ach").await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_named() {
        let error = Bucket::folder(Path::new("/nowhere/inbox")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/inbox"), "{error}");
    }
}
