"""Modules that a file names: imported only if they are importable without the current directory.

Python puts the current directory on the path by itself with `python -m`, with `python -c` and at a prompt.
A run or a file of somebody else could bring a module along there. So a module that is found only in that
directory is refused, unless the directory is on the path for another reason, such as PYTHONPATH. No path is
ever added.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from importlib.machinery import ModuleSpec, PathFinder

from mambacl.errors import ConfigError

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def import_named(name: str, where: str) -> None:
    """Imports a module that a file names; one that is imported already stays as it is.

    Args:
        name: Of the module, with its packages.
        where: What names it, for messages.

    Raises:
        ConfigError: If there is no such module, it lies in the current directory alone, or its import fails.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}: must name a module such as 'my_package.learners', got {name!r}")
    if name == "__main__":
        raise ConfigError(
            f"{where}: the learner was defined in a script or at a prompt, which cannot be imported; move it "
            "to a module, or define it before"
        )
    if name in sys.modules:
        return
    top = name.partition(".")[0]
    if top not in sys.modules:
        _check_place(top, name, where)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"{where}: the module `{name}` needs `{error.name}`, which is not installed"
            ) from error
        raise ConfigError(f"{where}: {_missing(name)}") from error
    except Exception as error:  # of its own code
        raise ConfigError(
            f"{where}: the import of `{name}` failed: {type(error).__name__}: {error}"
        ) from error


def _check_place(top: str, name: str, where: str) -> None:
    found = _find(top, sys.path)
    if found is None:
        raise ConfigError(f"{where}: {_missing(name)}")
    named = {os.path.realpath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
    path = [entry for place, entry in enumerate(sys.path) if not _by_itself(place, entry, named)]
    other = _find(top, path)
    if other is None or other.origin != found.origin:
        raise ConfigError(
            f"{where}: the module `{name}` must be installed or on PYTHONPATH, got one in the current "
            "directory alone, which is not trusted; import it first, or set PYTHONPATH"
        )


def _by_itself(place: int, entry: str, named: set[str]) -> bool:
    """Whether Python has put the current directory on the path without being asked."""
    here = os.path.realpath(os.curdir)
    if os.path.realpath(entry or os.curdir) != here or here in named:
        return False
    # The folder of a script comes first too: the script itself is from there.
    run_as_module = getattr(sys.modules.get("__main__"), "__spec__", None) is not None
    return entry == "" or (place == 0 and run_as_module)


def _find(top: str, path: list[str]) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = finder.find_spec(top, path if finder is PathFinder else None)
        if spec is not None:
            return spec
    return None


def _missing(name: str) -> str:
    return f"the module `{name}` cannot be found; it must be installed or on PYTHONPATH"
