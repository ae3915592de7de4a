"""The laws of learners, to try on one of your own.

All kinds of the engine keep them, and so must a learner written in Python: meta-training, evaluation and
deployment count on them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mambacl.config import AngleTarget, ClassTarget, LearnerConfig
from mambacl.episodes import Episode
from mambacl.errors import LawError, MambaclError
from mambacl.learner import Learner
from mambacl.state import LearnerState

_STREAMS = 3
_SHOTS = 2
_CLASSES = 3


def check_learner(
    config: LearnerConfig,
    *,
    seed: int = 0,
    tolerance: float = 1e-6,
    show: Callable[[str], object] = print,
) -> None:
    """Tries every law on a learner, on three small random streams, in double precision.

    Args:
        config: The settings of the learner, small ones: each law builds and asks it.
        seed: Of the learner and the streams.
        tolerance: Largest difference of two numbers that must be the same, relative and absolute.
        show: Called with a line for each law; `print` by default.

    Raises:
        LawError: After all laws, if the learner breaks one; the message has each that it breaks and how.
        ConfigError, PluginError: If it cannot be built.

    Examples:
        >>> import mambacl
        >>> from mambacl.testing import check_learner
        >>> check_learner(mambacl.PrototypeConfig(mambacl.VectorEncoder(dim=4), d_model=8))
        ok      settings survive a table
        ok      the same seed makes the same learner
        ok      a call gives the same result twice
        ok      in pieces and one by one = at once
        ok      observe leaves the state it was given
        ok      predict leaves the state
        ok      each query is answered alone
        ok      each stream is read alone
        ok      select, scatter and cat move streams
        ok      states and answers are finite
        ok      the loss reaches every parameter
        ok      examples reach the answers
        ok      evaluation changes no parameter or buffer
        ok      copies answer alike
        ok      files bring back the learner and its state
    """
    case = _Case(config, seed, tolerance)
    case.learner()  # what cannot be built breaks no law: its own error says why
    broken: list[str] = []
    for name, law in _LAWS.items():
        try:
            with torch.no_grad() if law is not _gradients else torch.enable_grad():
                law(case)
        except Exception as error:  # of the learner's own code too
            known = isinstance(error, AssertionError | MambaclError)
            reason = " ".join(f"{'' if known else f'{type(error).__name__}: '}{error}".split())
            broken.append(f"{name}: {reason}")
            show(f"BROKEN  {name}: {reason}")
        else:
            show(f"ok      {name}")
    if broken:
        listed = "".join(f"\n  {one}" for one in broken)
        raise LawError(f"check_learner: a learner of kind {config.kind!r} breaks {len(broken)} laws:{listed}")


@dataclass(frozen=True)
class _Case:
    """A learner to try, and streams for it."""

    config: LearnerConfig
    seed: int
    tolerance: float

    def learner(self) -> Learner:
        return Learner(self.config, seed=self.seed).double().eval()

    def episode(self) -> Episode:
        """Streams of a few classes, each a cloud; vector targets depend on the input."""
        generator = torch.Generator().manual_seed(self.seed)
        target, shape = self.config.target, self.config.encoder.input_shape
        classes = min(_CLASSES, target.vocab) if isinstance(target, ClassTarget) else _CLASSES

        def drawn(*sizes: int) -> Tensor:
            return torch.randn(*sizes, generator=generator, dtype=torch.float64)

        task = torch.arange(classes).repeat_interleave(_SHOTS).repeat(_STREAMS, 1)  # (streams, T)
        means = drawn(_STREAMS, classes, *shape)
        stream = torch.arange(_STREAMS).unsqueeze(1)
        train_x, test_x = (means[stream, task] + 0.3 * drawn(*task.shape, *shape) for _ in range(2))
        if isinstance(target, ClassTarget):
            codebook = torch.stack(
                [torch.randperm(target.vocab, generator=generator) for _ in range(_STREAMS)]
            )
            return Episode(train_x, task, test_x, task, codebook)
        middles = drawn(_STREAMS, classes, target.dim)
        train_y, test_y = (middles[stream, task] + 0.1 * drawn(*task.shape, target.dim) for _ in range(2))
        if isinstance(target, AngleTarget):
            train_y, test_y = (torch.nn.functional.normalize(y, dim=-1) for y in (train_y, test_y))
        return Episode(
            train_x, train_y, test_x, test_y, torch.zeros(_STREAMS, 0, dtype=torch.int64), task, task
        )

    def first(self, learner: Learner, episode: Episode) -> LearnerState:
        return learner.init_state(
            episode.batch_size, codebook=episode.codebook if learner.is_classifier else None
        )

    def read(self, learner: Learner) -> tuple[Episode, LearnerState]:
        """The streams, and the state after them."""
        episode = self.episode()
        return episode, learner.observe(self.first(learner, episode), episode.train_x, episode.train_y)

    def alike(self, got: Tensor, want: Tensor, what: str) -> None:
        if got.shape != want.shape or got.dtype != want.dtype:
            raise AssertionError(
                f"{what} must be {want.dtype} of shape {list(want.shape)}, got {got.dtype} of "
                f"{list(got.shape)}"
            )
        if not torch.allclose(got, want, rtol=self.tolerance, atol=self.tolerance, equal_nan=True):
            difference = (got.double() - want.double()).abs().max().item()
            raise AssertionError(f"{what} must be the same, got a difference of up to {difference:.3g}")

    def alike_states(self, got: LearnerState, want: LearnerState) -> None:
        if not torch.equal(got.examples_of_each(), want.examples_of_each()):
            raise AssertionError(
                f"streams must have {want.examples_of_each().tolist()} examples, "
                f"got {got.examples_of_each().tolist()}"
            )
        for name, one, other in zip(_names(want), got.tensors(), want.tensors(), strict=True):
            self.alike(one, other, f"`{name}` of the state")


def _names(state: LearnerState) -> list[str]:
    labels = [] if state.codebook is None else ["codebook", "seen"]
    return [*labels, *(name for layer in state.layers for name in layer.spec.names)]


def _settings(case: _Case) -> None:
    config = case.config
    again = LearnerConfig.from_table(json.loads(config.to_json()))
    if again != config:
        raise AssertionError(f"settings must be {config}, got {again}")


def _same_seed(case: _Case) -> None:
    if case.learner().fingerprint() != case.learner().fingerprint():
        raise AssertionError(
            "the parameters must be the same for the same seed, got others: use `seed` alone"
        )


def _twice(case: _Case) -> None:
    learner = case.learner()
    (episode, one), (_, other) = case.read(learner), case.read(learner)
    case.alike_states(other, one)
    case.alike(learner.predict(one, episode.test_x), learner.predict(one, episode.test_x), "answers")


def _pieces(case: _Case) -> None:
    learner = case.learner()
    episode, whole = case.read(learner)
    examples = episode.train_x.shape[1]
    for sizes in ([1] * examples, [examples - 1, 1]):
        state = case.first(learner, episode)
        parts = zip(episode.train_x.split(sizes, 1), episode.train_y.split(sizes, 1), strict=True)
        for x, y in parts:
            state = learner.observe(state, x, y)
        case.alike_states(state, whole)
        case.alike(learner.predict(state, episode.test_x), learner.predict(whole, episode.test_x), "answers")


def _observe_leaves(case: _Case) -> None:
    learner = case.learner()
    episode, state = case.read(learner)
    for before in (case.first(learner, episode), state):
        kept = before.clone()
        learner.observe(before, episode.test_x, episode.test_y)
        case.alike_states(before, kept)


def _predict_leaves(case: _Case) -> None:
    learner = case.learner()
    episode, state = case.read(learner)
    kept = state.clone()
    answers = learner.predict(state, episode.test_x)
    case.alike_states(state, kept)
    case.alike(learner.predict(state, episode.test_x), answers, "answers")


def _queries(case: _Case) -> None:
    learner = case.learner()
    episode, state = case.read(learner)
    together = learner.predict(state, episode.test_x)
    alone = torch.cat([learner.predict(state, x) for x in episode.test_x.split(1, dim=1)], dim=1)
    case.alike(alone, together, "answers to queries alone and together")


def _streams(case: _Case) -> None:
    learner = case.learner()
    episode, together = case.read(learner)
    answers = learner.predict(together, episode.test_x)
    first = case.first(learner, episode)
    for stream in range(_STREAMS):
        row = slice(stream, stream + 1)
        alone = learner.observe(first.select([stream]), episode.train_x[row], episode.train_y[row])
        case.alike_states(together.select([stream]), alone)
        case.alike(learner.predict(alone, episode.test_x[row]), answers[row], "answers of streams")


def _moved(case: _Case) -> None:
    learner = case.learner()
    episode, state = case.read(learner)
    parts = [state.select([stream]) for stream in range(_STREAMS)]
    case.alike_states(LearnerState.cat(parts), state)
    order = [2, 0, 1]
    case.alike_states(state.scatter(order, state.select(order)), state)
    answers = learner.predict(state, episode.test_x)
    case.alike(learner.predict(state.select(order), episode.test_x[order]), answers[order], "answers")
    if state.grows or state.uses_positions:
        return  # streams of one state have read as much
    bank = case.first(learner, episode)
    read = learner.observe(bank.select([2]), episode.train_x[2:], episode.train_y[2:])
    bank = bank.scatter([2], read)
    case.alike_states(bank.select([2]), state.select([2]))
    case.alike_states(bank.select([0, 1]), case.first(learner, episode).select([0, 1]))


def _finite(case: _Case) -> None:
    for dtype in (torch.float64, torch.float32):
        learner = case.learner().to(dtype)
        episode, targets = case.episode(), case.episode().train_y
        targets = targets if learner.is_classifier else targets.to(dtype)
        state = learner.observe(case.first(learner, episode), episode.train_x.to(dtype), targets)
        found = dict(zip(_names(state), state.tensors(), strict=True))
        found["the answers"] = learner.predict(state, episode.test_x.to(dtype))
        for name, tensor in found.items():
            if tensor.isnan().any() or (name != "the answers" and not tensor.isfinite().all()):
                raise AssertionError(f"{name} must be finite in {dtype}, got NaN or infinity")


def _gradients(case: _Case) -> None:
    learner = case.learner().train()
    output = learner(case.episode(), 0)
    if not output.loss.isfinite():
        raise AssertionError(f"the loss must be finite, got {output.loss.item()}")
    if not any(True for _ in learner.parameters()):
        return
    output.loss.backward()
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            raise AssertionError(f"a gradient must reach every parameter, got none for `{name}`")
        if not parameter.grad.isfinite().all():
            raise AssertionError(f"gradients must be finite, got NaN or infinity for `{name}`")


def _examples(case: _Case) -> None:
    learner = case.learner()
    episode, state = case.read(learner)
    other_y = episode.train_y.flip(1)  # other targets for the same inputs
    other = learner.observe(case.first(learner, episode), episode.train_x, other_y)
    if torch.equal(learner.predict(other, episode.test_x), learner.predict(state, episode.test_x)):
        raise AssertionError("answers must depend on the examples, got the same for other targets")


def _evaluation(case: _Case) -> None:
    learner = case.learner()
    before = learner.fingerprint()
    episode, state = case.read(learner)
    learner.predict(state, episode.test_x)
    learner(episode)
    if learner.fingerprint() != before:
        raise AssertionError("parameters and buffers must stay in evaluation mode, got others after a stream")


def _copies(case: _Case) -> None:
    learner = case.learner()
    episode, state = case.read(learner)
    want = learner.predict(state, episode.test_x)
    other = copy.deepcopy(learner)
    case.alike(other.predict(case.read(other)[1], episode.test_x), want, "answers of a copy")
    for parameter in other.parameters():
        parameter.zero_()
    case.alike(learner.predict(state, episode.test_x), want, "answers after its copy has changed")


def _files(case: _Case) -> None:
    learner = case.learner()
    episode, state = case.read(learner)
    again = Learner.from_bytes(learner.to_bytes())
    if again.config != learner.config or again.fingerprint() != learner.fingerprint():
        raise AssertionError("a learner must come back from its file as it was, got another")
    loaded = again.state_from_bytes(learner.state_to_bytes(state))
    case.alike_states(loaded, state)
    case.alike(again.predict(loaded, episode.test_x), learner.predict(state, episode.test_x), "answers")


_LAWS: dict[str, Callable[[_Case], None]] = {
    "settings survive a table": _settings,
    "the same seed makes the same learner": _same_seed,
    "a call gives the same result twice": _twice,
    "in pieces and one by one = at once": _pieces,
    "observe leaves the state it was given": _observe_leaves,
    "predict leaves the state": _predict_leaves,
    "each query is answered alone": _queries,
    "each stream is read alone": _streams,
    "select, scatter and cat move streams": _moved,
    "states and answers are finite": _finite,
    "the loss reaches every parameter": _gradients,
    "examples reach the answers": _examples,
    "evaluation changes no parameter or buffer": _evaluation,
    "copies answer alike": _copies,
    "files bring back the learner and its state": _files,
}
