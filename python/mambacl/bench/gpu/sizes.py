"""What is measured at which sizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """What is measured at which sizes.

    Attributes:
        copied: Bytes of the copy that bandwidth is measured by.
        batches: Of scans.
        length: Of scans.
        d_inner: Of scans.
        d_state: Of scans.
        peer_lengths: Of sequences, beside mamba-ssm.
        d_model: Of learners; None for the experiments' own.
        tasks: Of an episode.
        shots: Read of each; as many queries.
        episodes: At a time, in inference.
        training_batch: Episodes of a training step.
        repeats: Of each case.
    """

    copied: int = 1 << 30
    batches: tuple[int, ...] = (16, 64, 256)
    length: int = 200
    d_inner: int = 1024
    d_state: int = 16
    peer_lengths: tuple[int, ...] = (50, 200, 1000, 4000)
    d_model: int | None = None
    tasks: int = 20
    shots: int = 5
    episodes: tuple[int, ...] = (1, 20, 100)
    training_batch: int = 16
    repeats: int = 20


TINY = Sizes(1 << 16, (2,), 5, 16, 4, (5,), 32, 2, 2, (1, 2), 2, 2)
"""For a dry run."""
