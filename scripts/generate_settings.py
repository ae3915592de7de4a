"""Writes Python's settings of learners, and the page that lists them, from the engine's schema.

python scripts/generate_settings.py            write both files
python scripts/generate_settings.py --check    exit with 1 where a file is not as it would be written
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch  # noqa: F401  (the engine's C++ symbols live in it)

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "python/mambacl/config/generated.py"
PAGE = ROOT / "docs/settings.md"

Schema = dict[str, Any]


def exported() -> dict[str, Schema]:
    """The engine's schemas. The extension is loaded alone: the package imports what is written here."""
    spec = importlib.util.spec_from_file_location("mambacl._core", ROOT / "python/mambacl/_core.abi3.so")
    assert spec is not None
    assert spec.loader is not None
    engine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(engine)
    return json.loads(engine.settings_schema())


SCHEMAS = exported()
WIDTH = 110

PARTS = {
    "encoder": "From an input to `d_model` numbers.",
    "target": "What an example is labelled with.",
    "mixer": "The layer that mixes along the stream.",
    "feed_forward": "The layer that follows the mixer in a block.",
}
"""Parts that come in kinds, in the order of the files, and what they are."""

HEAD = '''"""Settings of learners, by kind.

Generated from the engine's schema by `make settings`: edit the structs in `src/`, not this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Discriminator

from mambacl.config.bases import LEARNERS, EncoderSettings, LearnerSettings
from mambacl.settings import Settings
'''


def camel(name: str) -> str:
    """`gated_delta_net` as `GatedDeltaNet`."""
    return "".join(part.capitalize() for part in name.split("_"))


def class_name(part: str, kind: str) -> str:
    """The class of a kind's settings: `MambaMixer`, `PrototypeConfig`."""
    if part == "learner":
        return f"{camel(kind)}Config"
    return f"{'No' if kind == 'none' else camel(kind)}{camel(part)}"


def python_type(schema: Schema) -> str:
    """The annotation of a setting."""
    if "part" in schema:
        plain = camel(schema["part"])
    elif schema.get("title"):
        plain = schema["title"].removesuffix("Config")
    elif "const" in schema:
        plain = f"Literal[{json.dumps(schema['const'])}]"
    elif options := schema.get("oneOf") or schema.get("anyOf"):
        if all("const" in option for option in options):
            plain = f"Literal[{', '.join(json.dumps(option['const']) for option in options)}]"
        else:
            plain = " | ".join(python_type(option) for option in options)
    elif "array" in schema["type"]:
        plain = f"tuple[{python_type(schema['items'])}, ...]"
    else:
        names = {"integer": "int", "number": "float", "boolean": "bool", "string": "str"}
        plain = next((names[name] for name in names if name in schema["type"]), "Selectivity")
    optional = isinstance(schema.get("type"), list) and "null" in schema["type"]
    return f"{plain} | None" if optional else plain


def python_value(schema: Schema, value: Any) -> str:
    """A default as Python writes it."""
    if isinstance(value, list):
        return repr(tuple(value))
    if isinstance(value, dict):
        if "kind" in value:
            return f"field(default={class_name(schema['part'], value['kind'])}())"
        return "field(default=Selectivity())"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def description(schema: Schema) -> str:
    """What a setting or a kind is, with the meanings of its values where they have any."""
    return " ".join(schema["description"].split())


def wrapped(text: str, indent: str, after: str = "") -> str:
    """A paragraph within the width of lines."""
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent + after)


def docstring(schema: Schema, settings: dict[str, Schema]) -> Iterator[str]:
    """The lines of a class's docstring."""
    first, *others = schema["description"].split("\n\n")
    lines = textwrap.wrap(" ".join(first.split()), WIDTH - 4 - 3)
    yield '    """' + lines[0]
    yield from (f"    {line}" for line in lines[1:])
    for paragraph in others:
        yield ""
        yield wrapped(" ".join(paragraph.split()), "    ")
    if settings:
        yield ""
        yield "    Attributes:"
        for name, setting in settings.items():
            yield wrapped(f"{name}: {description(setting)}", " " * 8, " " * 4)
    yield '    """'


def settings_class(
    name: str, base: str, schema: Schema, kind: str | None, inherited: dict[str, Schema]
) -> str:
    """The dataclass of a kind's settings."""
    own = schema.get("properties", {})
    lines = ["@dataclass(frozen=True)", f"class {name}({base}):"]
    lines += docstring(schema, {**inherited, **own})
    lines.append("")
    for setting, about in own.items():
        default = f" = {python_value(about, about['default'])}" if "default" in about else ""
        lines.append(f"    {setting}: {python_type(about)}{default}")
    if kind is not None:
        lines.append(f'    kind: Literal["{kind}"] = field(default="{kind}", kw_only=True, repr=False)')
    return "\n".join(lines)


def module() -> str:
    """The module of settings."""
    blocks: list[str] = [HEAD]
    names = ["LearnerConfig", "Selectivity"]
    for part in PARTS:
        base = "EncoderSettings" if part == "encoder" else "Settings"
        kinds = SCHEMAS[part]["kinds"]
        classes = {kind: class_name(part, kind) for kind in kinds}
        blocks += [settings_class(classes[kind], base, kinds[kind], kind, {}) for kind in kinds]
        union = " | ".join(classes.values())
        blocks.append(f'{camel(part)} = Annotated[{union}, Discriminator("kind")]')
        names += classes.values()
    blocks.append(settings_class("Selectivity", "Settings", SCHEMAS["selectivity"], None, {}))
    interface = SCHEMAS["interface"]
    learner = settings_class("LearnerConfig", "LearnerSettings", interface, None, {})
    blocks.append(learner + '\n    kind: str = field(default="", kw_only=True, repr=False)')
    kinds = SCHEMAS["learner"]["kinds"]
    classes = {kind: class_name("learner", kind) for kind in kinds}
    blocks += [
        settings_class(classes[kind], "LearnerConfig", kinds[kind], kind, interface["properties"])
        for kind in kinds
    ]
    names += classes.values()
    entries = "\n".join(f'    "{kind}": {name},' for kind, name in classes.items())
    blocks.append("LEARNERS.update({\n" + entries + "\n})")
    listed = {part: list(SCHEMAS[part]["kinds"]) for part in [*PARTS, "learner"]}
    blocks.append(f'KINDS: dict[str, list[str]] = {json.dumps(listed)}\n"""The kinds of each part."""')
    blocks.append(f"__all__ = {json.dumps(sorted(names))}")
    return formatted("\n\n\n".join(blocks) + "\n")


def formatted(text: str) -> str:
    """Code as the project's formatter writes it."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(MODULE), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def range_text(schema: Schema) -> str:
    """The range of a setting's numbers."""
    about = schema.get("items", schema)
    for option in schema.get("anyOf", []):
        about = {**about, **option}
    low = f"≥ {about['minimum']:g}" if "minimum" in about else ""
    low = f"> {about['exclusiveMinimum']:g}" if "exclusiveMinimum" in about else low
    high = f"≤ {about['maximum']:,}".removesuffix(".0") if "maximum" in about else ""
    return ", ".join(text for text in (low, high) if text)


def table(settings: dict[str, Schema]) -> Iterator[str]:
    """Settings as a table of Markdown."""
    yield "| setting | type | default | range | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for name, about in settings.items():
        kind = python_type(about).replace("|", "or")
        default = python_value(about, about["default"]) if "default" in about else "required"
        default = default.removeprefix("field(default=").replace("())", "()")
        yield f"| `{name}` | `{kind}` | `{default}` | {range_text(about)} | {description(about)} |"


def page() -> str:
    """The page that lists all settings."""
    lines = [
        "# Settings of learners",
        "",
        "Every setting of a learner, its default and its range, as the engine declares them. In TOML they",
        "stand in `[model]`, and those of a part in a table of its own, such as `[model.mixer]`, with the",
        "part's `kind`. In Python each kind is a dataclass. `make settings` writes this page.",
        "",
        "## All learners",
        "",
        *table(SCHEMAS["interface"]["properties"]),
    ]
    sections = [("learner", "Kinds of learners", "")]
    sections += [(part, f"Kinds of {part.replace('_', '-')}s", about) for part, about in PARTS.items()]
    for part, title, about in sections:
        lines += ["", f"## {title}", *(["", about] if about else [])]
        for kind, schema in SCHEMAS[part]["kinds"].items():
            lines += ["", f"### `{kind}`: `{class_name(part, kind)}`", "", description(schema)]
            if own := schema.get("properties"):
                lines += ["", *table(own)]
    lines += ["", "## `selectivity`: `Selectivity`", "", description(SCHEMAS["selectivity"]), ""]
    lines += table(SCHEMAS["selectivity"]["properties"])
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the files, or compares them."""
    written = {MODULE: module(), PAGE: page()}
    if "--check" not in sys.argv[1:]:
        for path, text in written.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in written.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} must be as the engine's schema has it: run `make settings`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
