"""`mambacl info`."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass

import torch

from mambacl import __version__, _core
from mambacl.config import KINDS, LEARNERS, plugin_kinds
from mambacl.errors import KernelError


@dataclass(frozen=True)
class Info:
    """Print versions, what the kernels run on, and what there is to choose from.

    For example:

      mambacl info

      mambacl info --json

    Attributes:
        json: Print JSON.
    """

    json: bool = False


@dataclass(frozen=True)
class Facts:
    """What `mambacl info` tells.

    Attributes:
        mambacl: Version.
        torch: Version.
        python: Version.
        platform: System and processor.
        simd: Level of the CPU kernels.
        threads: Of torch, which the kernels follow.
        kernels: Devices that the fused kernels run on.
        torch_cuda: The CUDA that torch was built for, and whether a GPU is there.
        nvrtc: Version of the compiler of the CUDA kernels.
        learners: Kinds of learner, those of installed plug-ins included.
        mixers: Kinds of mixer.
        feed_forwards: Kinds of feed-forward layer.
        encoders: Kinds of encoder.
        targets: Kinds of target.
    """

    mambacl: str
    torch: str
    python: str
    platform: str
    simd: str
    threads: int
    kernels: list[str]
    torch_cuda: str
    nvrtc: str
    learners: list[str]
    mixers: list[str]
    feed_forwards: list[str]
    encoders: list[str]
    targets: list[str]


def run(command: Info) -> None:
    """Prints the facts."""
    facts = asdict(gather())
    if command.json:
        print(json.dumps(facts))
        return
    for name, value in facts.items():
        print(f"{name:<13} {', '.join(value) if isinstance(value, list) else value}")


def _nvrtc() -> str:
    try:
        return "{}.{}".format(*_core.nvrtc_version())
    except KernelError:
        return "not found"


def gather() -> Facts:
    """The facts of this machine and installation."""
    built = torch.version.cuda
    present = "a GPU is there" if torch.cuda.is_available() else "no GPU is there"
    return Facts(
        mambacl=__version__,
        torch=str(torch.__version__),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        simd=_core.simd_level(),
        threads=torch.get_num_threads(),
        kernels=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"],
        torch_cuda=f"{built}, {present}" if built else f"none, {present}",
        nvrtc=_nvrtc(),
        learners=[*LEARNERS, *plugin_kinds.names()],
        mixers=KINDS["mixer"],
        feed_forwards=KINDS["feed_forward"],
        encoders=KINDS["encoder"],
        targets=KINDS["target"],
    )
