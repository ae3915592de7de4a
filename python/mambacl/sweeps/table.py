"""The tables of a sweep, from its small files alone."""

from __future__ import annotations

import json
from pathlib import Path

from mambacl import durable
from mambacl.sweeps import curves
from mambacl.sweeps.outcome import Results
from mambacl.sweeps.sheet import Sheet
from mambacl.sweeps.sweep import Sweep
from mambacl.sweeps.table_json import as_json
from mambacl.sweeps.table_markdown import markdown


def write(sweep: Sweep, results: Results) -> Path:
    """Writes the tables beside the outcomes, and draws the curves of the runs that they are of.

    Args:
        sweep: Whose rows they have.
        results: Its outcomes.

    Returns:
        The Markdown file; a JSON file of the same name lies beside it.

    Raises:
        RunError: If an outcome cannot be read.
        OSError: If a file cannot be written.
    """
    sheet = Sheet.read(sweep, results)
    results.folder.mkdir(parents=True, exist_ok=True)
    file = results.folder / "table.md"
    if curves.has_curves(sheet):
        durable.write(results.folder / curves.CURVES, curves.draw(sheet))
    durable.write(file, markdown(sheet).encode())
    durable.write(file.with_suffix(".json"), (json.dumps(as_json(sheet), indent=1) + "\n").encode())
    return file
