from typing import TypeAlias, final

from torch import Tensor

_State: TypeAlias = tuple[int, list[Tensor]]
_Trace: TypeAlias = tuple[
    list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor | None, bool] | None], Tensor | None
]
_Episode: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
_Outcome: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor | None, Tensor | None]
_ScanTensors: TypeAlias = tuple[
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor,
    Tensor | None,
    Tensor | None,
    Tensor | None,
    Tensor | None,
    Tensor | None,
]
_ConvTensors: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]

__all__ = [
    "Learner",
    "__version__",
    "check_causal_conv1d",
    "check_selective_scan",
    "compile_cuda_kernels",
    "draw_codebook",
    "encoder_input_shape",
    "fingerprint",
    "has_numbers",
    "nvrtc_version",
    "pack_learner",
    "pack_state",
    "plan_episode",
    "reference_causal_conv1d",
    "reference_selective_scan",
    "settings_schema",
    "simd_level",
    "uniforms",
    "unpack_learner",
    "unpack_state",
]

__version__: str

@final
class Learner:
    def __new__(cls, config: str) -> Learner: ...
    def config(self) -> str: ...
    def schema(self) -> list[tuple[str, list[int], str]]: ...
    def initial(self, seed: int) -> list[Tensor]: ...
    def uses_positions(self) -> bool: ...
    def state_specs(self, tensors: list[Tensor]) -> list[list[tuple[str, list[int]]]]: ...
    def initial_state(
        self, tensors: list[Tensor], batch: int, codebook: Tensor | None, draw: int
    ) -> _State: ...
    def observe(self, tensors: list[Tensor], state: _State, x: Tensor, y: Tensor) -> _State: ...
    def observe_traced(
        self, tensors: list[Tensor], state: _State, x: Tensor, y: Tensor
    ) -> tuple[_State, _Trace]: ...
    def predict(self, tensors: list[Tensor], state: _State, x: Tensor, trace: _Trace | None) -> Tensor: ...
    def associate(
        self, tensors: list[Tensor], state: _State, x: Tensor, trace: _Trace
    ) -> list[Tensor | None]: ...
    def loss(self, output: Tensor, y: Tensor) -> Tensor: ...
    def run(self, tensors: list[Tensor], episode: _Episode, step: int | None) -> _Outcome: ...

def fingerprint(learner: Learner, tensors: list[Tensor]) -> str: ...
def pack_learner(learner: Learner, tensors: list[Tensor]) -> bytes: ...
def unpack_learner(file: str, data: bytes) -> tuple[str, list[Tensor]]: ...
def pack_state(learner: Learner, tensors: list[Tensor], state: _State, counts: list[int]) -> bytes: ...
def unpack_state(
    learner: Learner, tensors: list[Tensor], file: str, data: bytes
) -> tuple[_State, list[int]]: ...
def draw_codebook(vocab: int, seed: int, batch: int) -> Tensor: ...
def plan_episode(
    seed: int,
    split: str,
    index: int,
    examples_per_class: list[int],
    *,
    tasks: int,
    train_shots: int,
    test_shots: int,
    vocab: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]: ...
def uniforms(seed: int, split: str, index: int, count: int) -> Tensor: ...
def has_numbers(tensor: Tensor) -> bool: ...
def simd_level() -> str: ...
def nvrtc_version() -> tuple[int, int]: ...
def compile_cuda_kernels(architecture: str) -> list[tuple[str, int]]: ...
def check_selective_scan(tensors: _ScanTensors) -> None: ...
def reference_selective_scan(
    tensors: _ScanTensors, delta_softplus: bool, return_final_state: bool
) -> tuple[Tensor, Tensor]: ...
def check_causal_conv1d(tensors: _ConvTensors, activation: str | None) -> None: ...
def reference_causal_conv1d(
    tensors: _ConvTensors, activation: str | None, return_final_window: bool
) -> tuple[Tensor, Tensor]: ...
def encoder_input_shape(encoder: str) -> list[int]: ...
def settings_schema() -> str: ...
