"""Named queries: SQL lives in `.sql` files, Python asks for it by name.

A file is a list of blocks, each headed by `-- name: the_name` and one comment line that says what it is for.
`{braces}` are filled by whoever builds SQL for a read model; values always go as parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

HOME = "projector"  # the schema that the queries name

_PARAMETER = re.compile(r"\$([0-9]+)")
_HEAD = re.compile(r"^-- name: (?P<name>[a-z0-9_]+)$", re.MULTILINE)


class Queries(Mapping[str, str]):
    """The queries of one file of a package. A missing name is a KeyError, at the time of asking."""

    def __init__(self, package: str, name: str) -> None:
        self._text = _blocks(files(package).joinpath(name).read_text("utf-8"))
        self._elsewhere: dict[str, Mapping[str, str]] = {HOME: self}

    def within(self, schema: str) -> Mapping[str, str]:
        """The same queries on tables of another schema than `projector`, which have the same names there."""
        if schema not in self._elsewhere:
            there = f"{quoted(schema)}."
            self._elsewhere[schema] = {name: text.replace(f"{HOME}.", there) for name, text in self._text.items()}
        return self._elsewhere[schema]

    def __getitem__(self, name: str) -> str:
        return self._text[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._text)

    def __len__(self) -> int:
        return len(self._text)


def renumbered(statement: str, by: int, after: int = 2) -> str:
    """The statement with its parameters, but for the first `after`, moved on by so many places."""
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + (by if int(found[1]) > after else 0)}", statement)


def quoted(identifier: str) -> str:
    """An identifier, quoted for SQL. Only names from code come here, but one with a quote in it stays one name."""
    return '"' + identifier.replace('"', '""') + '"'


def _blocks(text: str) -> dict[str, str]:
    heads = list(_HEAD.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {head["name"]: text[head.end() : end].strip() for head, end in zip(heads, ends, strict=True)}
