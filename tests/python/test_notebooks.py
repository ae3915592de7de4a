"""Every notebook under notebooks/ runs, is committed with clean outputs, and uses the public package only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mambacl

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra `notebooks`: nbformat is missing")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
FUNCTION_LINES = 5
"""A longer function belongs in the package, where it is tested."""
LARGEST = 600_000
"""Bytes of a notebook, figures included."""
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])(/(home|root|tmp|usr|opt|mnt|work|Users)/|[A-Z]:\\)|site-packages|/\.venv/"
)

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code(notebook: Any) -> Iterator[str]:
    return (cell.source for cell in notebook.cells if cell.cell_type == "code")


def outputs(notebook: Any) -> Iterator[Any]:
    return (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)


def texts(notebook: Any) -> Iterator[str]:
    """What a reader sees, beside images."""
    for cell in notebook.cells:
        yield cell.source
    for output in outputs(notebook):
        yield output.get("text", "")
        yield from (text for kind, text in output.get("data", {}).items() if kind.startswith("text/"))


def test_there_is_a_notebook():
    assert NOTEBOOKS


@every_notebook
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip(
        "ipykernel", reason="running notebooks needs the extra `notebooks`: ipykernel is missing"
    )
    nbclient = pytest.importorskip(
        "nbclient", reason="running notebooks needs the extra `notebooks`: nbclient is missing"
    )
    monkeypatch.setenv("MAMBACL_FAST", "1")
    # The package under test, for a kernel whose folder is another; and nothing of the user's own IPython.
    monkeypatch.setenv("PYTHONPATH", str(Path(mambacl.__file__).parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    folder = tmp_path / "work"
    folder.mkdir()
    notebook = read(path)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute()  # raises with the cell and its traceback
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
    assert list(folder.iterdir()) == []  # a notebook leaves nothing behind


@every_notebook
def test_it_is_committed_as_it_ran(path: Path):
    """Run from top to bottom in one go, without errors and warnings."""
    notebook = read(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    for output in outputs(notebook):
        assert output.output_type != "error", output.evalue
        assert output.get("name") != "stderr", output.text
    assert any("image/png" in output.get("data", {}) for output in outputs(notebook))
    assert path.stat().st_size < LARGEST


@every_notebook
def test_it_tells_nothing_of_the_machine(path: Path):
    for text in texts(read(path)):
        assert not MACHINE_PATH.search(text), text


@every_notebook
def test_it_defines_no_library_code(path: Path):
    for cell in code(read(path)):
        for node in ast.walk(ast.parse(cell)):
            assert not isinstance(node, ast.ClassDef), f"class {node.name}"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < FUNCTION_LINES, f"function {node.name} is too long"


@every_notebook
def test_it_uses_the_public_package_only(path: Path):
    for cell in code(read(path)):
        for node in ast.walk(ast.parse(cell)):
            if isinstance(node, ast.Attribute):
                assert not re.match("_[^_]", node.attr), f"attribute {node.attr}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
                parts = [part for alias in node.names for part in f"{module}.{alias.name}".split(".")]
                assert not [part for part in parts if re.match("_[^_]", part)], f"import of {parts}"


@every_notebook
def test_its_links_lead_somewhere(path: Path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#]+)", cell.source):
                if "://" not in target:
                    assert (path.parent / target).exists(), target
