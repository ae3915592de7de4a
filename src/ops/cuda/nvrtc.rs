//! NVRTC, NVIDIA's compiler as a library: found beside torch, and called.

use super::Source;
use crate::error::{Error, Result};
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

unsafe extern "C" {
    /// The path of the libtorch that this process runs on, null where the loader does not know.
    fn mambacl_torch_library() -> *const c_char;
}

/// Compiles for an architecture, without a device: "sm_90" gives a cubin, "compute_90" PTX.
///
/// # Errors
/// Where NVRTC is not found, does not know the architecture, or refuses the source: then with its log.
pub fn compile(source: &Source, defines: &[(&str, String)], architecture: &str) -> Result<Vec<u8>> {
    Ok(compiled(source, defines, architecture, &[])?.0)
}

/// What the assembler tells of the registers and the spilled bytes of each entry.
#[cfg(test)]
pub(crate) fn resources(source: &Source, defines: &[(&str, String)], architecture: &str) -> Result<String> {
    Ok(compiled(source, defines, architecture, &["--ptxas-options=-v"])?.1)
}

/// The image and the log.
fn compiled(
    source: &Source,
    defines: &[(&str, String)],
    architecture: &str,
    more: &[&str],
) -> Result<(Vec<u8>, String)> {
    version()?;
    let options: Vec<String> =
        ["--std=c++17".into(), "-lineinfo".into(), format!("--gpu-architecture={architecture}")]
            .into_iter()
            .chain(defines.iter().map(|(name, value)| format!("--define-macro={name}={value}")))
            .chain(more.iter().map(|option| (*option).into()))
            .collect();
    let text = CString::new(source.text).map_err(|_| failed(source, "its text has a NUL"))?;
    let name = CString::new(format!("{}.cu", source.name)).unwrap_or_default();
    let program = result::create_program(&text, Some(&name)).map_err(|error| failed(source, error))?;
    // SAFETY: the program lives until the end of this function, its text and name longer.
    unsafe {
        let status = result::compile_program(program, &options);
        let log = result::get_program_log(program).map(text_of).unwrap_or_default();
        let compiled =
            status.map_err(|error| failed(source, format!("{error} for {architecture}: {}", log.trim())));
        let image = compiled.and_then(|()| {
            image(program, architecture.starts_with("compute_")).map_err(|error| failed(source, error))
        });
        // What cannot be destroyed is leaked, and no reason to lose the image.
        let _ = result::destroy_program(program);
        Ok((image?, log))
    }
}

/// # Safety
/// The program must be compiled and alive.
unsafe fn image(program: sys::nvrtcProgram, ptx: bool) -> std::result::Result<Vec<u8>, result::NvrtcError> {
    let mut size = 0;
    // SAFETY: the caller's; the image has as many bytes as NVRTC said.
    unsafe {
        if ptx {
            return Ok(result::get_ptx(program)?.into_iter().map(|byte| byte as u8).collect());
        }
        sys::nvrtcGetCUBINSize(program, &raw mut size).result()?;
        let mut image = vec![0u8; size];
        sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result()?;
        Ok(image)
    }
}

/// The architecture to compile for, for a device of this compute capability: its own where this NVRTC knows it,
/// else PTX of the newest that it knows below, which the driver translates.
///
/// # Errors
/// Where NVRTC is not found, or knows only newer ones.
pub(super) fn architecture(capability: u32) -> Result<String> {
    let known = known()?;
    if known.contains(&capability) {
        return Ok(format!("sm_{capability}"));
    }
    let below = known.iter().filter(|&&other| other < capability).max();
    below.map(|newest| format!("compute_{newest}")).ok_or_else(|| Error::Cuda {
        reason: format!("NVRTC compiles for compute capabilities {known:?}, and this GPU has {capability}"),
    })
}

/// Compute capabilities that this NVRTC compiles for, as 10 major + minor.
fn known() -> Result<Vec<u32>> {
    version()?;
    let mut count = 0;
    // SAFETY: NVRTC writes a number, then as many.
    unsafe {
        sys::nvrtcGetNumSupportedArchs(&raw mut count).result().map_err(unusable)?;
        let mut known = vec![0i32; usize::try_from(count).unwrap_or(0)];
        sys::nvrtcGetSupportedArchs(known.as_mut_ptr()).result().map_err(unusable)?;
        Ok(known.into_iter().filter_map(|capability| u32::try_from(capability).ok()).collect())
    }
}

/// NVRTC's version, (major, minor); the first call looks for the library.
///
/// # Errors
/// Where it is not found.
pub fn version() -> Result<(i32, i32)> {
    static VERSION: OnceLock<std::result::Result<(i32, i32), String>> = OnceLock::new();
    let version = VERSION.get_or_init(|| open(beside_torch().as_deref()).map_err(|error| error.to_string()));
    version.clone().map_err(|reason| Error::Cuda { reason })
}

fn open(packages: Option<&Path>) -> std::result::Result<(i32, i32), String> {
    for library in packages.map(libraries).unwrap_or_default() {
        // cudarc opens by name: the loader then gives what is open already. Never closed: it is used to the end.
        // SAFETY: NVIDIA's libraries, of the packages that torch loads too.
        let opened = unsafe {
            let flags = libloading::os::unix::RTLD_NOW | libloading::os::unix::RTLD_GLOBAL;
            libloading::os::unix::Library::open(Some(&library), flags)
        };
        match opened {
            Ok(library) => std::mem::forget(library),
            Err(error) => log::warn!("{} does not open: {error}", library.display()),
        }
    }
    // SAFETY: opens libraries by NVRTC's names, and writes two numbers.
    unsafe {
        if !sys::is_culib_present() {
            return Err(missing(packages));
        }
        let (mut major, mut minor) = (0, 0);
        sys::nvrtcVersion(&raw mut major, &raw mut minor).result().map_err(|error| error.to_string())?;
        Ok((major, minor))
    }
}

fn missing(packages: Option<&Path>) -> String {
    let looked =
        packages.map_or(String::new(), |folder| format!("in {} and ", folder.join("nvidia").display()));
    format!(
        "NVRTC, the compiler of the kernels, was not found (looked {looked}where the loader looks). It comes with \
         torch for CUDA; `pip install nvidia-cuda-nvrtc` (`nvidia-cuda-nvrtc-cu12` for CUDA 12) installs it by itself"
    )
}

/// The folder of Python packages that has the torch of this process.
fn beside_torch() -> Option<PathBuf> {
    // SAFETY: null or a text that the loader keeps.
    let path = unsafe {
        let path = mambacl_torch_library();
        (!path.is_null()).then(|| CStr::from_ptr(path))?
    };
    // .../site-packages/torch/lib/libtorch_cpu.so
    let library = Path::new(OsStr::from_bytes(path.to_bytes())).canonicalize().ok()?;
    library.ancestors().nth(3).map(Path::to_path_buf)
}

/// NVRTC's libraries among the packages, of one of NVIDIA's only, and what it needs before itself: it looks for
/// its builtins by name, and finds them where they are open already.
fn libraries(packages: &Path) -> Vec<PathBuf> {
    let listed = |folder: &Path| -> Vec<PathBuf> {
        let mut paths: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let beginning = |paths: &[PathBuf], start: &str| {
        // "libnvrtc.alt.so.13" is the same compiler in another variant.
        let named =
            |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
        paths.iter().find(named).cloned()
    };
    let folders = listed(&packages.join("nvidia")).into_iter().rev().map(|package| package.join("lib"));
    let found = folders.map(|folder| listed(&folder)).find_map(|paths| {
        let compiler = beginning(&paths, "libnvrtc.so.")?;
        Some(beginning(&paths, "libnvrtc-builtins.so.").into_iter().chain([compiler]).collect())
    });
    found.unwrap_or_default()
}

fn failed(source: &Source, reason: impl std::fmt::Display) -> Error {
    Error::Cuda { reason: format!("compiling {}.cu: {reason}", source.name) }
}

fn unusable(error: result::NvrtcError) -> Error {
    Error::Cuda { reason: format!("NVRTC: {error}") }
}

fn text_of(log: Vec<c_char>) -> String {
    let bytes: Vec<u8> = log.into_iter().map(|byte| byte as u8).take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADD: Source = Source {
        name: "add",
        text: "extern \"C\" __global__ void add(NUMBER* x) { x[threadIdx.x] += NUMBER(1); }",
    };

    fn number(name: &str) -> [(&'static str, String); 1] {
        [("NUMBER", name.into())]
    }

    #[test]
    fn compiles_for_architectures_without_a_device() {
        for architecture in ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100"] {
            let image = compile(&ADD, &number("float"), architecture).unwrap();
            assert_eq!(image[..4], *b"\x7fELF", "{architecture}");
        }
        let ptx = compile(&ADD, &number("double"), "compute_80").unwrap();
        assert!(String::from_utf8_lossy(&ptx).contains(".target sm_80"));
    }

    #[test]
    fn what_it_refuses_it_explains() {
        let error = compile(&ADD, &number("no_such_type"), "sm_90").unwrap_err().to_string();
        assert!(error.contains("add.cu") && error.contains("no_such_type"), "{error}");
        let error = compile(&ADD, &number("float"), "sm_1").unwrap_err().to_string();
        assert!(error.contains("sm_1"), "{error}");
    }

    #[test]
    fn an_architecture_that_it_does_not_know_is_left_to_the_driver() {
        let newest = *known().unwrap().iter().max().unwrap();
        assert_eq!(architecture(90).unwrap(), "sm_90");
        assert_eq!(architecture(newest + 1).unwrap(), format!("compute_{newest}"));
        assert!(architecture(10).unwrap_err().to_string().contains("this GPU has 10"));
    }

    #[test]
    fn is_found_beside_torch_with_its_builtins_first() {
        let found = libraries(&beside_torch().unwrap());
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_string_lossy()).collect();
        assert_eq!(names.len(), 2);
        assert!(names[0].starts_with("libnvrtc-builtins.so."), "{names:?}");
        assert!(names[1].starts_with("libnvrtc.so."), "{names:?}");
    }

    #[test]
    fn where_it_is_missing_the_error_says_what_to_install() {
        let folder = Path::new("/nowhere/site-packages");
        assert!(libraries(folder).is_empty());
        let text = missing(Some(folder));
        assert!(
            text.contains("pip install nvidia-cuda-nvrtc") && text.contains("/nowhere/site-packages/nvidia")
        );
    }
}
