"""The exceptions of mambacl, one base for all; each also is the built-in kind that users expect."""


class MambaclError(Exception):
    """Anything mambacl refuses or fails at."""


class ShapeError(MambaclError, ValueError):
    """A tensor has a shape the operation cannot take."""


class DtypeError(MambaclError, TypeError):
    """A tensor has an element type the operation cannot take."""


class DeviceError(MambaclError, ValueError):
    """Tensors of one call lie on different devices, or on one without a kernel."""


class InvalidValueError(MambaclError, ValueError):
    """An argument has the right form and a value that makes no sense."""


class ConfigError(MambaclError, ValueError):
    """A setting is out of its range, or contradicts another."""


class DataError(MambaclError, ValueError):
    """Data are damaged, missing, or hold values that make no sense."""


class NonFiniteError(MambaclError, ArithmeticError):
    """A number that training needs is NaN or infinite."""


class KernelError(MambaclError, RuntimeError):
    """The kernel behind an operation failed."""


class TorchError(MambaclError, RuntimeError):
    """libtorch raised an error."""


class CheckpointError(MambaclError, RuntimeError):
    """A checkpoint is damaged, incomplete, of another model or of a newer format, or cannot be written."""


class FileError(MambaclError, RuntimeError):
    """The file of a learner or a state is damaged, of another model or of a newer format, or cannot be read
    or written."""


class RunError(MambaclError, RuntimeError):
    """A run folder cannot be used so: it is taken, holds something else, or lacks something."""


class PluginError(MambaclError, RuntimeError):
    """A learner written in Python does not do what its protocol asks for."""


class LawError(MambaclError, AssertionError):
    """A learner breaks a law that all learners keep."""
