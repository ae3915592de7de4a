"""The README's Python runs as it stands, and so does that of the page on deployment."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
DEPLOYMENT = README.parent / "docs" / "deployment.md"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)


BLOCKS = blocks(README)


def test_there_is_an_example():
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_run(block: str):
    exec(compile(block, str(README), "exec"), {})


def test_the_page_on_deployment_runs_from_top_to_bottom():
    names: dict[str, object] = {}
    assert len(blocks(DEPLOYMENT)) == 2
    for block in blocks(DEPLOYMENT):
        exec(compile(block, str(DEPLOYMENT), "exec"), names)
