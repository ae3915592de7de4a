"""The list of all studies, beside their pages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mambacl import durable
from mambacl.studies.page import command
from mambacl.studies.scale import Scale
from mambacl.studies.study import Study


def write_contents(studies: Iterable[Study[Any]], scale: Scale, folder: Path) -> Path:
    """Writes README.md into the folder of studies: of each its question, its command, and its page if it has
    one there.

    Args:
        studies: To list.
        scale: They are conducted at.
        folder: With a folder for each study.

    Returns:
        The file.

    Raises:
        OSError: If it cannot be written.
    """
    parts = [
        "# Studies",
        "Each is a question to trained learners. Its command trains those that are missing, asks them, and "
        "writes a page with figures and tables; what is done is not done again. `--fast` tries it within "
        "minutes, `--jobs` says how many are trained beside one another.",
    ]
    for study in studies:
        page = f"{study.name}/README.md"
        title = study.name.capitalize()
        heading = f"[{title}]({page})" if (folder / page).exists() else title
        parts += [f"## {heading}", study.question, f"```sh\n{command(study, scale)}\n```"]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "README.md"
    durable.write(file, ("\n\n".join(parts) + "\n").encode())
    return file
