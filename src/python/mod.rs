//! The one doorway to Python: the extension module `mambacl._core`.
//!
//! Tensors come in and go out as they are, the GIL is released while the engine runs, and errors are
//! exceptions of `mambacl.errors`. What users call lives in the Python package around it.

mod episode;
mod errors;
mod files;
mod learner;
mod ops;
mod tensor;
mod thread_state;

use pyo3::prelude::*;

/// The engine of mambacl; use the package `mambacl`, which documents and checks what lies here.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // The C++ objects behind tensors can be touched once torch has been imported, not before.
    module.py().import("torch")?;
    // A second initialisation in one process finds the logger set: that is fine.
    // Levels are asked for each time: users set them after the import.
    let _ = pyo3_log::Logger::new(module.py(), pyo3_log::Caching::Nothing)?.install();
    // A panic becomes a TorchError (errors.rs): the default hook would print it as well. The hook is
    // that of this library alone.
    std::panic::set_hook(Box::new(|panic| log::debug!("{panic}")));
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(ops::check_selective_scan, module)?)?;
    module.add_function(wrap_pyfunction!(ops::reference_selective_scan, module)?)?;
    module.add_function(wrap_pyfunction!(ops::check_causal_conv1d, module)?)?;
    module.add_function(wrap_pyfunction!(ops::reference_causal_conv1d, module)?)?;
    module.add_class::<learner::Learner>()?;
    module.add_function(wrap_pyfunction!(learner::settings_schema, module)?)?;
    module.add_function(wrap_pyfunction!(learner::encoder_input_shape, module)?)?;
    module.add_function(wrap_pyfunction!(learner::draw_codebook, module)?)?;
    module.add_function(wrap_pyfunction!(files::fingerprint, module)?)?;
    module.add_function(wrap_pyfunction!(files::pack_learner, module)?)?;
    module.add_function(wrap_pyfunction!(files::unpack_learner, module)?)?;
    module.add_function(wrap_pyfunction!(files::pack_state, module)?)?;
    module.add_function(wrap_pyfunction!(files::unpack_state, module)?)?;
    module.add_function(wrap_pyfunction!(episode::plan_episode, module)?)?;
    module.add_function(wrap_pyfunction!(episode::uniforms, module)?)?;
    module.add_function(wrap_pyfunction!(ops::has_numbers, module)?)?;
    module.add_function(wrap_pyfunction!(ops::simd_level, module)?)?;
    module.add_function(wrap_pyfunction!(ops::nvrtc_version, module)?)?;
    module.add_function(wrap_pyfunction!(ops::compile_cuda_kernels, module)?)?;
    Ok(())
}
