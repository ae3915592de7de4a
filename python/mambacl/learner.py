"""The learner: an `nn.Module` around the engine, with a state and two verbs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mambacl import _core, container
from mambacl.config import LEARNERS, ClassTarget, LearnerConfig, SequenceConfig, plugin_kinds
from mambacl.devices import sent
from mambacl.episodes import Episode
from mambacl.errors import ConfigError, DeviceError, InvalidValueError, ShapeError
from mambacl.layer_state import LayerSpec, LayerState
from mambacl.ops.checks import check_devices, check_types
from mambacl.plugins import engine as plugin_engine
from mambacl.plugins import files as plugin_files
from mambacl.plugins.building import build
from mambacl.state import LearnerState
from mambacl.trace import Trace

PlainState: TypeAlias = tuple[int, list[Tensor]]
"""A state as the engine takes and gives it."""


@dataclass(frozen=True, eq=False)
class EpisodeOutput:
    """What a learner makes of a batch of episodes.

    Attributes:
        loss: The objective, the weighted regulariser and balance of experts, a number to differentiate.
        objective: The mean loss over all queries, a number.
        penalty: The regulariser before its weight, a number; None where it is off.
        output: Logits by label, (batch, Q, vocab), or vectors, (batch, Q, dim).
        accuracy: The share of queries whose largest logit among the labels observed is right; None
            for vector targets.
        vocabulary_accuracy: The same over the whole vocabulary.
    """

    loss: Tensor
    objective: Tensor
    penalty: Tensor | None
    output: Tensor
    accuracy: Tensor | None
    vocabulary_accuracy: Tensor | None


class Learner(nn.Module):
    """A continual learner: a state and two verbs. With `SequenceConfig`, the default, it is MambaCL:
    a sequence model that learns from a stream by reading it (arXiv:2412.00776). With settings of a kind that
    `mambacl.register` knows, its verbs are those of a module written in Python, which is the attribute
    `module`.

    Parameters and buffers are PyTorch's own, those of Mamba named as in mamba-ssm; the engine computes with
    them.

    Args:
        config: The settings.
        seed: Of the first values of the parameters, 0 to 2^64 - 1.

    Raises:
        TypeError: If `config` is no `LearnerConfig`.
        ConfigError: If a setting is out of its range.
        InvalidValueError: If the seed is out of its range.

    Examples:
        >>> import torch, mambacl
        >>> config = mambacl.SequenceConfig(mambacl.VectorEncoder(dim=8), d_model=32)
        >>> learner = mambacl.Learner(config).eval()
        >>> learner
        Learner(sequence, mixer=mamba, d_model=32, parameters=24,416, device=cpu)
        >>> state = learner.init_state()
        >>> x, y = torch.randn(1, 6, 8), torch.tensor([[0, 0, 1, 1, 2, 2]])
        >>> state = learner.observe(state, x, y)
        >>> learner.predict(state, x).shape
        torch.Size([1, 6, 64])
    """

    def __init__(self, config: LearnerConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        _check_seed("Learner", seed)
        config = SequenceConfig() if config is None else config
        _check_is("Learner", "config", config, LearnerConfig)
        self.config = config
        self._places: list[tuple[nn.Module, str]] = []
        self._undecayed: set[str] = set()
        if config.kind in LEARNERS:
            self._engine = _core.Learner(self.config.to_json())
            schema = self._engine.schema()
            # As torch's own modules on the default device; but trainable also where made in inference mode.
            with torch.inference_mode(False):
                initial = self._engine.initial(seed)
                self._specs = self._state_specs(initial)
                for (name, _, role), value in zip(schema, initial, strict=True):
                    self._register(name, role, value.to(torch.get_default_device()))
        else:
            self._engine = self._plugged_in(seed)
            self._specs = self._state_specs(self._tensors())

    def _plugged_in(self, seed: int) -> plugin_engine.ModuleEngine:
        """The module of a kind written in Python, as an engine."""
        if plugin_kinds.PLUGINS.get(self.config.kind) is not type(self.config):
            raise ConfigError(
                f"Learner: argument `config` must be of a registered kind, got {type(self.config).__name__} "
                f"of kind {self.config.kind!r}"
            )
        self.module = build(self.config, seed)
        tensors = (*self.module.parameters(), *self.module.buffers())
        floats = [tensor for tensor in tensors if tensor.is_floating_point()]
        # The module may have no tensor: this one moves with the learner, and no file has it.
        anchor = floats[0].new_zeros(()) if floats else torch.zeros(())
        self.register_buffer("_anchor", anchor.detach(), persistent=False)
        self._places.append((self, "_anchor"))
        self._undecayed.update(name for name, parameter in self.named_parameters() if parameter.dim() < 2)
        return plugin_engine.ModuleEngine(self.config, self)

    @property
    def _files(self) -> Any:
        """The functions of files: the engine's, or those of learners written in Python."""
        return plugin_files if isinstance(self._engine, plugin_engine.ModuleEngine) else _core

    def _state_specs(self, tensors: list[Tensor]) -> tuple[LayerSpec, ...]:
        """What each layer's state is made of."""
        config = self.config
        kind = config.mixer.kind if isinstance(config, SequenceConfig) else config.kind
        positions = self._engine.uses_positions()
        layers = [zip(*layer, strict=True) for layer in self._engine.state_specs(tensors)]
        return tuple(
            LayerSpec(kind, tuple(names), tuple(tuple(shape) for shape in shapes), positions)
            for names, shapes in layers
        )

    def _register(self, name: str, role: str, value: Tensor) -> None:
        *path, leaf = name.split(".")
        module: nn.Module = self
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        if role == "buffer":
            module.register_buffer(leaf, value)
        else:
            module.register_parameter(leaf, nn.Parameter(value))
            if role == "undecayed":
                self._undecayed.add(name)
        self._places.append((module, leaf))

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for an optimiser: biases, norms, A_log, D and delta's bias are not decayed; of a learner
        written in Python, parameters of fewer than two axes.

        Args:
            weight_decay: Of the other parameters.

        Returns:
            Two groups, as `torch.optim` takes them.
        """
        decayed = [p for name, p in self.named_parameters() if name not in self._undecayed]
        undecayed = [p for name, p in self.named_parameters() if name in self._undecayed]
        return [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": undecayed, "weight_decay": 0.0},
        ]

    def init_state(
        self, batch_size: int = 1, *, seed: int = 0, codebook: Tensor | None = None
    ) -> LearnerState:
        """The state before any example.

        Args:
            batch_size: Streams, when no codebook is given.
            seed: Of the codebooks that are drawn when none is given; stream i depends on (seed, i). And of
                what a learner draws for each episode, such as Performer's features.
            codebook: The symbol of each label, (batch, vocab) int64, each row a permutation.

        Returns:
            A state of as many streams.

        Raises:
            ShapeError, DtypeError, DeviceError, InvalidValueError: If the codebook or the batch size do not
                fit, or the seed is out of its range.
        """
        op = "init_state"
        self._check(op, {}, {"codebook": codebook})
        _check_seed(op, seed)
        if batch_size < 1:
            raise InvalidValueError(f"{op}: argument `batch_size` must be at least 1, got {batch_size}")
        if isinstance(self.config.target, ClassTarget) and codebook is None:
            codebook = sent(_core.draw_codebook(self.config.target.vocab, seed, batch_size), self.device)
        if codebook is not None and codebook.dim() > 0:
            batch_size = len(codebook)
        return self._state(self._engine.initial_state(self._tensors(), batch_size, codebook, seed))

    def observe(self, state: LearnerState, x: Tensor, y: Tensor) -> LearnerState:
        """Reads labelled examples, in order. At once, in pieces or one by one comes to the same.

        The state is differentiable by the parameters, in evaluation mode too. Outside of training call this
        under `torch.no_grad()`, or `detach` the state now and then: otherwise autograd keeps what each call
        computed, and the memory of the process grows with the stream though the state does not.

        Args:
            state: Of the streams so far; it stays as it is.
            x: Inputs, (batch, n, ...).
            y: Labels, (batch, n) int64, each below the vocabulary; or vectors, (batch, n, dim).

        Returns:
            The state after the examples.

        Raises:
            ShapeError, DtypeError, DeviceError: If an argument does not fit the learner or the state.
            InvalidValueError: If x or y hold NaN, or a label lies outside the vocabulary.
        """
        self._check_stream("observe", state, {"x": x, "y": y})
        return self._state(self._engine.observe(self._tensors(), _plain(state), x, y), state)

    def observe_traced(self, state: LearnerState, x: Tensor, y: Tensor) -> tuple[LearnerState, Trace]:
        """As `observe`, for meta-training: the encoder normalises with the statistics of these very
        examples, over all streams of the batch, and updates its running ones. Give it the whole stream: in
        pieces, each would have statistics and a trace of its own.

        Args:
            state: Of the streams so far; it stays as it is.
            x: Inputs, (batch, n, ...).
            y: Labels, (batch, n) int64; or vectors, (batch, n, dim).

        Returns:
            The state after the examples, and the trace that `predict` and `associate` take.

        Raises:
            ShapeError, DtypeError, DeviceError, InvalidValueError: As `observe`.
        """
        self._check_stream("observe", state, {"x": x, "y": y})
        after, trace = self._engine.observe_traced(self._tensors(), _plain(state), x, y)
        return self._state(after, state), Trace.of_plain(trace)

    def predict(
        self, state: LearnerState, x: Tensor, trace: Trace | None = None, *, chunk_size: int | None = None
    ) -> Tensor:
        """Answers queries, each alone, from a state that stays as it is.

        Args:
            state: Of the streams.
            x: Inputs, (batch, Q, ...).
            trace: Of the stream, in meta-training.
            chunk_size: Queries answered at a time, to bound memory; None for all.

        Returns:
            Logits by label, (batch, Q, vocab), over the whole vocabulary; `state.answers` chooses among
            the labels observed. Or vectors, (batch, Q, dim).

        Raises:
            ShapeError, DtypeError, DeviceError: If an argument does not fit the learner or the state.
            InvalidValueError: If the state has seen no example, x holds NaN, or `chunk_size` is below 1.
        """
        if chunk_size is not None and chunk_size < 1:
            raise InvalidValueError(f"predict: argument `chunk_size` must be at least 1, got {chunk_size}")
        self._check_stream("predict", state, {"x": x})
        tensors, plain = self._tensors(), _plain(state)
        plain_trace = None if trace is None else trace.plain()
        whole = chunk_size is None or x.dim() < 2  # the engine refuses inputs without queries
        chunks: Sequence[Tensor] = [x] if whole else x.split(chunk_size, dim=1)
        outputs = [self._engine.predict(tensors, plain, chunk, plain_trace) for chunk in chunks]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    def associate(self, state: LearnerState, x: Tensor, trace: Trace) -> list[Tensor | None]:
        """What queries are associated with: the distribution that the regulariser guides.

        Args:
            state: After the stream.
            x: Inputs of queries, (batch, Q, ...).
            trace: Of the stream.

        Returns:
            For each layer, (batch, heads, Q, tokens) with rows that sum to 1, tokens in the order x_1, y_1,
            x_2, ...; None for layers that the regulariser does not look at.

        Raises:
            ShapeError, DtypeError, DeviceError, InvalidValueError: As `predict`.
        """
        self._check_stream("associate", state, {"x": x})
        _check_is("associate", "trace", trace, Trace)
        return self._engine.associate(self._tensors(), _plain(state), x, trace.plain())

    def forward(self, episode: Episode, step: int = 0) -> EpisodeOutput:
        """Lives through a batch of episodes: observe, predict, measure.

        In training mode the encoder uses and updates the statistics of the streams, and the regulariser
        is on. In evaluation mode nothing changes.

        Args:
            episode: Episodes, on the learner's device.
            step: The training step, for a regulariser that ends.

        Returns:
            Loss, outputs and accuracies.

        Raises:
            ShapeError, DtypeError, DeviceError, InvalidValueError: If the episodes do not fit.
        """
        _check_is("Learner", "episode", episode, Episode)
        codebook = episode.codebook if self.is_classifier else None
        self._check(
            "Learner",
            {name: getattr(episode, name) for name in ("train_x", "train_y", "test_x", "test_y")},
            {"codebook": codebook, "train_task": episode.train_task, "test_task": episode.test_task},
        )
        tensors = (
            episode.train_x,
            episode.train_y,
            episode.test_x,
            episode.test_y,
            codebook,
            episode.train_task,
            episode.test_task,
        )
        return EpisodeOutput(*self._engine.run(self._tensors(), tensors, step if self.training else None))

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean loss over queries: cross-entropy, mean squared error, or 1 - cos, by the target.

        Args:
            output: Of `predict`, (batch, Q, width).
            y: Labels, (batch, Q) int64; or vectors, (batch, Q, dim).

        Returns:
            A number.

        Raises:
            ShapeError, DeviceError: If the shape or device of `y` does not fit.
            TorchError: If the dtype or a label does not fit.
        """
        self._check("loss", {"output": output, "y": y})
        expected = output.shape[:2] if self.is_classifier else output.shape
        if output.dim() != 3 or y.shape != expected:  # torch would broadcast some of these
            raise ShapeError(
                f"loss: argument `y` must have shape {list(expected)}, as `output` {list(output.shape)}, "
                f"got {list(y.shape)}"
            )
        return self._engine.loss(output, y)

    def fingerprint(self) -> str:
        """What tells this model from others: the SHA-256 of its settings, parameters and buffers, 64
        hexadecimal digits. States in files are of the model of one fingerprint."""
        return self._files.fingerprint(self._engine, self._tensors())

    def to_bytes(self) -> bytes:
        """Settings, parameters and buffers as a file of safetensors; nothing is pickled.

        Raises:
            DtypeError: If parameters and buffers are not all of one floating dtype.

        Examples:
            >>> learner = Learner(SequenceConfig(d_model=32))
            >>> Learner.from_bytes(learner.to_bytes()).fingerprint() == learner.fingerprint()
            True
        """
        return self._files.pack_learner(self._engine, self._tensors())

    @staticmethod
    def from_bytes(data: bytes, name: str = "learner") -> Learner:
        """A learner from `to_bytes`.

        Args:
            data: The bytes.
            name: What they are called in errors.

        Returns:
            The learner, on the CPU, in evaluation mode.

        Raises:
            FileError: If they are damaged, of a newer format, or no learner; or of a kind written in Python
                whose module cannot be imported (docs/plugins.md).
        """
        if container.holds(data) == plugin_files.LEARNER:
            settings, dtype, named = plugin_files.unpack_learner(name, data)
            plugged = Learner(settings).to(dtype)
            assert isinstance(plugged._engine, plugin_engine.ModuleEngine)
            plugin_files.load_tensors(plugged._engine, name, named)
            return plugged.eval()
        config, tensors = _core.unpack_learner(name, data)
        with torch.device("cpu"):
            learner = Learner(LearnerConfig.from_table(json.loads(config))).to(tensors[0].dtype)
        assert isinstance(learner._engine, _core.Learner)
        names = [name for name, _, _ in learner._engine.schema()]
        learner.load_state_dict(dict(zip(names, tensors, strict=True)))
        return learner.eval()

    def state_to_bytes(self, state: LearnerState) -> bytes:
        """A state of this learner as a file of safetensors, with the model's fingerprint.

        Args:
            state: Of any number of streams.

        Returns:
            The bytes.

        Raises:
            ShapeError, DtypeError, DeviceError, InvalidValueError, ConfigError: If it is of another learner.

        Examples:
            >>> learner = Learner(SequenceConfig(d_model=32))
            >>> data = learner.state_to_bytes(learner.init_state(3))
            >>> learner.state_from_bytes(data).batch_size
            3
        """
        self._check_stream("save_state", state, {})
        counts = [state.examples] * state.batch_size if state.counts is None else state.counts.tolist()
        return self._files.pack_state(self._engine, self._tensors(), _plain(state), counts)

    def state_from_bytes(self, data: bytes, name: str = "state") -> LearnerState:
        """A state from `state_to_bytes`.

        Args:
            data: The bytes.
            name: What they are called in errors.

        Returns:
            The state, on the learner's device.

        Raises:
            FileError: If they are damaged, of a newer format, of another model, or no state.
        """
        plain, counts = self._files.unpack_state(self._engine, self._tensors(), name, data)
        state = self._state(plain)
        uneven = torch.tensor(counts, device="cpu") if len(set(counts)) > 1 else None
        return dataclasses.replace(state, counts=uneven)

    @property
    def is_classifier(self) -> bool:
        """Whether targets are classes."""
        return isinstance(self.config.target, ClassTarget)

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return getattr(*self._places[0]).device

    @property
    def dtype(self) -> torch.dtype:
        """The element type of the parameters, which inputs have."""
        return getattr(*self._places[0]).dtype

    def _check(
        self,
        op: str,
        required: Mapping[str, Tensor],
        optional: Mapping[str, Tensor | None] | None = None,
    ) -> None:
        """Checks what the engine cannot name as Python does: types and devices."""
        named = {**required, **(optional or {})}
        names, tensors = tuple(named), tuple(named.values())
        check_types(op, names, tensors, len(required))
        first: Tensor = getattr(*self._places[0])
        if first.is_meta:
            raise DeviceError(
                f"{op}: the learner must be on a device that holds numbers, got meta; for shapes alone make "
                "it under torch._subclasses.FakeTensorMode, or load its parameters after to_empty"
            )
        check_devices(op, ("parameters", *names), (first, *tensors), None)

    def _check_stream(self, op: str, state: LearnerState, required: Mapping[str, Tensor]) -> None:
        _check_is(op, "state", state, LearnerState)
        self._check(op, {"state": state.tensors()[-1], **required})

    def _tensors(self) -> list[Tensor]:
        """Parameters and buffers in the engine's order, looked up at each call: `functional_call`,
        `.to()` and optimisers replace them."""
        tensors: list[Tensor] = []
        for module, name in self._places:
            # As `getattr` finds it, in a tenth of the time; what is parametrised is in neither.
            tensor = module._parameters.get(name)
            if tensor is None:
                tensor = module._buffers.get(name)
            tensors.append(getattr(module, name) if tensor is None else tensor)
        if tensors[0].is_meta:
            raise DeviceError("Learner: parameters must be on a device that holds numbers, got device meta")
        return tensors

    def _state(self, state: PlainState, before: LearnerState | None = None) -> LearnerState:
        """A state as the engine gives it, after what was observed before."""
        examples, tensors = state
        labels: tuple[Tensor | None, ...] = (None, None)
        if self.is_classifier:
            labels, tensors = tuple(tensors[:2]), tensors[2:]
        given = iter(tensors)
        layers = tuple(LayerState(spec, (next(given) for _ in spec.names)) for spec in self._specs)
        counts = None
        if before is not None and before.counts is not None:
            counts = before.counts + (examples - before.examples)
        return LearnerState(examples, labels[0], labels[1], layers, counts)

    def __repr__(self) -> str:
        """On one line; what it is made of is in `named_parameters` and `named_modules`."""
        config = self.config
        mixer = f"mixer={config.mixer.kind}, " if isinstance(config, SequenceConfig) else ""
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return (
            f"{type(self).__name__}({config.kind}, {mixer}d_model={config.d_model}, "
            f"parameters={parameters:,}, device={self.device})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._engine = (
            _core.Learner(self.config.to_json())
            if self.config.kind in LEARNERS
            else plugin_engine.ModuleEngine(self.config, self)
        )


def _check_is(op: str, name: str, argument: object, expected: type) -> None:
    if not isinstance(argument, expected):
        got = type(argument).__name__
        raise TypeError(f"{op}: argument `{name}` must be of type {expected.__name__}, got {got}")


def _check_seed(op: str, seed: int) -> None:
    if not 0 <= seed < 2**64:
        raise InvalidValueError(f"{op}: argument `seed` must be from 0 to 2^64 - 1, got {seed}")


def _plain(state: LearnerState) -> PlainState:
    return state.examples, state.tensors()
