"""What may be said of a mean: over the episodes of one model, or over seeds.

An interval holds only for what its numbers vary over. Episodes vary the classes and examples that one trained
model meets; a statement on a method needs several models, each trained from its own seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mambacl.errors import InvalidValueError, ShapeError
from mambacl.evaluation.scores import Scores


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, from Student's t distribution.

    Attributes:
        mean: The mean.
        half_width: Half the width of the interval; None for a single value, which tells nothing of how
            much others would differ.
        scope: What the values vary over, and what is held fixed.
    """

    mean: float
    half_width: float | None
    scope: str

    def told(self, form: str = ".3f") -> str:
        """The mean, and half the width if there is one.

        Args:
            form: Of the mean; "+.3f" gives it a sign.
        """
        spread = "" if self.half_width is None else f" ± {self.half_width:.3f}"
        return f"{self.mean:{form}}{spread}"

    def __str__(self) -> str:
        return f"{self.told()} ({self.scope})"


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean over models of one method, each meta-trained from its own seed.

    The interval speaks of the mean over all seeds, given the method's settings, the data set and its split;
    it includes that each model was scored on finitely many episodes. It takes seeds to vary about normally.

    Args:
        values: One number a seed, such as `evaluate(...).score.mean`.

    Returns:
        The interval over seeds; of one seed without a width.

    Raises:
        InvalidValueError: If there is no value.

    Examples:
        >>> print(over_seeds([0.943, 0.918, 0.914]))
        0.925 ± 0.039 (over 3 seeds)
    """
    return _interval("over_seeds", values, f"over {_counted(len(values), 'seed')}")


def paired_difference(a: Scores, b: Scores) -> Interval:
    """The mean of `a - b` over identical episodes: what the episodes' own difficulty does not touch.

    The interval speaks of these two predictors on all episodes of the source. It holds both models fixed: a
    difference here may be one of their seeds, not of their methods; see `paired_over_seeds`.

    Args:
        a: Scores of episodes 0, 1, ... of a source.
        b: Scores of the same episodes, by another predictor.

    Returns:
        The interval over episodes.

    Raises:
        ShapeError: If the numbers of episodes differ.
        InvalidValueError: If there is no episode.

    Examples:
        >>> import torch
        >>> a = Scores(torch.tensor([0.9, 0.7, 0.8], dtype=torch.float64))
        >>> b = Scores(torch.tensor([0.8, 0.6, 0.7], dtype=torch.float64))
        >>> print(paired_difference(a, b))
        0.100 ± 0.000 (over 3 episodes, given these two predictors)
    """
    scope = f"over {_counted(len(a.values), 'episode')}, given these two predictors"
    return _interval("paired_difference", _differences("paired_difference", a, b), scope)


def paired_over_seeds(a: Sequence[Scores], b: Sequence[Scores]) -> Interval:
    """The mean over seeds of the mean difference `a[s] - b[s]` of two methods.

    The interval speaks of the methods, given their settings, the data set and its split: seeds vary, and each
    enters as one number, however many episodes measured it. Pairing helps as far as seed s gives
    both methods something in common, such as its episodes.

    Args:
        a: Scores of one method, one `Scores` a seed.
        b: Scores of the other, in the order of the same seeds, on the same episodes seed by seed.

    Returns:
        The interval over seeds; of one seed without a width.

    Raises:
        ShapeError: If the numbers of seeds, or of the episodes of a seed, differ.
        InvalidValueError: If there is no seed.
    """
    op = "paired_over_seeds"
    if len(a) != len(b):
        raise ShapeError(f"{op}: argument `b` must hold {len(a)} seeds, as `a`, got {len(b)}")
    means = [float(np.mean(_differences(op, one, other))) for one, other in zip(a, b, strict=True)]
    return _interval(op, means, f"over {_counted(len(means), 'seed')}, paired")


def _differences(op: str, a: Scores, b: Scores) -> list[float]:
    if a.values.shape != b.values.shape:
        raise ShapeError(
            f"{op}: argument `b` must have scores of {len(a.values)} episodes, as `a`, got {len(b.values)}"
        )
    return (a.values - b.values).tolist()


def _interval(op: str, values: Sequence[float], scope: str) -> Interval:
    count = len(values)
    if count == 0:
        raise InvalidValueError(f"{op}: there must be at least one value, got none")
    mean = float(np.mean(values))
    if count == 1:
        return Interval(mean, None, scope)
    from scipy.special import stdtrit  # here: it is nearly half of the package's own time to import

    quantile = float(stdtrit(count - 1, 0.975))
    return Interval(mean, quantile * float(np.std(values, ddof=1)) / math.sqrt(count), scope)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
