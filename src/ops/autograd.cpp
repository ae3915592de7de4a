// The border to libtorch's C++: the operators as the dispatcher knows them, their autograd rules, and
// libtorch's threads. No arithmetic lives here: kernels are Rust functions that take and give tensors.
//
// The forward and the backward of an operator are both dispatcher operators, and the autograd rule
// calls them through the dispatcher, so that torch.compile can trace either.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;
using MaybeTensor = std::optional<Tensor>;

// Kernels in Rust. `inputs` are borrowed, null where absent; `outputs` receive owned tensors, null
// where there is none. A status other than 0 means `mambacl_kernel_error` says why.
using Forward = int32_t(const Tensor* const* inputs, bool option, bool return_final, Tensor** outputs);
using Backward = int32_t(const Tensor* const* inputs, bool option, Tensor** outputs);
extern "C" {
Forward mambacl_selective_scan_cpu, mambacl_selective_scan_cuda;
Backward mambacl_selective_scan_backward_cpu, mambacl_selective_scan_backward_cuda;
Forward mambacl_causal_conv1d_cpu, mambacl_causal_conv1d_cuda;
Backward mambacl_causal_conv1d_backward_cpu, mambacl_causal_conv1d_backward_cuda;
const char* mambacl_kernel_error();
}

namespace {

const Tensor* pointer(const Tensor& tensor) { return &tensor; }
const Tensor* pointer(const MaybeTensor& tensor) { return tensor ? &*tensor : nullptr; }

// Takes ownership of what a kernel gave; an absent result becomes an empty tensor, since an operator
// must return a tensor in each place.
Tensor take(Tensor* given, const Tensor& like) {
  if (given == nullptr) return at::empty({0}, like.options());
  Tensor tensor = std::move(*given);
  delete given;
  return tensor;
}

// Whether a tensor's memory was given back, as FSDP does between uses: torch's own kernels would read from
// address 0.
bool freed(const Tensor& tensor) {
  return tensor.has_storage() && tensor.storage().nbytes() == 0 && tensor.numel() > 0;
}

template <size_t count>
void check_memory(const std::array<const Tensor*, count>& inputs) {
  for (const Tensor* input : inputs) {
    TORCH_CHECK_VALUE(
        input == nullptr || !freed(*input), "an argument is a tensor whose memory was freed");
  }
}

void check(int32_t status) { TORCH_CHECK(status == 0, mambacl_kernel_error()); }

Tensor present(const MaybeTensor& given, const Tensor& gradient) {
  return given ? gradient : Tensor();
}
Tensor or_undefined(const MaybeTensor& tensor) { return tensor.value_or(Tensor()); }
std::vector<Tensor> given(std::initializer_list<MaybeTensor> tensors) {
  std::vector<Tensor> given;
  for (const MaybeTensor& tensor : tensors) {
    if (tensor) given.push_back(*tensor);
  }
  return given;
}
MaybeTensor or_absent(const Tensor& tensor) {
  return tensor.defined() ? MaybeTensor(tensor) : std::nullopt;
}

template <class Signature>
auto find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

// A backward pass whose kernels read raw memory has no derivative. Without this rule a second
// derivative would silently be zero.
struct DifferentiableOnce : Function<DifferentiableOnce> {
  template <class Run>
  static variable_list forward(
      AutogradContext* ctx, at::TensorList, const char* name, const Run& run) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->saved_data["name"] = std::string(name);
    return run();
  }
  static variable_list backward(AutogradContext* ctx, variable_list) {
    const auto name = ctx->saved_data["name"].toStringRef();
    TORCH_CHECK_NOT_IMPLEMENTED(
        false, "mambacl::", name, " can be differentiated once only; mambacl.ops.reference.", name,
        " computes the same and can be differentiated any number of times");
  }
};

// --- selective_scan ---

using ScanSignature = std::tuple<Tensor, Tensor>(
    const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
    const MaybeTensor& D, const MaybeTensor& z, const MaybeTensor& delta_bias, bool delta_softplus,
    const MaybeTensor& initial_state, bool return_final_state, const MaybeTensor& lengths);
using ScanBackwardSignature = std::vector<Tensor>(
    const Tensor& dy, const MaybeTensor& dfinal_state, const Tensor& u, const Tensor& delta,
    const Tensor& A, const Tensor& B, const Tensor& C, const MaybeTensor& D, const MaybeTensor& z,
    const MaybeTensor& delta_bias, bool delta_softplus, const MaybeTensor& initial_state,
    const MaybeTensor& lengths);

template <Forward kernel>
std::tuple<Tensor, Tensor> scan(
    const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
    const MaybeTensor& D, const MaybeTensor& z, const MaybeTensor& delta_bias, bool delta_softplus,
    const MaybeTensor& initial_state, bool return_final_state, const MaybeTensor& lengths) {
  const std::array<const Tensor*, 10> inputs{
      &u, &delta, &A, &B, &C, pointer(D), pointer(z), pointer(delta_bias), pointer(initial_state),
      pointer(lengths)};
  check_memory(inputs);
  std::array<Tensor*, 2> outputs{};
  check(kernel(inputs.data(), delta_softplus, return_final_state, outputs.data()));
  return {take(outputs[0], u), take(outputs[1], u)};
}

template <Backward kernel>
std::vector<Tensor> scan_backward(
    const Tensor& dy, const MaybeTensor& dfinal_state, const Tensor& u, const Tensor& delta,
    const Tensor& A, const Tensor& B, const Tensor& C, const MaybeTensor& D, const MaybeTensor& z,
    const MaybeTensor& delta_bias, bool delta_softplus, const MaybeTensor& initial_state,
    const MaybeTensor& lengths) {
  const std::array<const Tensor*, 12> inputs{
      &u, &delta, &A, &B, &C, pointer(D), pointer(z), pointer(delta_bias), pointer(initial_state),
      pointer(lengths), &dy, pointer(dfinal_state)};
  check_memory(inputs);
  std::array<Tensor*, 9> outputs{};
  check(kernel(inputs.data(), delta_softplus, outputs.data()));
  std::vector<Tensor> gradients;
  for (Tensor* output : outputs) gradients.push_back(take(output, u));
  return gradients;
}

struct Scan : Function<Scan> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B,
      const Tensor& C, const MaybeTensor& D, const MaybeTensor& z, const MaybeTensor& delta_bias,
      bool delta_softplus, const MaybeTensor& initial_state, bool return_final_state,
      const MaybeTensor& lengths) {
    static const auto op = find<ScanSignature>("mambacl::selective_scan");
    at::AutoDispatchBelowADInplaceOrView below;
    auto [y, final_state] = op.call(
        u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state, return_final_state,
        lengths);
    ctx->save_for_backward(
        {u, delta, A, B, C, or_undefined(D), or_undefined(z), or_undefined(delta_bias),
         or_undefined(initial_state), or_undefined(lengths)});
    ctx->saved_data["delta_softplus"] = delta_softplus;
    ctx->saved_data["return_final_state"] = return_final_state;
    if (!return_final_state) ctx->mark_non_differentiable({final_state});
    return {y, final_state};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    static const auto op = find<ScanBackwardSignature>("mambacl::selective_scan_backward");
    const auto saved = ctx->get_saved_variables();
    const bool final_state = ctx->saved_data["return_final_state"].toBool();
    const auto D = or_absent(saved[5]), z = or_absent(saved[6]), delta_bias = or_absent(saved[7]),
               initial_state = or_absent(saved[8]), lengths = or_absent(saved[9]);
    const auto g = op.call(
        gradients[0], final_state ? MaybeTensor(gradients[1]) : std::nullopt, saved[0], saved[1],
        saved[2], saved[3], saved[4], D, z, delta_bias, ctx->saved_data["delta_softplus"].toBool(),
        initial_state, lengths);
    const Tensor none;
    return {
        g[0], g[1], g[2], g[3], g[4], present(D, g[5]), present(z, g[6]), present(delta_bias, g[7]),
        none, present(initial_state, g[8]), none, none};
  }
};

std::tuple<Tensor, Tensor> scan_autograd(
    const Tensor& u, const Tensor& delta, const Tensor& A, const Tensor& B, const Tensor& C,
    const MaybeTensor& D, const MaybeTensor& z, const MaybeTensor& delta_bias, bool delta_softplus,
    const MaybeTensor& initial_state, bool return_final_state, const MaybeTensor& lengths) {
  const auto results = Scan::apply(
      u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state, return_final_state,
      lengths);
  return {results[0], results[1]};
}

std::vector<Tensor> scan_backward_autograd(
    const Tensor& dy, const MaybeTensor& dfinal_state, const Tensor& u, const Tensor& delta,
    const Tensor& A, const Tensor& B, const Tensor& C, const MaybeTensor& D, const MaybeTensor& z,
    const MaybeTensor& delta_bias, bool delta_softplus, const MaybeTensor& initial_state,
    const MaybeTensor& lengths) {
  static const auto op = find<ScanBackwardSignature>("mambacl::selective_scan_backward");
  const auto inputs =
      given({dy, dfinal_state, u, delta, A, B, C, D, z, delta_bias, initial_state});
  return DifferentiableOnce::apply(at::TensorList(inputs), "selective_scan", [&] {
    return op.call(
        dy, dfinal_state, u, delta, A, B, C, D, z, delta_bias, delta_softplus, initial_state,
        lengths);
  });
}

// --- causal_conv1d ---

using ConvSignature = std::tuple<Tensor, Tensor>(
    const Tensor& x, const Tensor& weight, const MaybeTensor& bias, bool silu,
    const MaybeTensor& initial_window, bool return_final_window, const MaybeTensor& lengths);
using ConvBackwardSignature = std::vector<Tensor>(
    const Tensor& dy, const MaybeTensor& dfinal_window, const Tensor& x, const Tensor& weight,
    const MaybeTensor& bias, bool silu, const MaybeTensor& initial_window,
    const MaybeTensor& lengths);

template <Forward kernel>
std::tuple<Tensor, Tensor> conv(
    const Tensor& x, const Tensor& weight, const MaybeTensor& bias, bool silu,
    const MaybeTensor& initial_window, bool return_final_window, const MaybeTensor& lengths) {
  const std::array<const Tensor*, 5> inputs{
      &x, &weight, pointer(bias), pointer(initial_window), pointer(lengths)};
  check_memory(inputs);
  std::array<Tensor*, 2> outputs{};
  check(kernel(inputs.data(), silu, return_final_window, outputs.data()));
  return {take(outputs[0], x), take(outputs[1], x)};
}

template <Backward kernel>
std::vector<Tensor> conv_backward(
    const Tensor& dy, const MaybeTensor& dfinal_window, const Tensor& x, const Tensor& weight,
    const MaybeTensor& bias, bool silu, const MaybeTensor& initial_window,
    const MaybeTensor& lengths) {
  const std::array<const Tensor*, 7> inputs{
      &x, &weight, pointer(bias), pointer(initial_window), pointer(lengths), &dy,
      pointer(dfinal_window)};
  check_memory(inputs);
  std::array<Tensor*, 4> outputs{};
  check(kernel(inputs.data(), silu, outputs.data()));
  std::vector<Tensor> gradients;
  for (Tensor* output : outputs) gradients.push_back(take(output, x));
  return gradients;
}

struct Conv : Function<Conv> {
  static variable_list forward(
      AutogradContext* ctx, const Tensor& x, const Tensor& weight, const MaybeTensor& bias,
      bool silu, const MaybeTensor& initial_window, bool return_final_window,
      const MaybeTensor& lengths) {
    static const auto op = find<ConvSignature>("mambacl::causal_conv1d");
    at::AutoDispatchBelowADInplaceOrView below;
    auto [y, final_window] =
        op.call(x, weight, bias, silu, initial_window, return_final_window, lengths);
    ctx->save_for_backward(
        {x, weight, or_undefined(bias), or_undefined(initial_window), or_undefined(lengths)});
    ctx->saved_data["silu"] = silu;
    ctx->saved_data["return_final_window"] = return_final_window;
    if (!return_final_window) ctx->mark_non_differentiable({final_window});
    return {y, final_window};
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    static const auto op = find<ConvBackwardSignature>("mambacl::causal_conv1d_backward");
    const auto saved = ctx->get_saved_variables();
    const bool final_window = ctx->saved_data["return_final_window"].toBool();
    const auto bias = or_absent(saved[2]), initial_window = or_absent(saved[3]),
               lengths = or_absent(saved[4]);
    const auto g = op.call(
        gradients[0], final_window ? MaybeTensor(gradients[1]) : std::nullopt, saved[0], saved[1],
        bias, ctx->saved_data["silu"].toBool(), initial_window, lengths);
    const Tensor none;
    return {g[0], g[1], present(bias, g[2]), none, present(initial_window, g[3]), none, none};
  }
};

std::tuple<Tensor, Tensor> conv_autograd(
    const Tensor& x, const Tensor& weight, const MaybeTensor& bias, bool silu,
    const MaybeTensor& initial_window, bool return_final_window, const MaybeTensor& lengths) {
  const auto results =
      Conv::apply(x, weight, bias, silu, initial_window, return_final_window, lengths);
  return {results[0], results[1]};
}

std::vector<Tensor> conv_backward_autograd(
    const Tensor& dy, const MaybeTensor& dfinal_window, const Tensor& x, const Tensor& weight,
    const MaybeTensor& bias, bool silu, const MaybeTensor& initial_window,
    const MaybeTensor& lengths) {
  static const auto op = find<ConvBackwardSignature>("mambacl::causal_conv1d_backward");
  const auto inputs = given({dy, dfinal_window, x, weight, bias, initial_window});
  return DifferentiableOnce::apply(at::TensorList(inputs), "causal_conv1d", [&] {
    return op.call(dy, dfinal_window, x, weight, bias, silu, initial_window, lengths);
  });
}

}  // namespace

TORCH_LIBRARY(mambacl, m) {
  m.def(
      "selective_scan(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, "
      "Tensor? delta_bias, bool delta_softplus, Tensor? initial_state, bool return_final_state, "
      "Tensor? lengths) -> (Tensor, Tensor)");
  m.def(
      "selective_scan_backward(Tensor dy, Tensor? dfinal_state, Tensor u, Tensor delta, Tensor A, "
      "Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? delta_bias, bool delta_softplus, "
      "Tensor? initial_state, Tensor? lengths) -> Tensor[]");
  m.def(
      "causal_conv1d(Tensor x, Tensor weight, Tensor? bias, bool silu, Tensor? initial_window, "
      "bool return_final_window, Tensor? lengths) -> (Tensor, Tensor)");
  m.def(
      "causal_conv1d_backward(Tensor dy, Tensor? dfinal_window, Tensor x, Tensor weight, "
      "Tensor? bias, bool silu, Tensor? initial_window, Tensor? lengths) -> Tensor[]");
}

TORCH_LIBRARY_IMPL(mambacl, CPU, m) {
  m.impl("selective_scan", scan<mambacl_selective_scan_cpu>);
  m.impl("selective_scan_backward", scan_backward<mambacl_selective_scan_backward_cpu>);
  m.impl("causal_conv1d", conv<mambacl_causal_conv1d_cpu>);
  m.impl("causal_conv1d_backward", conv_backward<mambacl_causal_conv1d_backward_cpu>);
}

TORCH_LIBRARY_IMPL(mambacl, CUDA, m) {
  m.impl("selective_scan", scan<mambacl_selective_scan_cuda>);
  m.impl("selective_scan_backward", scan_backward<mambacl_selective_scan_backward_cuda>);
  m.impl("causal_conv1d", conv<mambacl_causal_conv1d_cuda>);
  m.impl("causal_conv1d_backward", conv_backward<mambacl_causal_conv1d_backward_cuda>);
}

TORCH_LIBRARY_IMPL(mambacl, Autograd, m) {
  m.impl("selective_scan", scan_autograd);
  m.impl("selective_scan_backward", scan_backward_autograd);
  m.impl("causal_conv1d", conv_autograd);
  m.impl("causal_conv1d_backward", conv_backward_autograd);
}

// --- called from Rust ---

namespace {

thread_local std::string call_error;

MaybeTensor maybe(const Tensor* tensor) { return tensor ? MaybeTensor(*tensor) : std::nullopt; }

// Nothing is thrown into Rust: a status other than 0 means that `call_error` says why.
template <class Call>
int32_t attempt(const Call& call) noexcept {
  try {
    call();
    return 0;
  } catch (const c10::Error& error) {
    call_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    call_error = error.what();
  } catch (...) {
    call_error = "an exception of unknown type";
  }
  return 1;
}

using c10::DispatchKey;
using c10::DispatchKeySet;

// The keys of a tensor that is nothing but numbers in the memory of a CPU or GPU.
constexpr DispatchKeySet plain(
    {DispatchKey::CPU, DispatchKey::AutogradCPU, DispatchKey::AutocastCPU, DispatchKey::CUDA,
     DispatchKey::AutogradCUDA, DispatchKey::AutocastCUDA, DispatchKey::ADInplaceOrView});
// As above, or a lazy view of such a tensor.
constexpr DispatchKeySet lazy =
    plain | DispatchKeySet({DispatchKey::Conjugate, DispatchKey::Negative, DispatchKey::ZeroTensor});
// The keys of this thread while a mode, a tracer or a transform of torch sees each operation.
constexpr DispatchKeySet watching(
    {DispatchKey::Python, DispatchKey::PythonTLSSnapshot, DispatchKey::PreDispatch,
     DispatchKey::Functionalize, DispatchKey::FuncTorchDynamicLayerFrontMode,
     DispatchKey::FuncTorchDynamicLayerBackMode, DispatchKey::Tracer});

// Whether a mode, a tracer or a transform of torch sees each operation of this thread.
bool watched() {
  return c10::impl::TorchDispatchModeTLS::any_modes_set() ||
      c10::impl::tls_local_dispatch_key_set().included_.has_any(watching);
}

// As long as it lives, operations on plain tensors of this thread go straight to their kernels.
struct Unwatched {
  at::AutoDispatchBelowADInplaceOrView below;
  c10::impl::ExcludeDispatchKeyGuard unwatched{watching | c10::autocast_dispatch_keyset};
};

template <class Call>
int32_t give(Tensor** outputs, const Call& call) noexcept {
  return attempt([&] {
    auto [first, second] = call();
    outputs[0] = new Tensor(std::move(first));
    outputs[1] = new Tensor(std::move(second));
  });
}

}  // namespace

extern "C" {

const char* mambacl_call_error() { return call_error.c_str(); }

int32_t mambacl_selective_scan(
    const Tensor* const* in, bool delta_softplus, bool return_final_state, Tensor** outputs) {
  return give(outputs, [&] {
    static const auto op = find<ScanSignature>("mambacl::selective_scan");
    return op.call(
        *in[0], *in[1], *in[2], *in[3], *in[4], maybe(in[5]), maybe(in[6]), maybe(in[7]),
        delta_softplus, maybe(in[8]), return_final_state, maybe(in[9]));
  });
}

int32_t mambacl_causal_conv1d(
    const Tensor* const* in, bool silu, bool return_final_window, Tensor** outputs) {
  return give(outputs, [&] {
    static const auto op = find<ConvSignature>("mambacl::causal_conv1d");
    return op.call(
        *in[0], *in[1], maybe(in[2]), silu, maybe(in[3]), return_final_window, maybe(in[4]));
  });
}

bool mambacl_unobserved(const Tensor* const* tensors, int64_t count) {
  if (watched()) return false;
  if (at::autocast::is_autocast_enabled(at::kCPU)) return false;
  if (at::autocast::is_autocast_enabled(at::kCUDA)) return false;
  const bool grad = at::GradMode::is_enabled();
  for (int64_t index = 0; index < count; ++index) {
    const Tensor& tensor = *tensors[index];
    if ((tensor.key_set() | plain) != plain) return false;
    if (grad && tensor.requires_grad()) return false;
    if (tensor._fw_grad(0).defined()) return false;
  }
  return true;
}

// Why the engine cannot take a tensor, whatever its numbers; null where it can.
const char* mambacl_unfit(const Tensor* tensor) {
  const DispatchKeySet keys = tensor->key_set();
  constexpr DispatchKeySet unfit(
      {DispatchKey::NestedTensor, DispatchKey::Sparse, DispatchKey::SparseCsr,
       DispatchKey::Quantized, DispatchKey::MkldnnCPU});
  if (keys.has_any(unfit)) {
    if (keys.has(DispatchKey::NestedTensor)) return "a nested tensor";
    if (keys.has(DispatchKey::Quantized)) return "a quantized tensor";
    return keys.has(DispatchKey::MkldnnCPU) ? "an MKL-DNN tensor" : "a sparse tensor";
  }
  if (tensor->unsafeGetTensorImpl()->has_symbolic_sizes_strides()) return "a tensor of symbolic shape";
  return (keys | plain) == plain && freed(*tensor) ? "a tensor whose memory was freed" : nullptr;
}

// Whether a tensor has numbers in the memory of the CPU: a fake, wrapped or batched one has none.
bool mambacl_has_numbers(const Tensor* tensor) {
  const DispatchKeySet keys = tensor->key_set();
  return (keys | lazy) == lazy && tensor->defined() && tensor->device().is_cpu() && !freed(*tensor);
}

// Whether what is computed may follow from a tensor's numbers: not while torch traces or transforms.
bool mambacl_may_follow(const Tensor* tensor) {
  return mambacl_has_numbers(tensor) && !watched();
}

// Lends the numbers of a tensor that has some, in order and of a type; `holder` owns a copy of them where
// one is needed, and else is null. No operation of this is seen by autograd or a mode.
int32_t mambacl_numbers(
    const Tensor* tensor, int32_t type, const void** start, int64_t* bytes, Tensor** holder) {
  return attempt([&] {
    const auto dtype = static_cast<at::ScalarType>(type);
    const Tensor* numbers = tensor;
    const bool as_they_are = (tensor->key_set() | plain) == plain &&
        tensor->scalar_type() == dtype && tensor->is_contiguous();
    if (!as_they_are) {
      const Unwatched unwatched;
      const Tensor resolved = tensor->_is_zerotensor()
          ? at::zeros(tensor->sizes(), tensor->options())
          : tensor->resolve_conj().resolve_neg();
      *holder = new Tensor(resolved.to(dtype).contiguous());
      numbers = *holder;
    }
    *bytes = static_cast<int64_t>(numbers->nbytes());
    *start = *bytes == 0 ? nullptr : numbers->const_data_ptr();
  });
}

// A tensor of given numbers, with memory also where a mode or a transform of torch makes tensors without.
Tensor* mambacl_tensor_of(const void* data, const int64_t* sizes, int64_t axes, int32_t type) {
  Tensor* given = nullptr;
  attempt([&] {
    const Unwatched unwatched;
    const Tensor made = at::empty(
        at::IntArrayRef(sizes, static_cast<size_t>(axes)), static_cast<at::ScalarType>(type));
    if (made.numel() > 0) std::memcpy(made.mutable_data_ptr(), data, made.nbytes());
    given = new Tensor(made);
  });
  return given;
}

// Whether a transform of torch.func is at work in this thread.
bool mambacl_in_transform() {
  return c10::impl::tls_local_dispatch_key_set().included_.has(
      DispatchKey::FuncTorchDynamicLayerFrontMode);
}

void mambacl_parallel_for(int64_t tasks, void (*body)(const void*, int64_t), const void* context) {
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) body(context, index);
  });
}

// By the guard that libtorch registers for CUDA: nothing of CUDA is linked.
int32_t mambacl_cuda_stream(int64_t device, void** stream) {
  return attempt([&] {
    const c10::impl::VirtualGuardImpl guard(c10::DeviceType::CUDA);
    const c10::Device of(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device));
    *stream = guard.getStreamNativeHandle(guard.getStream(of));
  });
}

// Null where memory cannot be pinned.
Tensor* mambacl_pinned(const Tensor* tensor) {
  Tensor* pinned = nullptr;
  attempt([&] { pinned = new Tensor(tensor->pin_memory()); });
  return pinned;
}

const char* mambacl_torch_library() {
  Dl_info found{};
  return dladdr(reinterpret_cast<void*>(&at::get_num_threads), &found) ? found.dli_fname : nullptr;
}

// Passes by autocast, as its own kernels do, until the guard is given back.
void* mambacl_autocast_off() {
  return new c10::impl::ExcludeDispatchKeyGuard(c10::autocast_dispatch_keyset);
}

void mambacl_autocast_back(void* guard) {
  delete static_cast<c10::impl::ExcludeDispatchKeyGuard*>(guard);
}

}  // extern "C"
