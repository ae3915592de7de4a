"""The page of a study: its question, command, figures and tables, and what was found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mambacl import durable, reading
from mambacl.plots.saving import png
from mambacl.studies.scale import Scale
from mambacl.studies.study import A, Report, Study, Told

_FINDINGS = "findings.md"


def write_page(study: Study[A], scale: Scale, told: Sequence[Told[A]], report: Report, folder: Path) -> Path:
    """Writes README.md and the figures into a study's folder.

    What was found is written by a person, in `findings.md` beside them, and taken over.

    Args:
        study: To tell of.
        scale: It was conducted at.
        told: Who answered.
        report: What the answers come to.
        folder: Of the study.

    Returns:
        The page.

    Raises:
        OSError: If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures: list[str] = []
    for name, figure in report.figures.items():
        durable.write(folder / f"{name}.png", png(figure, dpi=120, tight=True))
        pictures.append(f"![{name.replace('-', ' ')}]({name}.png)")
    findings = folder / _FINDINGS
    parts = [
        f"# {study.name.replace('-', ' ').capitalize()}",
        study.question,
        f"```sh\n{command(study, scale)}\n```",
        *(["Tried with a few steps of training: these numbers say nothing of learners."] * scale.fast),
        *([reading.read_text(findings).strip()] if findings.exists() else []),
        f"**The paper**: {study.reported}",
        *_models(told),
        *report.notes,
        *pictures,
        *(f"{caption}\n\n{table}" for caption, table in report.tables.items()),
    ]
    file = folder / "README.md"
    durable.write(file, ("\n\n".join(parts) + "\n").encode())
    return file


def command(study: Study[Any], scale: Scale) -> str:
    """What conducts a study at a scale."""
    words = ["mambacl study", study.name]
    if scale.fast:
        words.append("--fast")
    elif scale != Scale():
        words.append(f"--episodes {scale.episodes}")
    return " ".join(words)


def _models(told: Sequence[Told[Any]]) -> list[str]:
    """A sentence for each sweep: which seeds of its learners answered."""
    seeds: dict[str, dict[str, list[int]]] = {}
    for one in told:
        if one.seed is not None:
            seeds.setdefault(one.sweep, {}).setdefault(one.learner, []).append(one.seed)
    sentences: list[str] = []
    for sweep, by_learner in seeds.items():
        groups: dict[tuple[int, ...], list[str]] = {}
        for learner, of_learner in by_learner.items():
            groups.setdefault(tuple(of_learner), []).append(learner)
        each = (
            f"seed{'s' * (len(group) > 1)} {', '.join(map(str, group))} of {', '.join(learners)}"
            for group, learners in groups.items()
        )
        sentences.append(f"Models of [{sweep}](../../{sweep}/table.md): {'; '.join(each)}.")
    return sentences
