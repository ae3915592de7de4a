//! Compiled kernels on disk, so that a process does not wait for what another has compiled.
//!
//! A file is a digest and the image that it is of. It appears whole by renaming; one that is damaged is compiled
//! and written anew, and a folder that cannot be written is no error: the image is used all the same.

use super::{Source, nvrtc};
use crate::disk;
use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The image of a source for an architecture: read, or compiled and written.
///
/// # Errors
/// As [`nvrtc::compile`].
pub(super) fn image(source: &Source, defines: &[(&str, String)], architecture: &str) -> Result<Vec<u8>> {
    image_in(folder().as_deref(), source, defines, architecture)
}

fn image_in(
    folder: Option<&Path>,
    source: &Source,
    defines: &[(&str, String)],
    architecture: &str,
) -> Result<Vec<u8>> {
    let Some(folder) = folder else { return nvrtc::compile(source, defines, architecture) };
    let key = key(source, defines, architecture, nvrtc::version()?);
    let file = folder.join(format!("{}-{architecture}-{key}.bin", source.name));
    if let Some(image) = read(&file) {
        return Ok(image);
    }
    let image = nvrtc::compile(source, defines, architecture)?;
    if let Err(error) = write(folder, &file, &image) {
        log::debug!("{} is not written: {error}", file.display());
    }
    Ok(image)
}

/// `MAMBACL_CUDA_CACHE`, empty for none; else in the user's folder for caches.
fn folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if std::env::var_os("MAMBACL_CUDA_CACHE").is_some() {
        return set("MAMBACL_CUDA_CACHE");
    }
    let caches = set("XDG_CACHE_HOME").filter(|path| path.is_absolute());
    Some(caches.or_else(|| Some(set("HOME")?.join(".cache")))?.join("mambacl").join("cuda"))
}

/// Of all that decides what the compiler makes.
fn key(source: &Source, defines: &[(&str, String)], architecture: &str, compiler: (i32, i32)) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    part(env!("CARGO_PKG_VERSION"));
    part(&format!("{compiler:?}"));
    part(architecture);
    part(source.text);
    for (name, value) in defines {
        part(name);
        part(value);
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(file: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    let (digest, image) = bytes.split_at_checked(32)?;
    (Sha256::digest(image)[..] == *digest).then(|| image.to_vec())
}

fn write(folder: &Path, file: &Path, image: &[u8]) -> Result<()> {
    let made = std::fs::create_dir_all(folder);
    made.map_err(|error| Error::Cuda { reason: format!("{} is no folder: {error}", folder.display()) })?;
    disk::write(file, &[&Sha256::digest(image)[..], image].concat(), |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: Source =
        Source { name: "cached", text: "extern \"C\" __global__ void add(float* x) { *x += AMOUNT; }" };

    fn amount(amount: i32) -> Vec<(&'static str, String)> {
        vec![("AMOUNT", amount.to_string())]
    }

    /// A folder of this test's own, which is removed with all that is in it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("mambacl-cuda-{name}-{}", std::process::id())))
        }
        fn files(&self) -> Vec<PathBuf> {
            std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_compiled_is_read() {
        let folder = Folder::new("read");
        let image = |defines: &[_]| image_in(Some(&folder.0), &ADD, defines, "sm_80").unwrap();
        let one = image(&amount(1));
        let [file] = &folder.files()[..] else { panic!("one file") };
        // Another image with its right digest is taken for what it says it is.
        write(&folder.0, file, b"another").unwrap();
        assert_eq!(image(&amount(1)), b"another");
        assert_ne!(image(&amount(2)), one);
        assert_eq!(folder.files().len(), 2);
    }

    #[test]
    fn a_damaged_file_is_compiled_and_written_anew() {
        let folder = Folder::new("damaged");
        let image = || image_in(Some(&folder.0), &ADD, &amount(1), "sm_80").unwrap();
        let whole = image();
        let file = folder.files().remove(0);
        let bytes = std::fs::read(&file).unwrap();
        let flipped = [&bytes[..100], &[bytes[100] ^ 1], &bytes[101..]].concat();
        for damaged in [&bytes[..bytes.len() - 1], &bytes[..31], b"", &flipped] {
            std::fs::write(&file, damaged).unwrap();
            assert_eq!(image(), whole);
            assert_eq!(std::fs::read(&file).unwrap(), bytes);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let folder = Folder::new("file");
        std::fs::write(&folder.0, "a file where the folder should be").unwrap();
        let image = image_in(Some(&folder.0), &ADD, &amount(1), "sm_80").unwrap();
        assert_eq!(image[..4], *b"\x7fELF");
        std::fs::remove_file(&folder.0).unwrap();
    }

    #[test]
    fn threads_write_at_once() {
        let folder = Folder::new("threads");
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| image_in(Some(&folder.0), &ADD, &amount(1), "sm_80").unwrap()))
                .collect();
            let all: Vec<_> = all.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        });
        let [file] = &folder.files()[..] else { panic!("no partial file stays: {:?}", folder.files()) };
        assert!(read(file).is_some());
    }

    /// What each process of the next test does; elsewhere nothing.
    #[test]
    fn in_the_folder_of_a_test() {
        if std::env::var_os("MAMBACL_TEST_OF_PROCESSES").is_some() {
            assert_eq!(image(&ADD, &amount(1), "sm_80").unwrap()[..4], *b"\x7fELF");
        }
    }

    #[test]
    fn processes_write_at_once() {
        let folder = Folder::new("processes");
        let start = || {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "ops::cuda::cache::tests::in_the_folder_of_a_test"])
                .envs([
                    ("MAMBACL_TEST_OF_PROCESSES", "1".as_ref()),
                    ("MAMBACL_CUDA_CACHE", folder.0.as_os_str()),
                ])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        let started: Vec<_> = (0..3).map(|_| start()).collect();
        assert!(started.into_iter().all(|mut process| process.wait().unwrap().success()));
        let [file] = &folder.files()[..] else { panic!("no partial file stays: {:?}", folder.files()) };
        assert!(read(file).is_some());
    }

    #[test]
    fn all_that_decides_the_image_is_in_its_key() {
        let this = key(&ADD, &amount(1), "sm_80", (13, 0));
        assert_eq!(this, key(&ADD, &amount(1), "sm_80", (13, 0)));
        let other = Source { name: "cached", text: "" };
        let others = [
            key(&other, &amount(1), "sm_80", (13, 0)),
            key(&ADD, &amount(2), "sm_80", (13, 0)),
            key(&ADD, &[], "sm_80", (13, 0)),
            key(&ADD, &amount(1), "sm_86", (13, 0)),
            key(&ADD, &amount(1), "sm_80", (13, 1)),
        ];
        assert!(others.iter().all(|other| *other != this));
    }
}
