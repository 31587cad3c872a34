//! The data directory: what lies in it, who may use it, and whose ledger it is.
//!
//! ```text
//! data/
//!   batchless.toml   the configuration in force, without its secrets
//!   layouts/         the layouts that are not built in, one for each feed with one
//!   key              the ledger's key, 64 hexadecimal digits, mode 0600
//!   lock             held by `run`, and by a command that does its work itself
//!   log/             the embedded log
//!   accounts.db      the account store
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use processors::store::sqlite::SqliteStore;
use schemas::AccountKey;

use crate::config::Config;

/// A data directory.
#[derive(Clone, Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
}

/// The lock of a data directory; dropped, or with its process gone, it is free.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl DataDirectory {
    /// The data directory at `path`, made where there is none.
    ///
    /// # Errors
    ///
    /// Where it can't be made, or isn't a directory.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let mut folder = fs::DirBuilder::new();
        // Positions and labels are nobody else's business, from the first moment on.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder.recursive(true).create(path).with_context(|| {
            format!("the data directory {} can't be made; give another --data", path.display())
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// The data directory at `path`, which a `run` has made.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let data = Self { path: path.to_owned() };
        if !is_there(path)? {
            bail!(
                "there is no data directory {}; give --data, or make one with `batchless run`",
                path.display()
            );
        }
        if !is_there(&data.config_file())? {
            bail!(
                "{} is no data directory: it has no batchless.toml; give another --data",
                path.display()
            );
        }
        Ok(data)
    }

    /// The account store, to read beside whoever writes it.
    ///
    /// # Errors
    ///
    /// Where it is missing, or can't be read.
    pub(crate) fn open_accounts(&self) -> anyhow::Result<SqliteStore> {
        let path = self.accounts();
        if !is_there(&path)? {
            bail!(
                "the account store {} is missing; `batchless run --once` makes it again from the \
                 log",
                path.display()
            );
        }
        Ok(SqliteStore::open_read_only(&path)?)
    }

    /// The configuration in force.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.path.join("batchless.toml")
    }

    /// Where the embedded log is.
    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log.db")
    }

    /// Where the account store is.
    pub(crate) fn accounts(&self) -> PathBuf {
        self.path.join("accounts.db")
    }

    /// Takes the lock, which one process may have.
    ///
    /// # Errors
    ///
    /// Where another process has it, or the directory can't be written.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        self.try_lock()?.with_context(|| {
            format!(
                "another `batchless run`, or a command, works on the data directory {}; stop it \
                 first, or give another --data",
                self.path.display()
            )
        })
    }

    /// Takes the lock; none where another process has it.
    ///
    /// # Errors
    ///
    /// Where the directory can't be written.
    pub(crate) fn try_lock(&self) -> anyhow::Result<Option<Lock>> {
        let path = self.path.join("lock");
        let unusable = || {
            format!("the data directory {} can't be written; see its owner", self.path.display())
        };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(unusable),
        }
    }

    /// Keeps the configuration in force, the layouts first that it names.
    ///
    /// # Errors
    ///
    /// Where it can't be written.
    pub(crate) fn keep_config(&self, config: &Config) -> anyhow::Result<()> {
        let (text, layouts) = config.to_keep()?;
        let keep = || -> anyhow::Result<()> {
            if !layouts.is_empty() {
                fs::create_dir_all(self.path.join("layouts"))?;
            }
            for (file, text) in layouts {
                write_whole(&self.path.join(file), text.as_bytes(), 0o644)?;
            }
            write_whole(&self.config_file(), text.as_bytes(), 0o644)
        };
        keep().context("the configuration in force can't be kept in the data directory")
    }

    /// The key that was drawn for the ledger.
    ///
    /// # Errors
    ///
    /// Where there is none, or it isn't 64 hexadecimal digits.
    pub(crate) fn key(&self) -> anyhow::Result<AccountKey> {
        let path = self.path.join("key");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("the ledger's key {} can't be read; restore it", path.display())
        })?;
        key_of(text.trim_end()).with_context(|| path.display().to_string())
    }

    /// Draws the ledger's key where the directory has none.
    ///
    /// # Errors
    ///
    /// Where the operating system gives no randomness, or the key can't be written.
    pub(crate) fn draw_key(&self) -> anyhow::Result<()> {
        let path = self.path.join("key");
        if path.exists() {
            return Ok(());
        }
        if self.log().exists() {
            bail!(
                "the ledger's key {} is missing, and the ledger has accounts under it; restore it",
                path.display()
            );
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).context("the operating system gives no randomness")?;
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        write_whole(&path, format!("{digits}\n").as_bytes(), 0o600)
            .with_context(|| format!("the ledger's key {} can't be written", path.display()))
    }
}

/// The ledger's key as it was configured; none where it is in the data directory.
///
/// # Errors
///
/// Where it can't be read, or isn't 64 hexadecimal digits.
pub(crate) fn configured_key(config: &Config) -> anyhow::Result<Option<AccountKey>> {
    let Some(secret) = config.secret("ledger.key")? else { return Ok(None) };
    let said_by = match &config.ledger.key_file {
        Some(file) => format!("ledger.key_file: {}", file.display()),
        None => "BATCHLESS_LEDGER_KEY".to_owned(),
    };
    Ok(Some(key_of(secret.reveal().trim_end()).context(said_by)?))
}

/// Whether something is there.
///
/// # Errors
///
/// Where this user may not see whether it is.
pub(crate) fn is_there(path: &Path) -> anyhow::Result<bool> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let text = format!(
                "{} may not be read; ask the owner of the data directory, or give another --data",
                path.display()
            );
            Err(error).context(text)
        }
        found => Ok(found.is_ok()),
    }
}

fn key_of(text: &str) -> anyhow::Result<AccountKey> {
    let key = digits_of(text).context("expected 64 hexadecimal digits, found another text")?;
    Ok(AccountKey::new(&key))
}

fn digits_of(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

/// Writes a file beside `path`, then gives it that name: a crash leaves the old one or the new one.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    // What a crash has left there may have another mode.
    let _ = fs::remove_file(&beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The new name is there after a power cut only once the folder is synced.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = mode;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::create(&folder.path().join("d")).unwrap();
        data.draw_key().unwrap();
        let first = data.key().unwrap().check_value();
        data.draw_key().unwrap();
        assert_eq!(data.key().unwrap().check_value(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &str| {
                fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777
            };
            assert_eq!((mode("d"), mode("d/key")), (0o700, 0o600));
        }
        let other = DataDirectory::create(&folder.path().join("e")).unwrap();
        other.draw_key().unwrap();
        assert_ne!(other.key().unwrap().check_value(), first);
    }

    #[test]
    fn a_key_that_is_gone_is_not_drawn_anew_under_a_ledger() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::create(folder.path()).unwrap();
        fs::write(data.log(), b"").unwrap();
        let error = data.draw_key().unwrap_err().to_string();
        assert!(error.ends_with("restore it"), "{error}");
    }

    #[test]
    fn the_lock_is_one_and_free_again_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::create(folder.path()).unwrap();
        let lock = data.lock().unwrap();
        let error = data.lock().unwrap_err().to_string();
        assert!(error.starts_with("another `batchless run`, or a command, works on"), "{error}");
        drop(lock);
        data.lock().unwrap();
    }

    #[test]
    fn a_key_is_64_digits_and_its_text_never_shows() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::create(folder.path()).unwrap();
        for wrong in ["", "secret", &"g".repeat(64), &"0".repeat(63)] {
            fs::write(folder.path().join("key"), wrong).unwrap();
            let error = format!("{:#}", data.key().unwrap_err());
            assert!(error.contains("expected 64 hexadecimal digits"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
