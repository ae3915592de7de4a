"""The two verbs of a module written in Python, behind the interface of `_core.Learner`.

`Learner` asks either of the two for the same things. Here labels become symbols and logits of symbols become
those of labels, and what a module returns is checked.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Generator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from mambacl.config import ClassTarget, LearnerConfig, VectorTarget
from mambacl.episodes import Episode
from mambacl.errors import (
    ConfigError,
    DeviceError,
    DtypeError,
    InvalidValueError,
    MambaclError,
    PluginError,
    ShapeError,
)
from mambacl.layer_state import GROWS
from mambacl.plugins import checks
from mambacl.plugins.conditions import draws, mode
from mambacl.plugins.state_tree import Structure, Tree
from mambacl.trace import PlainTrace

PlainState: TypeAlias = tuple[int, list[Tensor]]
"""Examples observed, and tensors: of a classifier the codebook and the seen labels, then the memory."""

PlainEpisode: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]
"""Stream, queries, codebook and tasks, as `_core.Learner` takes them."""

_RESERVED = ("spec", "replace")
"""Names of a `LayerState` itself."""


class ModuleEngine:
    """The module of a learner as an engine.

    Args:
        config: Of a registered kind.
        learner: Its attribute `module` is asked, whatever that is at the time: it may be wrapped later.

    Raises:
        PluginError: If `init_state` fails, or does not return a state.

    Attributes:
        settings: As given.
        structure: Of the module's state.
        names: Of its tensors.
        shapes: Their axes after the first; -1 for one that grows.
    """

    def __init__(self, config: LearnerConfig, learner: nn.Module) -> None:
        self.settings = config
        self._learner = weakref.ref(learner)
        self.vocab = config.target.vocab if isinstance(config.target, ClassTarget) else None
        with draws(torch.device("cpu"), 0):
            tree = self._called("init_state", 2)
        try:
            self.structure = Structure.of(tree)
        except TypeError as error:
            raise self._broken("init_state", str(error)) from None
        self.names = self.structure.names()
        if not self.names:
            raise self._broken("init_state", "the state must hold at least one tensor, got none")
        for name in {*self.names} & {*_RESERVED}:
            raise self._broken(
                "init_state", f"no tensor may be called {' or '.join(_RESERVED)}, got {name!r}"
            )
        if len(set(self.names)) < len(self.names):
            raise self._broken("init_state", f"tensors must have distinct names, got {self.names}")
        tensors = self.structure.flat(tree)
        for name, tensor in zip(self.names, tensors, strict=True):
            if tensor.dim() < 1 or len(tensor) != 2:
                raise self._broken(
                    "init_state",
                    f"`{name}` must have the streams as its first axis, 2 of them, got shape "
                    f"{list(tensor.shape)}",
                )
        self.shapes = [tuple(GROWS if size == 0 else size for size in tensor.shape[1:]) for tensor in tensors]

    @property
    def module(self) -> nn.Module:
        """The module."""
        learner = self._learner()
        assert learner is not None  # it holds this engine
        return learner.get_submodule("module")

    def uses_positions(self) -> bool:
        """Whether all streams of a state must have observed as many examples."""
        return bool(getattr(self.module, "uses_positions", False))

    def state_specs(self, tensors: list[Tensor]) -> list[list[tuple[str, list[int]]]]:
        """Names and shapes of the state: one layer."""
        del tensors
        return [[(name, list(shape)) for name, shape in zip(self.names, self.shapes, strict=True)]]

    def initial_state(
        self, tensors: list[Tensor], batch: int, codebook: Tensor | None, draw: int
    ) -> PlainState:
        """The state before any example; `draw` seeds what the module draws for it."""
        labels: list[Tensor] = []
        if batch < 1:
            raise InvalidValueError(f"init_state: argument `batch` must be at least 1, got {batch}")
        if self.vocab is not None:
            if codebook is None:
                raise InvalidValueError(
                    f"init_state: argument `codebook` must be a tensor of shape (batch, {self.vocab}) for a "
                    "classifier, got None"
                )
            checks.codebook("init_state", "codebook", codebook, self.vocab, tensors[0])
            if len(codebook) != batch:
                raise ShapeError(
                    f"init_state: argument `codebook` must have shape (batch = {batch}, vocab = "
                    f"{self.vocab}), got {list(codebook.shape)}"
                )
            labels = [codebook, torch.zeros_like(codebook, dtype=torch.bool)]
        with draws(tensors[0].device, draw), mode(self.module, training=False):
            tree = self._called("init_state", batch)
        return 0, [*labels, *self._returned("init_state", tree, batch, tensors[0], None)]

    def observe(self, tensors: list[Tensor], state: PlainState, x: Tensor, y: Tensor) -> PlainState:
        """The state after examples, the module in evaluation mode."""
        with mode(self.module, training=False):
            return self._observe(tensors[0], state, x, y)

    def observe_traced(
        self, tensors: list[Tensor], state: PlainState, x: Tensor, y: Tensor
    ) -> tuple[PlainState, PlainTrace]:
        """As `observe`, the module in training mode; the trace is empty."""
        with mode(self.module, training=True):
            return self._observe(tensors[0], state, x, y), ([], [], None)

    def predict(
        self, tensors: list[Tensor], state: PlainState, x: Tensor, trace: PlainTrace | None
    ) -> Tensor:
        """Answers, the module in evaluation mode unless there is a trace."""
        with mode(self.module, training=trace is not None):
            return self._predict(tensors[0], state, x)

    def associate(
        self, tensors: list[Tensor], state: PlainState, x: Tensor, trace: PlainTrace
    ) -> list[Tensor | None]:
        """Nothing: only the engine's sequence learners have associations.

        Raises:
            ConfigError: Always.
        """
        del tensors, state, x, trace
        raise ConfigError(
            "associate: the learner must be a sequence learner of the engine, got kind "
            f"{self.settings.kind!r}"
        )

    def loss(self, output: Tensor, y: Tensor) -> Tensor:
        """The mean loss of answers, as the engine computes it."""
        if self.vocab is not None:
            return functional.cross_entropy(output.flatten(0, 1), y.flatten(0, 1))
        if isinstance(self.settings.target, VectorTarget):
            return functional.mse_loss(output, y)
        return (1 - functional.cosine_similarity(output, y, dim=-1)).mean()

    def run(
        self, tensors: list[Tensor], episode: PlainEpisode, step: int | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor | None, Tensor | None]:
        """Episodes: observe, predict, measure; in training where a step is given."""
        train_x, train_y, test_x, test_y, codebook, train_task, test_task = episode
        like, batch = tensors[0], train_x.shape[0] if train_x.dim() else 0
        state = self.initial_state(tensors, batch, codebook, step or 0)
        self._check_queries(like, batch, test_x, test_y)
        for name, task, x in (("train_task", train_task, train_x), ("test_task", test_task, test_x)):
            if task is not None:
                checks.integers("episode", name, task, (batch, x.shape[1] if x.dim() > 1 else 0), like)
        if (train_task is None) != (test_task is None):
            missing, given = ("train", "test") if train_task is None else ("test", "train")
            raise InvalidValueError(
                f"episode: argument `{missing}_task` must be given, as `{given}_task` is, got None"
            )
        with draws(like.device, step), mode(self.module, training=step is not None):
            state = self._observe(like, state, train_x, train_y)
            output = self._predict(like, state, test_x)
            penalty = None
            if step is not None and callable(getattr(self.module, "regulariser", None)):
                penalty = self._penalty(state, episode, step, like)
        objective = self.loss(output, test_y)
        loss = objective if penalty is None else objective + penalty
        if step is not None and torch.is_grad_enabled() and not loss.requires_grad:
            self._check_differentiable()
        if self.vocab is None:
            return loss, objective, penalty, output, None, None
        among_seen = output.masked_fill(~state[1][1].unsqueeze(1), -torch.inf)
        accuracies = [(logits.argmax(-1) == test_y).float().mean() for logits in (among_seen, output)]
        return loss, objective, penalty, output, accuracies[0], accuracies[1]

    def check_state(self, op: str, state: PlainState, like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Checks that a state is one of this learner's.

        Args:
            op: The operation, for messages.
            state: To check.
            like: Any tensor of the learner's dtype and device.

        Returns:
            The codebook and the seen labels, of a classifier, and the memory.

        Raises:
            ConfigError: If it has other tensors.
            ShapeError, DtypeError, DeviceError: If one has another form.
        """
        examples, tensors = state
        known = 0 if self.vocab is None else 2
        if len(tensors) != known + len(self.names):
            raise ConfigError(
                f"{op}: argument `state` must be of a learner of kind {self.settings.kind!r}, with the "
                f"tensors {self.names}, got {len(tensors) - known} tensors"
            )
        if examples < 0:
            raise InvalidValueError(f"{op}: argument `state.examples` must be at least 0, got {examples}")
        labels, memory = tensors[:known], tensors[known:]
        batch = len(tensors[0])
        for name, tensor in zip(("codebook", "seen"), labels, strict=False):
            if tensor.shape != (batch, self.vocab):
                raise ShapeError(
                    f"{op}: argument `state.{name}` must have shape {[batch, self.vocab]}, "
                    f"got {list(tensor.shape)}"
                )
            dtype = torch.int64 if name == "codebook" else torch.bool
            if tensor.dtype != dtype:
                raise DtypeError(f"{op}: argument `state.{name}` must be {dtype}, got {tensor.dtype}")
        for name, tensor, shape in zip(self.names, memory, self.shapes, strict=True):
            if not _fits(tensor, batch, shape):
                raise ShapeError(
                    f"{op}: argument `state.{name}` must have shape {_shown(batch, shape)}, "
                    f"got {list(tensor.shape)}"
                )
        for tensor in tensors:
            if tensor.device != like.device:
                raise DeviceError(
                    f"{op}: argument `state` must be on {like.device}, as the model's parameters, "
                    f"got {tensor.device}"
                )
        return labels, memory

    def _observe(self, like: Tensor, state: PlainState, x: Tensor, y: Tensor) -> PlainState:
        labels, memory = self.check_state("observe", state, like)
        batch, shape = len(memory[0]), self.settings.encoder.input_shape
        checks.inputs("observe", x, batch, shape, like)
        self._check_targets("observe", y, batch, x.shape[1], like)
        targets = y
        if labels:
            codebook, seen = labels
            targets = codebook.gather(1, y)
            labels = [codebook, seen.scatter(1, y, True)]
        with self._untouched("observe", memory):
            after = self._called("observe", self.structure.tree(iter(memory)), x, targets)
            returned = self._returned("observe", after, batch, like, memory)
        return state[0] + y.shape[1], [*labels, *returned]

    def _predict(self, like: Tensor, state: PlainState, x: Tensor) -> Tensor:
        labels, memory = self.check_state("predict", state, like)
        if state[0] == 0:
            raise InvalidValueError(
                "predict: argument `state` must be a state that has observed examples, got an initial state"
            )
        batch = len(memory[0])
        checks.inputs("predict", x, batch, self.settings.encoder.input_shape, like)
        with self._untouched("predict", memory):
            output = self._called("predict", self.structure.tree(iter(memory)), x)
        width = self.settings.target.dim if self.vocab is None else self.vocab  # pyright: ignore
        expected = (batch, x.shape[1], width)
        if not isinstance(output, Tensor):
            raise self._broken("predict", f"must return a tensor, got {type(output).__name__}")
        if output.shape != expected:
            meaning = "(batch, Q, vocab)" if labels else "(batch, Q, dim)"
            raise self._broken(
                "predict", f"must return shape {meaning} = {list(expected)}, got {list(output.shape)}"
            )
        output = self._alike("predict", "its answers", output, like)
        return output.gather(2, labels[0].unsqueeze(1).expand(expected)) if labels else output

    def _penalty(self, state: PlainState, episode: PlainEpisode, step: int, like: Tensor) -> Tensor:
        train_x, train_y, test_x, test_y, codebook, train_task, test_task = episode
        known = 0
        if codebook is not None and self.vocab is not None:
            known = 2
            train_task, test_task = (
                y if task is None else task for task, y in ((train_task, train_y), (test_task, test_y))
            )
            train_y, test_y = codebook.gather(1, train_y), codebook.gather(1, test_y)
        else:
            codebook = torch.empty(len(train_x), 0, dtype=torch.int64, device=train_x.device)
        seen = Episode(train_x, train_y, test_x, test_y, codebook, train_task, test_task)
        penalty = self._called("regulariser", self.structure.tree(iter(state[1][known:])), seen, step)
        if isinstance(penalty, int | float):
            penalty = torch.tensor(float(penalty), dtype=like.dtype, device=like.device)
        if not isinstance(penalty, Tensor) or penalty.dim() or not penalty.is_floating_point():
            got = f"shape {list(penalty.shape)}" if isinstance(penalty, Tensor) else type(penalty).__name__
            raise self._broken("regulariser", f"must return a number, got {got}")
        return penalty

    def _check_queries(self, like: Tensor, batch: int, x: Tensor, y: Tensor) -> None:
        checks.inputs("predict", x, batch, self.settings.encoder.input_shape, like)
        self._check_targets("episode", y, batch, x.shape[1], like)

    def _check_targets(self, op: str, y: Tensor, batch: int, n: int, like: Tensor) -> None:
        target = self.settings.target
        if isinstance(target, ClassTarget):
            checks.labels(op, y, (batch, n), target.vocab, like)
        else:
            checks.vectors(op, y, (batch, n, target.dim), like)

    def _check_differentiable(self) -> None:
        if not any(parameter.requires_grad for parameter in self.module.parameters()):
            raise PluginError(
                f"learner of kind {self.settings.kind!r}: it must have parameters to be trained, got none "
                "that require a gradient; in evaluation mode it needs none"
            )
        raise self._broken(
            "observe",
            "and `predict` must be differentiable, got a loss that depends on no parameter: something "
            "between them detaches the graph",
        )

    def _called(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self.module, method)(*arguments)
        except MambaclError:
            raise
        except Exception as error:  # of the author's code, which is named
            raise self._broken(method, f"raised {type(error).__name__}: {error}") from error

    def _returned(
        self, method: str, tree: Tree, batch: int, like: Tensor, before: list[Tensor] | None
    ) -> list[Tensor]:
        """The tensors of a state that a method returned, checked."""
        try:
            tensors = self.structure.flat(tree)
        except TypeError as error:
            raise self._broken(method, f"must return a state as `init_state` does: {error}") from None
        made: list[Tensor] = []
        for place, (name, tensor, shape) in enumerate(zip(self.names, tensors, self.shapes, strict=True)):
            if not _fits(tensor, batch, shape):
                raise self._broken(
                    method,
                    f"must return `{name}` of shape {_shown(batch, shape)}, got {list(tensor.shape)}",
                )
            like_it = tensor if before is None else before[place]
            if tensor.device != like.device:
                raise self._broken(
                    method, f"must return `{name}` on {like.device}, as the parameters, got {tensor.device}"
                )
            made.append(self._alike(method, f"`{name}`", tensor, like_it))
        return made

    def _alike(self, method: str, what: str, tensor: Tensor, like: Tensor) -> Tensor:
        """A tensor of a dtype and device; what autocast made narrower is widened."""
        if tensor.device != like.device:
            raise self._broken(method, f"must return {what} on {like.device}, got {tensor.device}")
        if tensor.dtype == like.dtype:
            return tensor
        floats = tensor.is_floating_point() and like.is_floating_point()
        if floats and torch.is_autocast_enabled(tensor.device.type):
            return tensor.to(like.dtype)
        raise self._broken(method, f"must return {what} of {like.dtype}, got {tensor.dtype}")

    @contextlib.contextmanager
    def _untouched(self, method: str, memory: list[Tensor]) -> Generator[None, None, None]:
        """Around a call that must leave the tensors of a state as they are."""
        versions = [None if tensor.is_inference() else tensor._version for tensor in memory]
        try:
            yield
        except PluginError:
            self._check_dtypes(method, memory)
            raise
        for name, tensor, version in zip(self.names, memory, versions, strict=True):
            if version is not None and tensor._version != version:
                raise self._broken(
                    method, f"must leave its state as it is and return another, got `{name}` changed in place"
                )

    def _check_dtypes(self, method: str, memory: list[Tensor]) -> None:
        """Where a call has failed: checks that its state has the dtypes of a new one. A state from before the
        learner was converted has others."""
        new = self.structure.flat(self._called("init_state", 1))
        for name, tensor, other in zip(self.names, memory, new, strict=True):
            if tensor.dtype != other.dtype:
                raise DtypeError(
                    f"{method}: argument `state.{name}` must be {other.dtype}, as a new state has, "
                    f"got {tensor.dtype}"
                )

    def _broken(self, method: str, reason: str) -> PluginError:
        return PluginError(f"learner of kind {self.settings.kind!r}: `{method}` {reason}")


def _fits(tensor: Tensor, batch: int, shape: tuple[int, ...]) -> bool:
    if tensor.dim() != 1 + len(shape) or len(tensor) != batch:
        return False
    return all(want in (GROWS, size) for want, size in zip(shape, tensor.shape[1:], strict=True))


def _shown(batch: int, shape: tuple[int, ...]) -> str:
    return f"[{', '.join('any' if size == GROWS else str(size) for size in (batch, *shape))}]"
