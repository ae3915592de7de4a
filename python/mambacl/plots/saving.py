"""Figures as files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from mambacl import durable
from mambacl.errors import InvalidValueError


def check_file(path: Path) -> None:
    """Checks that a figure can be written in the format of a file's name, before the work that it shows.

    Args:
        path: Of the file; without a suffix it will be a png.

    Raises:
        InvalidValueError: If the format is unknown.
    """
    formats = sorted(FigureCanvasBase.get_supported_filetypes())
    suffix = path.suffix.removeprefix(".").lower()
    if suffix and suffix not in formats:
        raise InvalidValueError(f"plot: `--plot` must end in one of {', '.join(formats)}, got {path.name}")


def save(ax: Axes, path: Path) -> None:
    """Writes the whole figure of `ax` to a file, and closes it.

    Args:
        ax: Of the figure.
        path: Of a png, pdf or svg; without a suffix it is a png.

    Raises:
        OSError: If the file cannot be written.
    """
    figure = ax.figure.figure  # of a subfigure the whole
    if not path.suffix:
        path = path.with_name(f"{path.name}.png")
    drawn = io.BytesIO()
    try:
        figure.savefig(drawn, dpi=150, format=path.suffix.removeprefix(".").lower())
    finally:
        plt.close(figure)
    durable.write(path, drawn.getvalue())


def png(figure: Figure, *, dpi: int, tight: bool = False) -> bytes:
    """A figure as the bytes of a PNG file; closes it.

    Args:
        figure: To be drawn.
        dpi: Pixels of an inch.
        tight: Whether what is beyond the figure's edge is drawn as well, and empty margins are not.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format="png", bbox_inches="tight" if tight else None)
    plt.close(figure)
    return drawn.getvalue()
