"""Settings that tests ask for."""

import signal
from collections.abc import Iterator

import pytest
import torch

from shell import Shell


def pytest_configure() -> None:
    """Shells start jobs in the background with SIGINT ignored, which tests of Ctrl-C would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command line, in this process."""
    return Shell(monkeypatch, capsys)


@pytest.fixture
def nan_in_fresh_memory() -> Iterator[None]:
    """Fresh tensors hold NaN instead of whatever lay there: a result that nobody wrote shows."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)
