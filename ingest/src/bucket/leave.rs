//! How an object leaves the bucket once its file is reconciled: archived or deleted.
//!
//! The object must still be the one that was read, which is looked at right before. On a folder it
//! is then renamed, and put back where it turns out to have been replaced in between. On S3 there
//! is no such step: it is copied, looked at, and deleted, and what somebody puts under the same key
//! within the milliseconds between the last two is deleted with it. A bucket that keeps versions
//! keeps that too.
//!
//! Everything here may be done again after it was stopped anywhere: a copy that is there is written
//! over by the same bytes, and an object that is gone is gone.

use object_store::{ObjectStoreExt, PutPayload};

use super::{Bucket, Error, Object, Store};

/// What became of an object that was to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It left now.
    Now,
    /// It left before: nothing is there.
    Before,
    /// Another version is there, and stays.
    Replaced,
}

/// The largest object that S3 copies by itself in one request: 5 GiB.
const COPY_BYTES_MAX: u64 = 5 << 30;

/// The smallest part of an object that is copied through us: 8 MiB.
const PART_BYTES_MIN: u64 = 8 << 20;

/// An object has at most so many parts; S3 allows 10,000.
const PARTS_MAX: u64 = 9_000;

impl Bucket {
    /// True where an object of `other` is one of this bucket as well, or would be once it is there.
    pub fn holds(&self, other: &Self) -> bool {
        match (&self.shared.store, &other.shared.store) {
            (Store::Folder(this), Store::Folder(other)) => this.holds(other),
            (Store::S3(this), Store::S3(other)) => this.holds(other),
            (Store::Memory(this), Store::Memory(other)) => std::sync::Arc::ptr_eq(this, other),
            _ => false,
        }
    }

    /// Checks that objects of this bucket can be archived to `archive`.
    ///
    /// # Errors
    ///
    /// *Settings* where that is of another kind, lies in this bucket, or on another file system.
    pub fn check_archive(&self, archive: &Self) -> Result<(), Error> {
        let settings = |what: String| Err(Error::Settings { what });
        let (name, to) = (self.name(), archive.name());
        if self.holds(archive) {
            return settings(format!("{to} lies in {name}, which is watched; give another"));
        }
        match (&self.shared.store, &archive.shared.store) {
            (Store::Folder(this), Store::Folder(archive)) => this.check_archive(archive),
            (Store::S3(_), Store::S3(_)) | (Store::Memory(_), Store::Memory(_)) => Ok(()),
            _ => settings(format!("{to} is of another kind than {name}; give one of the same")),
        }
    }

    /// Moves an object to `archive`, where it gets the key `to`. `about_to` is told when all is
    /// done but to take it away here.
    ///
    /// # Errors
    ///
    /// *Object* where it can't be moved, or an outage. Nothing is lost then, and it may be tried
    /// again.
    pub async fn archive(
        &self,
        object: &Object,
        archive: &Self,
        to: &str,
        about_to: impl Fn() + Send,
    ) -> Result<Left, Error> {
        if let Some(left) = self.left(object).await? {
            return Ok(left);
        }
        if let (Store::Folder(this), Store::Folder(other)) =
            (&self.shared.store, &archive.shared.store)
        {
            about_to();
            let left = this.rename(object, other, to).await;
            return left.map_err(|error| Error::object(&object.key, error));
        }
        match self.copy(object, archive, to).await {
            // What is there now is looked at again.
            Ok(()) | Err(Error::Gone { .. }) => (),
            Err(error) => return Err(error),
        }
        self.take_away(object, about_to).await
    }

    /// Deletes an object. `about_to` is told right before.
    ///
    /// # Errors
    ///
    /// As [`Self::archive`].
    pub async fn delete(&self, object: &Object, about_to: impl Fn() + Send) -> Result<Left, Error> {
        self.take_away(object, about_to).await
    }

    /// What became of an object already; none where it is there as it was.
    async fn left(&self, object: &Object) -> Result<Option<Left>, Error> {
        Ok(match self.find(&object.key).await? {
            None => Some(Left::Before),
            Some(now) if now.version != object.version => Some(Left::Replaced),
            Some(_) => None,
        })
    }

    async fn take_away(&self, object: &Object, about_to: impl Fn() + Send) -> Result<Left, Error> {
        if let Some(left) = self.left(object).await? {
            return Ok(left);
        }
        about_to();
        match self.store().delete(&self.path(&object.key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(Left::Now),
            Err(error) => Err(self.error(&object.key, error)),
        }
    }

    async fn copy(&self, object: &Object, archive: &Self, to: &str) -> Result<(), Error> {
        if let (Store::S3(this), Store::S3(other)) = (&self.shared.store, &archive.shared.store)
            && this.is_same_bucket(other)
            && object.size <= COPY_BYTES_MAX
        {
            let copied = self.store().copy(&self.path(&object.key)?, &archive.path(to)?).await;
            return copied.map_err(|error| match error {
                object_store::Error::NotFound { .. } => Error::Gone { key: object.key.clone() },
                error => self.error(&object.key, error),
            });
        }
        self.stream(object, archive, to, PART_BYTES_MIN).await
    }

    /// Copies an object through us, part by part, on condition that it keeps its version.
    pub(super) async fn stream(
        &self,
        object: &Object,
        archive: &Self,
        to: &str,
        part_bytes_min: u64,
    ) -> Result<(), Error> {
        let path = archive.path(to)?;
        let written = |error| archive.error(&object.key, error);
        let part_bytes = object.size.div_ceil(PARTS_MAX).max(part_bytes_min);
        if object.size <= part_bytes {
            let bytes = self.read(object, 0..object.size).await?;
            let put = archive.store().put(&path, PutPayload::from_bytes(bytes)).await;
            return put.map(|_| ()).map_err(written);
        }
        let mut upload = archive.store().put_multipart(&path).await.map_err(written)?;
        let mut at = 0;
        while at < object.size {
            let end = object.size.min(at.saturating_add(part_bytes));
            let part = match self.read(object, at..end).await {
                Ok(bytes) => upload.put_part(bytes.into()).await.map_err(written),
                Err(error) => Err(error),
            };
            if let Err(error) = part {
                // Where that fails too, what was uploaded is what a bucket's rules clear away.
                let _ = upload.abort().await;
                return Err(error);
            }
            at = end;
        }
        upload.complete().await.map(|_| ()).map_err(written)
    }
}
