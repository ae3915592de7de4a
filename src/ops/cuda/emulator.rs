//! Kernels of the GPU on the CPU, for tests: `emulator.h` says how.

use super::{Grid, Kernel};
use libloading::Library;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// The order in which threads run between barriers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    Forwards = 0,
    Backwards = 1,
    Shuffled = 2,
}

thread_local! {
    static ORDER: Cell<Order> = const { Cell::new(Order::Forwards) };
}

/// Runs something whose kernels take their threads in an order.
pub(crate) fn with_order<T>(order: Order, run: impl FnOnce() -> T) -> T {
    let before = ORDER.replace(order);
    let result = run();
    ORDER.set(before);
    result
}

/// Numbers on either side of what a kernel may write.
const GUARD: i64 = 64;

thread_local! {
    static GUARDED: RefCell<Vec<Tensor>> = const { RefCell::new(Vec::new()) };
}

/// Memory full of NaN, so that what a kernel fails to write is seen, between guards, which [`launch`] looks at.
pub(crate) fn guarded(shape: &[i64], kind: Kind) -> Tensor {
    let numbers: i64 = shape.iter().product();
    let whole = Tensor::full([numbers + 2 * GUARD], f64::NAN, (kind, Device::Cpu));
    GUARDED.with_borrow_mut(|guarded| guarded.push(whole.shallow_clone()));
    whole.narrow(0, GUARD, numbers).view(shape)
}

/// The same numbers as a part of something larger that holds NaN around them.
pub(crate) fn amid_nan(tensor: &Tensor) -> Tensor {
    let around: Vec<_> = tensor.size().iter().map(|size| size + 2).collect();
    let mut part = Tensor::full(around, f64::NAN, (tensor.kind(), Device::Cpu));
    for (axis, size) in tensor.size().into_iter().enumerate() {
        part = part.narrow(axis as i64, 1, size);
    }
    part.copy_(tensor);
    part
}

/// Whether results are what they should be, as near as their types allow, in the measure of the largest.
pub(crate) fn assert_near(case: &str, got: &[Tensor], wanted: &[Tensor]) {
    assert_eq!(got.len(), wanted.len());
    for (place, (got, want)) in got.iter().zip(wanted).enumerate() {
        assert_eq!(got.size(), want.size(), "{case}, result {place}");
        if got.numel() == 0 {
            continue;
        }
        let tolerance = match got.kind() {
            Kind::Double => 1e-12,
            Kind::Half => 1e-3,
            Kind::BFloat16 => 8e-3,
            _ => 1e-5,
        };
        let scale = want.abs().max().double_value(&[]).max(1e-3);
        let distance = (got.to_kind(Kind::Double) - want).abs().max().double_value(&[]);
        assert!(distance <= tolerance * scale, "{case}, result {place}: {distance} of {scale}");
    }
}

fn check_guards(entry: &str) {
    GUARDED.with_borrow(|guarded| {
        for whole in guarded {
            let end = whole.numel() as i64 - GUARD;
            let guards = Tensor::cat(&[whole.narrow(0, 0, GUARD), whole.narrow(0, end, GUARD)], 0);
            assert!(bool::try_from(guards.isnan().all()).unwrap(), "{entry} writes where it must not");
        }
    });
}

type Emulate = unsafe extern "C" fn(*const u32, *const u32, *const c_void, usize, c_int) -> c_int;

/// Runs a kernel whose only argument is `task`; the pointers in it are of the CPU.
///
/// # Safety
/// As for a launch on a device.
pub(crate) unsafe fn launch<Task>(kernel: &Kernel, grid: &Grid, task: &Task) {
    let emulate = compiled(kernel);
    let triple = |(x, y, z)| [x, y, z];
    let (blocks, threads) = (triple(grid.blocks), triple(grid.threads));
    let order = ORDER.get() as c_int;
    // Shared memory is static: one kernel at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the signature is that of `EMULATE` in emulator.h, which checks the size of the task.
    let status = unsafe {
        emulate(blocks.as_ptr(), threads.as_ptr(), (&raw const *task).cast(), size_of::<Task>(), order)
    };
    drop(one);
    let entry = kernel.entry;
    assert_ne!(status, 1, "{entry}: the task has another size in CUDA C than {} bytes", size_of::<Task>());
    assert_ne!(status, 2, "{entry}: threads wait at different barriers");
    check_guards(entry);
}

/// The kernel as a function, compiled once by each process.
fn compiled(kernel: &Kernel) -> Emulate {
    static LIBRARIES: Mutex<Option<HashMap<String, Emulate>>> = Mutex::new(None);
    let options: Vec<_> = kernel.defines.iter().map(|(name, value)| format!("-D{name}={value}")).collect();
    let key = format!("{} {}", kernel.entry, options.join(" "));
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let libraries = libraries.get_or_insert_default();
    if let Some(emulate) = libraries.get(&key) {
        return *emulate;
    }
    let folder = std::env::temp_dir().join(format!("mambacl-emulator-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, library) = (folder.join("kernel.cpp"), folder.join(format!("{}.so", libraries.len())));
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops/cuda/emulator.h");
    let text =
        format!("#include \"{}\"\n{}\nEMULATE({})\n", header.display(), kernel.source.text, kernel.entry);
    std::fs::write(&source, text).unwrap();
    let output = Command::new(std::env::var_os("CXX").unwrap_or("c++".into()))
        .args(["-std=c++17", "-O1", "-w", "-fno-gnu-unique", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .args(&options)
        .output()
        .expect("a C++ compiler");
    assert!(output.status.success(), "{key}: {}", String::from_utf8_lossy(&output.stderr));
    // SAFETY: the library has just been made and defines `emulate` with this signature. It stays open.
    let emulate = unsafe {
        let library = Library::new(&library).expect("the library has just been made");
        let emulate = *library.get::<Emulate>(b"emulate").expect("EMULATE defines it");
        std::mem::forget(library);
        emulate
    };
    std::fs::remove_dir_all(&folder).unwrap();
    libraries.insert(key, emulate);
    emulate
}
