"""SQL lives in `.sql` files: every block is used, every use exists, and Python holds none."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from runtime.sql import Queries, quoted

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "runtime", "consumer", "producer", "api", "cli", "testkit")
FILES = (
    "consumer/queries.sql",
    "consumer/journal.sql",
    "consumer/rebuild.sql",
    "consumer/prune.sql",
    "consumer/letters.sql",
    "consumer/proof.sql",
    "consumer/read_models.sql",
    "consumer/verification.sql",
    "producer/queries.sql",
    "api/queries.sql",
    "api/console.sql",
    "cli/demo.sql",
    "testkit/queries.sql",
    "schemas/ddl/runner.sql",
)

# Names that are put together at run time: the tables of a proof, the templates of the two kinds of read model.
BUILT = {
    "consumer/proof.sql": {
        "order_summary",
        "order_timeline",
        "customer_summary",
        "product_sales_daily",
        "fulfilment_queue",
    },
    "consumer/read_models.sql": {
        *(f"{kind}_{part}" for kind in ("document", "contribution") for part in ("table", "reading")),
        *(f"contribution_{part}" for part in ("stage", "merge", "unstage")),
    },
}

# Modules whose queries others of their package use too.
SHARED = {
    "consumer.rebuild.shadow": "consumer/rebuild.sql",
    "producer.outbox": "producer/queries.sql",
    "api.reading": "api/queries.sql",
}

STATEMENT = re.compile(
    r"^\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|DROP|ALTER|TRUNCATE|LOCK TABLE|WITH|GRANT|REVOKE|VACUUM|COPY|MERGE)\s"
    r"|\s(FROM|WHERE|RETURNING|VALUES|ORDER BY|GROUP BY|ON CONFLICT|FOR UPDATE)\s"
)


def blocks(file: str) -> dict[str, str]:
    """Name to text, by another reader than the program's own."""
    found: dict[str, str] = {}
    for part in (ROOT / file).read_text("utf-8").split("-- name: ")[1:]:
        name, _, text = part.partition("\n")
        assert name.strip() not in found, f"{file}: {name} stands there twice"
        found[name.strip()] = text
    return found


@cache
def sources() -> list[tuple[Path, ast.Module]]:
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return [(path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))) for path in paths]


def strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Every string that is no docstring."""
    stated = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in stated:
            yield node


@cache
def readers(file: str) -> list[ast.Module]:
    """The modules that read a file of queries."""
    package, _, name = file.rpartition("/")
    found = []
    for _, tree in sources():
        loads = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Queries"]
        arguments = [tuple(ast.literal_eval(one) for one in load.args) for load in loads]
        shared = {
            node.module
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and any(alias.name == "SQL" for alias in node.names)
        }
        if (
            file in {SHARED.get(module or "") for module in shared}
            or (package, name) in arguments
            or (name == "runner.sql" and any(one.value == name for one in strings(tree)))
        ):
            found.append(tree)
    return found


def asked(tree: ast.Module) -> set[str]:
    """The names that a module asks its queries for by a literal: `_SQL["name"]`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("_SQL", "SQL", "_TEMPLATES", "statements"):
            found |= {str(node.slice.value)} if isinstance(node.slice, ast.Constant) else set()
    return found


@pytest.mark.parametrize("file", FILES)
def test_every_query_is_used(file: str) -> None:
    said = {str(node.value) for tree in readers(file) for node in strings(tree)}
    unused = blocks(file).keys() - said - BUILT.get(file, set())
    assert not unused


@pytest.mark.parametrize("file", FILES)
def test_every_use_exists(file: str) -> None:
    trees = readers(file)
    assert trees, f"nobody reads {file}"
    assert not set().union(*map(asked, trees)) - blocks(file).keys()
    assert BUILT.get(file, set()) <= blocks(file).keys()


@pytest.mark.parametrize("file", FILES)
def test_every_query_says_what_it_is_for_and_is_one_statement(file: str) -> None:
    for name, text in blocks(file).items():
        purpose = re.match(r"(-- .*\n)+", text)
        assert purpose, f"{file}: {name}"
        assert purpose[0].rstrip().endswith((".", "?", ")")), f"{file}: {name}"
        assert text.rstrip().endswith(";"), f"{file}: {name}"
        assert text.count(";") == 1 or (file, name) == ("schemas/ddl/runner.sql", "prepare"), f"{file}: {name}"


@pytest.mark.parametrize("file", FILES[:-1])
def test_the_loader_sees_what_stands_in_the_file(file: str) -> None:
    package, _, name = file.rpartition("/")
    queries = Queries(package, name)
    assert dict(queries) == {name: text.strip() for name, text in blocks(file).items()}
    with pytest.raises(KeyError):
        queries["no such query"]


def test_all_sql_files_are_known_here() -> None:
    named = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.sql")}
    with_names = {file for file in named if "-- name:" in (ROOT / file).read_text("utf-8")}
    assert with_names == set(FILES)


def test_python_holds_no_sql() -> None:
    shown = {Path("cli/proof_report.py")}  # what a person may type into psql
    found = [
        f"{path}:{node.lineno}: {node.value!r}"
        for path, tree in sources()
        for node in strings(tree)
        if path not in shown and STATEMENT.search(str(node.value))
    ]
    assert not found


@pytest.mark.parametrize("text", ["SELECT 1", " DELETE FROM x", "x WHERE y", "a ON CONFLICT b", "WITH a AS (SELECT 1)"])
def test_sql_in_python_would_be_seen(text: str) -> None:
    [node] = strings(ast.parse(f"x = {text!r}"))
    assert STATEMENT.search(str(node.value))
    assert not list(strings(ast.parse(f'def f():\n    """{text}"""')))


def test_a_quoted_identifier_is_one_name_whatever_stands_in_it() -> None:
    assert quoted("orders") == '"orders"'
    assert quoted('x"; DROP TABLE y; --') == '"x""; DROP TABLE y; --"'
