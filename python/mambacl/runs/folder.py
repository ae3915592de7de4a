"""The folder of one run.

```text
run.json             the settings, all of them, the versions that made it, and digests of its data
log.jsonl            a line for each step and each meta-validation
checkpoints/step-N   the newest few, and the best
best.json            which is the best on meta-validation, and its score
tensorboard/         the same curves for TensorBoard
evaluations/         what `mambacl evaluate` measured
lock                 held by the process that trains
```
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from mambacl import durable, reading
from mambacl.errors import RunError
from mambacl.runs import checkpoint
from mambacl.runs.checkpoint import Checkpoint
from mambacl.runs.lock import held
from mambacl.runs.log import RunLog

FORMAT = 1
"""The version of run.json; a newer one is refused."""


class RunFolder:
    """A run on disk. Use `create`, `open` or `resume`.

    Attributes:
        path: The folder.
        settings: What the run is a run of: values that JSON has.
        data: Digests of the data that the run began with, by name; None if it remembers none.
        log: Its log.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, Any], data: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.settings = settings
        self.data = data
        self.log = RunLog(path / "log.jsonl")

    @staticmethod
    def is_there(path: Path) -> bool:
        """Whether a folder holds a run."""
        return (path / "run.json").exists()

    @classmethod
    def create(
        cls,
        path: Path,
        settings: Mapping[str, Any],
        versions: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> RunFolder:
        """Makes the folder of a new run.

        Args:
            path: Where; it must hold no run.
            settings: Of the run, as JSON has them.
            versions: Of the software, for the record.
            data: Digests of its data, by name; None to remember none.

        Raises:
            RunError: If there is a run already, or another process makes one.
            OSError: If the folder cannot be written.
        """
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        run = cls(path, _as_json(settings), data)
        with run.locked():  # of two processes that begin at once, one makes the run
            if cls.is_there(path):
                raise RunError(
                    f"run: `{path}` holds a run already; resume it (--resume), or choose another folder "
                    "(--run-dir)"
                )
            content = {"format": FORMAT, "settings": run.settings, "versions": dict(versions or {})}
            if data is not None:
                content["data"] = dict(data)
            durable.write(path / "run.json", (json.dumps(content, indent=1) + "\n").encode())
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Opens the folder of a run.

        Raises:
            RunError: If it holds no run, or one of a newer format.
        """
        file = path / "run.json"
        try:
            content = reading.read_json(file)
            newer, settings = content["format"] > FORMAT, content.get("settings")
            data = content.get("data")
        except FileNotFoundError:
            raise RunError(f"run: `{path}` must be the folder of a run, got no run.json there") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"run: `{file}` cannot be read: {error!r}") from error
        if newer:
            raise RunError(f"run: `{file}` must have a format of at most {FORMAT}, got {content['format']}")
        if not isinstance(settings, dict):
            raise RunError(f"run: `{file}` must hold a table of settings, got {reading.shown(settings)}")
        if data is not None and not (
            isinstance(data, dict) and all(isinstance(v, str) for v in data.values())
        ):
            raise RunError(f"run: `{file}` must hold a table of digests as `data`, got {reading.shown(data)}")
        return cls(path, settings, data)

    @classmethod
    def resume(
        cls,
        path: Path,
        settings: Mapping[str, Any],
        versions: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> RunFolder:
        """Opens the folder of a run with these settings, or makes it, as `create` does.

        Raises:
            RunError: If it holds a run of other settings; the first that differs is named.
            OSError: If the folder cannot be written.
        """
        if not cls.is_there(path):
            return cls.create(path, settings, versions, data)
        run = cls.open(path)
        run.check_settings(settings)
        return run

    def check_settings(self, settings: Mapping[str, Any], own: Mapping[str, Any] | None = None) -> None:
        """Checks that settings are the run's.

        Args:
            settings: To go on with.
            own: The run's, where those stored lack some that came to be later; None for those stored.

        Raises:
            RunError: If one differs; the first is named.
        """
        for name, (old, new) in _differences(
            _as_json(self.settings if own is None else own), _as_json(settings)
        ):
            raise RunError(f"run: `{self.path}` has `{name}` = {old}, got {new}; a run goes on as it began")

    @contextlib.contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Holds the run for this process; the lock ends with the process, however that ends. What a killed
        process left half written is cleared away.

        Raises:
            RunError: If another process holds it.
            OSError: If the folder cannot be written.
        """
        with held(self.path, "run: another process is training"):
            self._clear()
            yield

    def checkpoints(self) -> list[Path]:
        """All checkpoints, the oldest first."""
        folders = (self.path / "checkpoints").glob("step-*")
        return sorted((folder for folder in folders if _NAME.fullmatch(folder.name)), key=_step)

    @property
    def done(self) -> int:
        """Steps that the newest checkpoint has had; 0 before the first."""
        return max(map(_step, self.checkpoints()), default=0)

    def find(self, which: Literal["best", "last"] | int) -> Path:
        """A checkpoint.

        Args:
            which: The best on meta-validation (the last if there was none), the last, or that of a step.

        Raises:
            RunError: If there is none such.
        """
        all_of_them = self.checkpoints()
        if not all_of_them:
            raise RunError(f"run: `{self.path}` has no checkpoint yet")
        best = self.best() if which == "best" else None
        if which == "last" or (which == "best" and best is None):
            return all_of_them[-1]
        step = which if best is None else best["step"]
        for folder in all_of_them:
            if _step(folder) == step:
                return folder
        steps = [_step(folder) for folder in all_of_them]
        raise RunError(f"run: `{self.path}` has checkpoints of steps {steps}, got {step}")

    def best(self) -> Mapping[str, Any] | None:
        """The best meta-validation, with its `step` and `score`; None before any.

        Raises:
            RunError: If best.json cannot be read.
        """
        file = self.path / "best.json"
        try:
            best = reading.read_json(file)
            return {"step": best["step"], "score": best["score"]}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"run: `{file}` cannot be read: {error!r}") from error

    def save(self, content: Checkpoint, keep: int, best: Mapping[str, Any] | None) -> Path:
        """Writes a checkpoint and drops old ones.

        Args:
            content: What to write.
            keep: How many of the newest stay.
            best: The best meta-validation, with its `step` and `score`; its checkpoint stays besides.

        Raises:
            CheckpointError: If it cannot be written; those before it are still there.
            RunError: If the log or best.json cannot be written, or an old checkpoint not removed; all that is
                there is whole.
        """
        self.log.flush()
        folder = self.path / "checkpoints" / f"step-{content.step:08d}"
        checkpoint.write(folder, content)
        try:
            if best is not None:
                durable.write(self.path / "best.json", (json.dumps(best) + "\n").encode())
            for old in self.checkpoints()[:-keep]:
                if best is None or _step(old) != best["step"]:
                    old.rename(old.with_name(f".{old.name}.partial"))  # half deleted, it must not look whole
            self._clear()
        except OSError as error:
            raise RunError(f"run: `{self.path}` could not be written: {error}") from error
        return folder

    def _clear(self) -> None:
        """Removes what is half written or half deleted; for the one who holds the lock."""
        for torn in (self.path / "checkpoints").glob(".step-*.partial"):
            shutil.rmtree(torn)
        durable.clear(self.path)


_NAME = re.compile(r"step-\d+")


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as run.json gives them back: lists for tuples."""
    return json.loads(json.dumps(dict(settings)))


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
    elif old != new:
        yield name, (old, new)
