"""The error of an estimator that has read no example."""

from sklearn import exceptions

from mambacl.errors import MambaclError


class NotFittedError(MambaclError, exceptions.NotFittedError):
    """An estimator was queried before it read any example. Derives from scikit-learn's error of this name."""
