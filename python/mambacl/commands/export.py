"""`mambacl export`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from mambacl.experiments.trained import load_run
from mambacl.files import save_learner
from mambacl.ranges import Count


@dataclass(frozen=True)
class Export:
    """Write the learner of a run into one file, all that deployment needs: settings and parameters.

    `mambacl.load_learner` reads it, and so does Rust without Python (docs/deployment.md).

    For example:

      mambacl export runs/glyphs-mamba-seed0 glyphs.safetensors

    Attributes:
        run: Folder of a run.
        file: What to write, a file of safetensors; one that is there is replaced.
        checkpoint: The best on meta-validation, the last, or that of a step.
    """

    run: tyro.conf.Positional[Path]
    file: tyro.conf.Positional[Path]
    checkpoint: Literal["best", "last"] | Count = "best"


def run(command: Export) -> None:
    """Writes and tells.

    Raises:
        MambaclError: If the run cannot be read, or the file cannot be written.
    """
    trained = load_run(command.run, command.checkpoint)
    save_learner(command.file, trained.learner)
    size = command.file.stat().st_size
    print(f"Written to {command.file}: {size:,} bytes, step {trained.step}")
    print(f"Fingerprint {trained.learner.fingerprint()}")
