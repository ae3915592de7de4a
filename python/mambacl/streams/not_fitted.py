"""The error for asking before there is anything to answer from."""

from sklearn import exceptions

from mambacl.errors import MambaclError


class NotFittedError(MambaclError, exceptions.NotFittedError):
    """An estimator is asked before it has read any example; scikit-learn's own, and one of mambacl's."""
