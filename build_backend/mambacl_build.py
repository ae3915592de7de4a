"""The build backend: maturin, with torch-sys pointed at the torch of the interpreter that builds.

torch-sys would ask whatever ``python3`` is on the path where torch lies. Under build isolation, or in
an environment that is not activated, that is another interpreter, with another torch or none.
"""

import os
import pathlib
from collections.abc import Mapping
from importlib.metadata import distribution
from typing import Any

import maturin
from maturin import (  # noqa: F401  (hooks that need no torch)
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

Settings = Mapping[str, Any] | None


def _point_to_torch() -> None:
    # Found through its metadata: importing torch takes seconds and is not needed.
    torch = pathlib.Path(str(distribution("torch").locate_file("torch")))
    given = pathlib.Path(os.environ.get("LIBTORCH", ""))
    # The same place by another name stays as it is: cargo would rebuild for a change of text.
    if not (given.is_dir() and given.samefile(torch)):
        os.environ["LIBTORCH"] = str(torch)
    os.environ["LIBTORCH_CXX11_ABI"] = "1"
    os.environ.pop("LIBTORCH_USE_PYTORCH", None)


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    _point_to_torch()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    _point_to_torch()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)
