"""What must be there before the engine is loaded: the torch it was built for, and the engine itself.

The engine is linked to the C++ library inside torch, which keeps no promise between versions. Loaded beside
another torch it ends in an undefined symbol, or crashes later; so the versions are compared first.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

import torch

# Metadata writes a pin as `torch==2.13.0`, older forms as `torch (==2.13.0)`.
_PIN = re.compile(r"torch\s*\(?\s*==\s*([^\s;,)]+)")


def check() -> None:
    """Refuses an engine that is not there, or was built for another torch.

    Raises:
        ImportError: With what was found, what is needed and what to do.
    """
    if find_spec("mambacl._core") is None:
        raise ImportError(
            f"mambacl: its compiled engine, mambacl._core, is missing from {Path(__file__).parent}. "
            "In a checkout build it with `make setup`, or in an environment of yours with "
            "`pip install --editable .`"
        )
    needed = _pinned_torch()
    found = str(torch.__version__)
    if needed is not None and _public(found) != _public(needed):
        raise ImportError(
            f"mambacl: its engine was built for torch {_public(needed)}, but torch {found} is installed "
            f"({Path(torch.__file__).parent}). Install the one it needs:\n"
            f'    pip install "torch=={_public(needed)}"\n'
            f"or build mambacl for yours from its sources, where that is supported:\n"
            f"    make wheel TORCH={_public(found)}"
        )


def _pinned_torch() -> str | None:
    """The torch that the installed package requires; None in a source folder, which has no metadata."""
    try:
        requirements = requires("mambacl") or []
    except PackageNotFoundError:
        return None
    pins = (_PIN.match(requirement) for requirement in requirements)
    return next((pin[1] for pin in pins if pin), None)


def _public(version: str) -> str:
    """The version without its local part: `+cpu` and `+cu130` are builds of one source."""
    return version.split("+")[0]
