"""An exception of Python code that torch calls inside the engine comes out as it was, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mambacl import Learner
from mambacl.errors import ShapeError, TorchError
from mambacl.nn import Mamba
from small_learners import DIM, small_episode, small_learner


class Odd(BaseException):
    """An exception that `except Exception` does not catch."""


class OfTwo(Exception):
    """One that cannot be made again from its text."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(one, other)


ERRORS = [ValueError("of a hook"), OfTwo(1, 2), KeyboardInterrupt(), SystemExit(3), Odd(), StopIteration()]
every_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)

LEARNER = small_learner().eval()
EPISODE = small_episode()
X, Y = EPISODE.train_x, EPISODE.train_y


@contextmanager
def hook(error: BaseException) -> Iterator[None]:
    def pack(_: Tensor) -> NoReturn:
        raise error

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed):
        yield


@contextmanager
def mode(error: BaseException, after: int = 0) -> Iterator[None]:
    left = iter(range(after))

    class Stop(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if next(left, None) is None:
                raise error
            return func(*args, **(kwargs or {}))

    with Stop():
        yield


def wrapped(tensor: Tensor, error: BaseException) -> Tensor:
    """A subclass without memory that raises at its first operation."""

    class Wrapped(Tensor):
        @classmethod
        def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> NoReturn:
            raise error

    return Tensor._make_wrapper_subclass(Wrapped, tensor.shape, dtype=tensor.dtype, device=tensor.device)


def calls() -> dict[str, Callable[[], Any]]:
    return {
        "init_state": lambda: LEARNER.init_state(2),
        "observe": lambda: LEARNER.observe(STATE, X, Y),
        "predict": lambda: LEARNER.predict(STATE, X),
        "loss": lambda: LEARNER.loss(LOGITS, Y),
        "forward": lambda: small_learner().train()(EPISODE),
        "Learner": lambda: Learner(LEARNER.config),
        "Mamba": lambda: Mamba(8)(torch.ones(1, 3, 8)),
    }


STATE = LEARNER.observe(LEARNER.init_state(2), X, Y)
LOGITS = LEARNER.predict(STATE, X)


@every_error
@pytest.mark.parametrize("name", calls())
def test_what_a_mode_raises(name: str, error: BaseException):
    with pytest.raises(type(error)) as caught, mode(error):
        calls()[name]()
    assert caught.value is error
    assert torch.equal(LEARNER.predict(STATE, X), LOGITS)


@pytest.mark.parametrize("name", ["observe", "predict", "forward"])
@pytest.mark.parametrize("after", [1, 2, 5, 10, 20, 30])
def test_what_a_mode_raises_amid_the_work(name: str, after: int):
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt) as caught, mode(error, after):
        calls()[name]()
    assert caught.value is error
    assert torch.is_grad_enabled()
    assert torch.equal(LEARNER.predict(STATE, X), LOGITS)


@every_error
@pytest.mark.parametrize("name", ["observe", "predict", "forward", "Mamba"])
def test_what_a_hook_of_saved_tensors_raises(name: str, error: BaseException):
    with pytest.raises(type(error)) as caught, hook(error):
        calls()[name]()
    assert caught.value is error
    assert torch.is_grad_enabled()
    assert torch.equal(LEARNER.predict(STATE, X), LOGITS)


@every_error
def test_what_a_subclass_of_tensors_raises(error: BaseException):
    for call in (
        lambda: LEARNER.observe(STATE, wrapped(X, error), Y),
        lambda: LEARNER.predict(STATE, wrapped(X, error)),
        lambda: LEARNER.loss(wrapped(LOGITS.detach(), error), Y),
        lambda: torch.ops.mambacl.causal_conv1d(
            wrapped(X, error), torch.ones(DIM, 2), None, True, None, True, None
        ),
    ):
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error


@every_error
def test_what_is_raised_in_the_backward_pass(error: BaseException):
    def refuse(_: Any) -> NoReturn:
        raise error

    x = X.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda packed: packed, refuse):
        output = LEARNER.predict(LEARNER.observe(LEARNER.init_state(2), x, Y), X).sum()
    with pytest.raises(type(error)):
        output.backward()
    x.register_hook(refuse)
    with pytest.raises(type(error)):
        LEARNER.predict(LEARNER.observe(LEARNER.init_state(2), x, Y), X).sum().backward()
    assert torch.is_grad_enabled()


def test_what_the_fake_kernel_of_an_operator_raises():
    with FakeTensorMode(), pytest.raises(ShapeError, match="argument `weight` must have shape"):
        torch.ops.mambacl.causal_conv1d(torch.ones(1, 2, 3), torch.ones(4, 2), None, True, None, False, None)


def test_a_failure_of_training_leaves_gradients_on():
    """The running statistics are updated in place, which memory that is shared within itself refuses."""
    learner = small_learner().train()
    shared = {"encoder.layers.0.norm.running_mean": torch.zeros(1).expand(6)}
    with pytest.raises(TorchError, match="single memory location"):
        torch.func.functional_call(learner, shared, (EPISODE,))
    assert torch.is_grad_enabled()
    assert learner(EPISODE).loss.requires_grad


def test_a_learner_made_in_inference_mode_can_be_trained():
    with torch.inference_mode():
        learner = Learner(LEARNER.config)
        copy = Learner.from_bytes(LEARNER.to_bytes())
    for made in (learner, copy):
        made.train()(EPISODE).loss.backward()
        assert all(parameter.grad is not None for parameter in made.parameters())
    with torch.inference_mode():
        assert learner.eval()(EPISODE).loss.item() > 0
