"""A training step as one CUDA graph, for small learners, whose kernels are shorter than their launches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from mambacl.episodes import Episode
from mambacl.errors import DeviceError, InvalidValueError, ShapeError
from mambacl.learner import Learner

_OP = "CapturedStep"
_WARM_UP = 3


class CapturedStep:
    """Captures forward pass, backward pass, clipping and update, and replays them on other episodes.

    All that is no tensor is as it was at the capture: the sizes of episodes, the training step (so whether a
    regulariser that ends is on), what a learner draws for an episode, the precision. Learners that draw, such
    as Performer's, have the same features in every replay.

    Args:
        learner: On a GPU. It is in training mode after; its parameters and buffers stay as they are.
        optimiser: Of torch's Adam family with `capturable=True`, and a tensor as `lr` if that shall change.
            Its state stays as it is, or is that of no step.
        episode: Of the sizes to train on.
        clip_norm: Largest norm of the gradient.
        precision: "float32", or "bfloat16" for autocast.
        step: The training step that the learner is told.

    Raises:
        DeviceError: If the learner or the episodes are not on one GPU.
        InvalidValueError: If the optimiser is not capturable.
        MambaclError: As `Learner`, for episodes that do not fit.
    """

    def __init__(
        self,
        learner: Learner,
        optimiser: torch.optim.Optimizer,
        episode: Episode,
        *,
        clip_norm: float = 1.0,
        precision: str = "float32",
        step: int = 0,
    ) -> None:
        device = learner.device
        if device.type != "cuda":
            raise DeviceError(f"{_OP}: argument `learner` must be on a GPU, got {device}")
        if not all(group.get("capturable") for group in optimiser.param_groups):
            raise InvalidValueError(f"{_OP}: argument `optimiser` must have `capturable=True` in all groups")
        self._learner, self._optimiser = learner.train(), optimiser
        self._clip_norm, self._bfloat16, self._step = clip_norm, precision == "bfloat16", step
        self._episode = _copied(episode.to(device))
        with torch.cuda.device(device):
            self._capture()

    def __call__(self, episode: Episode) -> Tensor:
        """Makes an update, and waits for nothing.

        Args:
            episode: Of any device and of the sizes captured.

        Returns:
            The loss before the update, a number; the next call writes over it.

        Raises:
            ShapeError: If the sizes are others.
        """
        for (name, into), (_, tensor) in zip(_tensors(self._episode), _tensors(episode), strict=True):
            if (into is None) != (tensor is None) or (
                into is not None and tensor is not None and into.shape != tensor.shape
            ):
                got = None if tensor is None else tuple(tensor.shape)
                want = None if into is None else tuple(into.shape)
                raise ShapeError(f"{_OP}: `episode.{name}` must have shape {want}, as captured, got {got}")
        for (_, into), (_, tensor) in zip(
            _tensors(self._episode),
            _tensors(episode.to(self._learner.device, non_blocking=True)),
            strict=True,
        ):
            if into is not None and tensor is not None:
                into.copy_(tensor)
        self._graph.replay()
        return self._loss

    def _capture(self) -> None:
        # Kernels are compiled and loaded, and memory is found, before: none of that can be captured.
        put_back = self._remembered()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside), warnings.catch_warnings():
            # Of steps that are not captured: these are to be undone.
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable")
            for _ in range(_WARM_UP):
                self._update()
        torch.cuda.current_stream().wait_stream(aside)
        put_back()
        self._graph = torch.cuda.CUDAGraph()
        self._optimiser.zero_grad(set_to_none=True)
        with torch.cuda.graph(self._graph):
            self._loss = self._update()

    def _update(self) -> Tensor:
        self._optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=self._bfloat16):
            loss: Tensor = self._learner(self._episode, self._step).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._learner.parameters(), self._clip_norm)
        self._optimiser.step()
        return loss.detach()

    def _remembered(self) -> Callable[[], None]:
        """What puts parameters, buffers and moments back as they are now, in place."""
        learned = [*self._learner.parameters(), *self._learner.buffers()]
        before = [tensor.detach().clone() for tensor in learned]
        moments = {id(tensor): tensor.clone() for tensor in _moments(self._optimiser)}

        def put_back() -> None:
            with torch.no_grad():
                for tensor, value in zip(learned, before, strict=True):
                    tensor.copy_(value)
                for tensor in _moments(self._optimiser):
                    value = moments.get(id(tensor))
                    tensor.zero_() if value is None else tensor.copy_(value)

        return put_back


def _moments(optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    states: list[dict[str, Any]] = list(optimiser.state.values())
    return (value for state in states for value in state.values() if isinstance(value, Tensor))


def _tensors(episode: Episode) -> list[tuple[str, Tensor | None]]:
    return [(field.name, getattr(episode, field.name)) for field in fields(episode)]


def _copied(episode: Episode) -> Episode:
    return replace(
        episode, **{name: tensor.clone() for name, tensor in _tensors(episode) if tensor is not None}
    )
