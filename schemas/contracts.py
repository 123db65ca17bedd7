"""The published contract as files, made from the code: `python -m schemas.contracts --write`, or `--check`.

A developer's command: it needs PyYAML (dependency group `test`), which nothing at run time does.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from schemas import asyncapi
from schemas.json_schema import event_schemas

FOLDER = Path(__file__).parent / "published"


class _PlainYaml(yaml.SafeDumper):
    """Without anchors, and with a text of several lines as one reads it."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_PlainYaml.add_representer(str, _text)


def files() -> dict[str, str]:
    """Name → text of every published file. The same code gives the same bytes."""
    texts = {
        f"{name}.json": json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, schema in event_schemas().items()
    }
    texts["asyncapi.yaml"] = yaml.dump(asyncapi.document(), Dumper=_PlainYaml, allow_unicode=True, width=120)
    return dict(sorted(texts.items()))


def published(folder: Path) -> dict[str, str]:
    """Name → text of every file that is there."""
    return {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*")) if path.is_file()}


def drift(there: Mapping[str, str], made: Mapping[str, str]) -> Iterator[str]:
    """Lines of a unified diff from what is published to what the code makes."""
    for name in sorted({*there, *made}):
        old, new = (texts.get(name, "").splitlines() for texts in (there, made))
        yield from difflib.unified_diff(old, new, f"published/{name}", f"code/{name}", lineterm="")


def write(folder: Path) -> None:
    """Makes the folder hold the published files and nothing else."""
    made = files()
    folder.mkdir(exist_ok=True)
    for name in published(folder).keys() - made.keys():
        (folder / name).unlink()
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(prog="python -m schemas.contracts", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="write schemas/published/ anew")
    what.add_argument("--check", action="store_true", help="show how it differs from the code; exit 1 if it does")
    if parser.parse_args(arguments).write:
        write(folder)
        return 0
    differences = list(drift(published(folder), files()))
    for line in differences:
        sys.stdout.write(f"{line}\n")
    if differences:
        sys.stderr.write("schemas/published/ is not what the code says: python -m schemas.contracts --write\n")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
