"""A read model of somebody else's has its SQL beside it, wherever that is."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from consumer.read_model_sql import TableSql
from consumer.read_models import READ_MODELS, View
from consumer.read_models.customer_summary import CustomerSummary
from schemas.errors import Refused

MODELS = """
from consumer.read_models import View
from consumer.read_models.customer_summary import CustomerSummary


class Late(View):
    pass


class Regulars(CustomerSummary):
    name = "regulars"
"""

DERIVED = """
from {base} import Regulars


class Newer(Regulars):
    version = 2
"""


class Shop:
    """Modules of somebody's own, in a package or in none. Each test has names of its own."""

    def __init__(self, home: Path, package: str) -> None:
        self.directory = home / package
        self.directory.mkdir(exist_ok=True)
        self._prefix = f"{package}." if package else ""
        self._suffix = home.name

    def name(self, module: str) -> str:
        return f"{self._prefix}{module}_{self._suffix}"

    def module(self, module: str, text: str) -> ModuleType:
        (self.directory / f"{module}_{self._suffix}.py").write_text(text)
        return import_module(self.name(module))


@pytest.fixture(params=["", "package"])
def shop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.syspath_prepend(tmp_path)
    return Shop(tmp_path, f"package_{tmp_path.name}" if request.param else "")


def test_a_view_has_the_sql_beside_the_module_of_its_class(shop: Shop) -> None:
    late = shop.module("models", MODELS).Late("late", version=1)
    (shop.directory / "late.sql").write_text("SELECT 1 AS one")
    assert late.view_sql() == "SELECT 1 AS one"


def test_so_has_what_is_stored_and_it_counts_in_the_fingerprint(shop: Shop) -> None:
    regulars = shop.module("models", MODELS).Regulars()
    assert regulars.view_sql() is None
    without = regulars.fingerprint
    (shop.directory / "regulars.sql").write_text("SELECT 2 AS two")
    assert regulars.fingerprint != without
    assert "SELECT 2 AS two" in TableSql(regulars).create_view


def test_a_class_that_derives_from_it_elsewhere_has_it_too(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.syspath_prepend(elsewhere)
    shop.module("models", MODELS)
    (elsewhere / f"newer_{tmp_path.name}.py").write_text(DERIVED.format(base=shop.name("models")))
    newer = import_module(f"newer_{tmp_path.name}").Newer()
    (shop.directory / "regulars.sql").write_text("SELECT 2 AS two")
    assert newer.view_sql() == "SELECT 2 AS two"
    (elsewhere / "regulars.sql").write_text("SELECT 3 AS three")
    assert newer.view_sql() == "SELECT 3 AS three"


def test_a_view_without_sql_is_refused_with_the_places_that_were_looked_at(shop: Shop) -> None:
    late = shop.module("models", MODELS).Late("late", version=1)
    for asked in (late.view_sql, lambda: late.fingerprint):
        with pytest.raises(Refused, match=r"no late\.sql in ") as refused:
            asked()
        assert str(shop.directory) in str(refused.value)
        assert "consumer/read_models" in str(refused.value)


def test_a_file_with_nothing_in_it_is_no_sql(shop: Shop) -> None:
    (shop.directory / "late.sql").write_text("")
    with pytest.raises(Refused, match="has no SQL"):
        shop.module("models", MODELS).Late("late", version=1).view_sql()


def test_a_class_that_was_made_up_on_the_spot_has_the_built_in_one_to_fall_back_on() -> None:
    made_up = type("MadeUp", (CustomerSummary,), {"__module__": "nowhere"})()
    assert made_up.view_sql() == CustomerSummary().view_sql()


def test_the_built_in_views_are_found() -> None:
    assert all("FROM projector." in model.view_sql() for model in READ_MODELS if isinstance(model, View))
