"""What is measured of a whole sweep: a small JSON file beside its outcomes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, TypeVar

from mambacl import durable, reading, settings
from mambacl.errors import ConfigError, RunError
from mambacl.settings import Settings

B = TypeVar("B", bound="Beside")


class Beside(Settings):
    """What every such measurement derives from.

    Attributes:
        name: Of the file, without its ending.
        indent: Of the JSON; None for a single line.
    """

    name: ClassVar[str]
    indent: ClassVar[int | None] = None

    @classmethod
    def read(cls: type[B], folder: Path) -> B | None:
        """What was measured; None if nothing was.

        Args:
            folder: Of the sweep's results.

        Raises:
            RunError: If the file is damaged or of another version.
        """
        file = folder / f"{cls.name}.json"
        try:
            return settings.read(cls, reading.read_json(file), cls.name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, ConfigError) as error:
            raise RunError(f"sweep: `{file}` cannot be read: {error}") from error

    def write(self, folder: Path) -> None:
        """Keeps it beside the outcomes.

        Args:
            folder: Of the sweep's results.

        Raises:
            OSError: If it cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(settings.table(self), indent=self.indent)
        durable.write(folder / f"{self.name}.json", (content + "\n").encode())
