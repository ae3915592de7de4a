//! Files on the disk: read whole, and written whole or not at all.
//!
//! A file is written aside, under a name of its own in the same folder, and locked until it has its name. What a killed
//! process left there has no lock, by which the next writer knows it and removes it. `mambacl/durable.py` does so in
//! Python: both clear what either left.

use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Files that this process has begun to write: threads write aside of one another.
static BEGUN: AtomicU64 = AtomicU64::new(0);
/// More symbolic links than lead to any file.
const MOST_LINKS: usize = 40;

/// Reads a regular file: a pipe or a device might have no end.
///
/// # Errors
/// [`Error::File`] when it cannot be read, or is something else.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let read = || match fs::metadata(path)?.is_file() {
        true => fs::read(path),
        false => Err(irregular()),
    };
    read().map_err(|error| refused(path, "cannot be read", &error))
}

/// Writes a file aside, flushes it to the disk, reads it back, and gives it its name at once: a crash or a full disk
/// never leaves half of one under its name, and one that was there stays until it is replaced.
///
/// The mode of one that was there stays too. Of a symbolic link, the file that it leads to is replaced, and the link
/// stays. `check` judges what was read back, before the file has its name.
///
/// # Errors
/// [`Error::File`] when it cannot be written, or is a folder, a device or a pipe; and what `check` finds.
pub(crate) fn write(path: &Path, data: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
    let failed = |error: io::Error| refused(path, "could not be written", &error);
    let target = followed(path).map_err(failed)?;
    let (aside, back) = Aside::written(&target, data).map_err(failed)?;
    check(&back)?;
    aside.named(&target).map_err(failed)
}

/// A file that has no name of its own yet, locked. It is removed when this is dropped before it has one.
struct Aside {
    path: PathBuf,
    file: File,
}

impl Aside {
    /// All of a file for the folder of `target`, and what the disk has of it.
    fn written(target: &Path, data: &[u8]) -> io::Result<(Self, Vec<u8>)> {
        let before = regular(target)?;
        clear(folder(target));
        let aside = Self::new(folder(target), before.is_some())?;
        (&aside.file).write_all(data)?;
        let back = fs::read(&aside.path)?;
        if back != data {
            return Err(io::Error::other("the disk gives other bytes back"));
        }
        if let Some(before) = before {
            let now = aside.file.metadata()?;
            if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
                // Where that is permitted.
                let _ = fchown(&aside.file, Some(before.uid()), Some(before.gid()));
            }
            aside.file.set_permissions(before.permissions())?;
        }
        aside.file.sync_all()?;
        Ok((aside, back))
    }

    /// An empty one; one that replaces another is its owner's alone at first.
    fn new(folder: &Path, replaces: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(if replaces { 0o600 } else { 0o666 });
        loop {
            let number = BEGUN.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".mambacl-{}-{number}.partial", std::process::id()));
            let file = match options.open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue, // another container's
                opened => opened?,
            };
            let _ = file.lock(); // there are file systems without locks
            // Between its making and its lock another process may have taken it for abandoned.
            let own = file.metadata()?;
            if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (own.dev(), own.ino())) {
                return Ok(Self { path, file });
            }
        }
    }

    /// Gives it its name, and flushes that.
    fn named(self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        match File::open(folder(target)).and_then(|folder| folder.sync_all()) {
            // Who may write a folder need not be allowed to read it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
            flushed => flushed,
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // of one that has its name there is nothing here
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes what killed processes left half written in a folder, and nothing else.
fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_aside)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(entry.path()); // another writer may have been first
        }
    }
}

/// Whether [`Aside::new`] gives such names.
fn is_aside(name: &str) -> bool {
    let numbers = name.strip_prefix(".mambacl-").and_then(|rest| rest.strip_suffix(".partial"));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.and_then(|numbers| numbers.split_once('-')).is_some_and(|(one, two)| number(one) && number(two))
}

/// What symbolic links lead to, which need not be there.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        if !path.is_symlink() {
            return Ok(path);
        }
        // What a process has open, as /dev/stdout leads to.
        if fs::canonicalize(folder(&path)).is_ok_and(|folder| folder.starts_with("/proc")) {
            return Err(irregular());
        }
        path = folder(&path).join(fs::read_link(&path)?);
    }
    Err(io::Error::other("its symbolic links lead in a circle"))
}

/// What is known of a regular file, None where there is nothing.
fn regular(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Ok(found) if found.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(found) if !found.is_file() => Err(irregular()), // not to be replaced by one
        found => found.map(Some),
    }
}

fn refused(path: &Path, what: &str, error: &io::Error) -> Error {
    Error::File { file: path.display().to_string(), reason: format!("{what}: {error}") }
}

fn irregular() -> io::Error {
    io::Error::other("it is no regular file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_again_replaces_nothing() {
        let folder = std::env::temp_dir().join(format!("mambacl-unreadable-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("file");
        write(&path, b"good", |back| {
            assert_eq!(back, b"good");
            assert!(!path.exists(), "it has no name yet");
            Ok(())
        })
        .unwrap();
        let refuse = |_: &[u8]| Err(refused(&path, "is damaged", &irregular()));
        assert!(write(&path, b"other", refuse).unwrap_err().to_string().contains("is damaged"));
        assert_eq!(read(&path).unwrap(), b"good");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
