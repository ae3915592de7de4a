"""The Python of the README and of the guides runs as it stands."""

import re
from pathlib import Path

import pytest

from mambacl import LearnerState

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(block, id=f"{page}-{number}")
    for page in ("README.md", "docs/index.md", "docs/streams.md")
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    )
]


def test_there_is_an_example():
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_run(block: str):
    names: dict[str, object] = {}
    exec(compile(block, "page", "exec"), names)
    state = names.get("state")
    if isinstance(state, LearnerState):  # a loop like it reads on and on: no graph may be kept
        assert not any(tensor.requires_grad for tensor in state.tensors())


@pytest.mark.parametrize("page", ["deployment", "plugins", "reference"])
def test_the_page_runs_from_top_to_bottom(page: str):
    names: dict[str, object] = {}
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "page", "exec"), names)
