"""Answers to a study, a small JSON file each: pages are made of them without any run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Generic

from mambacl import durable, reading, settings
from mambacl.errors import ConfigError, RunError
from mambacl.settings import Settings
from mambacl.studies.scale import Scale
from mambacl.studies.study import A


class Answers(Generic[A]):
    """The answers to a study.

    Args:
        folder: Where they are.
        kind: What an answer is read into.
        scale: How much is asked.

    Attributes:
        written: Names of those that were written by way of this object.
    """

    def __init__(self, folder: Path, kind: type[A], scale: Scale) -> None:
        self.folder = folder
        self.kind = kind
        self.scale = scale
        self.written: set[str] = set()

    def there(self) -> int:
        """How many there are that were written before."""
        return sum(file.stem not in self.written for file in self.folder.glob("*.json"))

    def read(self, name: str, asked: dict[str, Any] | None = None) -> A | None:
        """An answer.

        Args:
            name: Of who answered.
            asked: What the answer depends on; None for whatever it was, at this scale.

        Returns:
            The answer; None if there is none, or if something else was asked.

        Raises:
            RunError: If the file is damaged or of another version; or, whatever it was, of another scale.
        """
        file = self._file(name)
        try:
            content: dict[str, Any] = reading.read_json(file)
            if asked is not None and content["asked"] != _digest(asked):
                return None
            answer = settings.read(self.kind, content["answer"], "answer")
            scale = settings.read(Scale, content["scale"], "scale") if "scale" in content else self.scale
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, ConfigError) as error:
            raise RunError(f"study: `{file}` cannot be read: {error!r}") from error
        if scale != self.scale:  # files of the first versions do not tell it
            raise RunError(
                f"study: `{file}` must hold an answer of {self.scale}, as the others of one page, got one of "
                f"{scale}; give the same options as when it was asked, or ask again without `--page`"
            )
        return answer

    def write(self, name: str, asked: dict[str, Any], answer: Settings) -> None:
        """Writes an answer.

        Raises:
            OSError: If it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "asked": _digest(asked),
            "scale": settings.table(self.scale),
            "answer": settings.table(answer),
        }
        durable.write(self._file(name), (json.dumps(content, ensure_ascii=False) + "\n").encode())
        self.written.add(name)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def _digest(asked: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
