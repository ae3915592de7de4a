"""The module of settings of a learner written in Python."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mambacl.config import (
    AngleTarget,
    ClassTarget,
    CnnEncoder,
    LearnerConfig,
    VectorEncoder,
    VectorTarget,
)
from mambacl.errors import ConfigError, MambaclError, PluginError
from mambacl.plugins import checks

_METHODS = ("init_state", "observe", "predict")


def build(config: LearnerConfig, seed: int) -> nn.Module:
    """The module of settings, with first values that depend on the seed alone.

    Args:
        config: Of a registered kind.
        seed: 0 to 2^64 - 1; torch's own generator starts from it as well.

    Raises:
        ConfigError: If the target is out of its range.
        PluginError: If `build` fails, or returns something that cannot be a learner.
    """
    _check_shared(config)
    where = f"learner of kind {config.kind!r}: `build`"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            module: object = config.build(seed)  # pyright: ignore[reportAttributeAccessIssue]
        except MambaclError:
            raise
        except Exception as error:
            raise PluginError(f"{where} raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise PluginError(f"{where} must return an nn.Module, got {type(module).__name__}")
    for method in _METHODS:
        if not callable(getattr(module, method, None)):
            raise PluginError(
                f"{where} must return a module with the methods {', '.join(_METHODS)}, "
                f"got {type(module).__name__}, which lacks `{method}`"
            )
    if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
        raise PluginError(f"{where} must return a module whose parameters have shapes, got lazy ones")
    for key, value in module.state_dict().items():
        if not isinstance(value, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise PluginError(
                f"{where} must return a module whose `state_dict` holds tensors alone, got {key!r} of type "
                f"{type(value).__name__}"
            )
    for key, buffer in module.named_buffers():
        if buffer.is_floating_point() and not bool(buffer.isfinite().all()):
            raise PluginError(
                f"{where} must return a module of finite buffers (a mask can be bool), got NaN or infinity "
                f"in {key!r}"
            )
    return module


def _check_shared(config: LearnerConfig) -> None:
    """Checks the settings that all learners have, as the engine does for its own."""
    config.to_json()
    parts: tuple[tuple[str, object, tuple[type, ...]], ...] = (
        ("encoder", config.encoder, (CnnEncoder, VectorEncoder)),
        ("target", config.target, (ClassTarget, VectorTarget, AngleTarget)),
    )
    for name, part, kinds in parts:
        if not isinstance(part, kinds):  # pyright: ignore[reportUnnecessaryIsInstance]
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ConfigError(f"configuration: `{name}` must be {expected}, got {type(part).__name__}")
    _ = config.encoder.input_shape  # the engine checks it
    target = config.target
    sizes: tuple[tuple[str, object], ...] = (
        ("target.vocab", target.vocab) if isinstance(target, ClassTarget) else ("target.dim", target.dim),
        ("d_model", config.d_model),
    )
    for name, size in sizes:
        whole = isinstance(size, int)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not whole or not 1 <= size <= checks.MOST:
            raise ConfigError(f"configuration: `{name}` must be from 1 to {checks.MOST}, got {size}")
