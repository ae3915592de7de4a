//! Compiles the one C++ file and tells the linker where libtorch lies.

use std::path::PathBuf;

fn main() {
    // torch-sys, a direct dependency, passes this on.
    let library =
        PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys states where libtorch lies"));
    let include = library.parent().expect("libtorch lies in torch/lib").join("include");

    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/ops/autograd.cpp");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .pic(true)
        .warnings(false)
        // at::parallel_for is a template: without OpenMP it would run on one thread.
        .flag("-fopenmp")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("src/ops/autograd.cpp")
        .compile("mambacl_autograd");
    println!("cargo:rustc-link-lib=gomp");

    if std::env::var_os("CARGO_FEATURE_PYTHON").is_some() {
        // In a wheel mambacl/ and torch/ are neighbours; `import torch` has loaded the rest.
        println!("cargo:rustc-link-arg-cdylib=-Wl,-rpath,$ORIGIN/../torch/lib");
    } else {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
        // Without it the linker drops the libraries that register the CUDA backend.
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-link-arg=-ltorch");
    }
}
