//! Files on the disk: read whole, and written whole or not at all.

use super::container::refused;
use crate::error::Result;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Files that this process has written: threads that write under one name do it aside of one another.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// Reads a regular file: a pipe or a device might have no end.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    let read = || match fs::metadata(path)?.is_file() {
        true => fs::read(path),
        false => Err(io::Error::other("it is no regular file")),
    };
    read().map_err(|error| refused(&path.display().to_string(), format!("cannot be read: {error}")))
}

/// Writes a file aside, flushes it to the disk, and gives it its name at once: a crash or a full disk never
/// leaves half of one under its name, and one that was there stays until it is replaced.
///
/// # Errors
/// [`Error::File`](crate::error::Error::File) when it cannot be written.
pub fn write(path: &Path, data: &[u8]) -> Result<()> {
    let write = || {
        let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Ordering::Relaxed));
        let aside = path.with_file_name(format!(".{}.{process}.{number}.partial", name.display()));
        let written = write_through(&aside, data).and_then(|()| fs::rename(&aside, path));
        if written.is_err() {
            let _ = fs::remove_file(&aside); // the first error says more
        }
        written?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| refused(&path.display().to_string(), format!("could not be written: {error}")))
}

fn write_through(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(data)?;
    file.sync_all()
}
