"""Ridge regression from a stream, in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mambacl.episodes import Episode
from mambacl.errors import InvalidValueError

STRENGTH = 0.1
"""Of the regularisation, where none is given: of 0.01, 0.1, 1 and 10 the best on meta-validation for images,
and near it for features."""


def ridge_regression(episode: Episode, strength: float = STRENGTH) -> Tensor:
    """Fits a linear map from inputs to targets on each stream, and answers its queries.

    Inputs x are flattened, targets are vectors or one-hot labels, and both are centred by their means over
    the stream (so there is an intercept, which is not regularised). With them as rows of X and Y the map is

    ```text
    W = argmin |X W - Y|^2 + lambda |W|^2 = X^T (X X^T + lambda I)^-1 Y,   lambda = strength * mean of |x|^2
    ```

    so that the strength means the same whatever the scale and number of inputs. It is computed in float64.

    Args:
        episode: Episodes with labels or vectors.
        strength: Of the regularisation, above 0.

    Returns:
        Predicted labels, (batch, Q) int64, never one that its stream does not hold; or vectors,
        (batch, Q, dim), as the targets.

    Raises:
        InvalidValueError: If `strength` is not a positive number.

    Examples:
        >>> x, y = torch.tensor([[[0.0], [1.0], [9.0]]]), torch.tensor([[0, 0, 1]])
        >>> ridge_regression(Episode(x, y, x + 0.5, y, codebook=torch.arange(2)[None]))
        tensor([[0, 0, 1]])
    """
    if not 0 < strength < math.inf:
        raise InvalidValueError(f"ridge_regression: `strength` must be a positive number, got {strength}")
    labelled = episode.train_y.dtype == torch.int64
    y = torch.nn.functional.one_hot(episode.train_y) if labelled else episode.train_y
    x, y = episode.train_x.flatten(2).double(), y.double()  # (batch, T, features), (batch, T, targets)
    x_mean, y_mean = x.mean(1, keepdim=True), y.mean(1, keepdim=True)
    x = x - x_mean
    gram = x @ x.transpose(1, 2)  # (batch, T, T)
    penalty = strength * gram.diagonal(dim1=1, dim2=2).mean(1)
    penalty = torch.where(penalty > 0, penalty, 1.0)  # of equal inputs: the map is 0 then, whatever it is
    identity = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    # The matrix is positive definite, and torch's LU fails on some batches of large ones on several threads.
    factor = torch.linalg.cholesky_ex(gram + penalty[:, None, None] * identity).L
    dual = torch.cholesky_solve(y - y_mean, factor)
    queries = episode.test_x.flatten(2).double() - x_mean
    answers = queries @ (x.transpose(1, 2) @ dual) + y_mean  # (batch, Q, targets)
    if not labelled:
        return answers.to(episode.train_y.dtype)
    return answers.masked_fill(y_mean == 0, -torch.inf).argmax(-1)
