"""Identity: one id, one key; two ids, two keys."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import event_uuid, is_canonical
from tests.support.events import event

CANONICAL = "018f3c1e-7b1a-7c3d-8e4f-0123456789ab"


def test_a_canonical_uuid_is_its_own_key() -> None:
    assert is_canonical(CANONICAL)
    assert event_uuid(CANONICAL) == CANONICAL


@pytest.mark.parametrize(
    "other",
    [
        CANONICAL.upper(),
        CANONICAL.replace("-", ""),
        f"{{{CANONICAL}}}",
        f"urn:uuid:{CANONICAL}",
        f"{CANONICAL}\n",
        f" {CANONICAL}",
        CANONICAL.replace("0", "٠"),
    ],
)
def test_another_spelling_of_a_uuid_is_another_id(other: str) -> None:
    assert not is_canonical(other)
    assert event_uuid(other) != CANONICAL
    assert uuid.UUID(event_uuid(other)).version == 5


def test_the_key_of_one_id_sent_as_an_id_is_another_event() -> None:
    one, other = event(id="POS/1"), event(id=event_uuid("POS/1"))
    assert one.uuid == other.id
    assert one.uuid != other.uuid
    assert not is_canonical(other.id)


@pytest.mark.parametrize("version", "012346789abcdef")
def test_a_uuid_of_any_other_version_is_its_own_key(version: str) -> None:
    other = f"018f3c1e-7b1a-{version}c3d-8e4f-0123456789ab"
    assert event_uuid(other) == other


@given(st.text(min_size=1), st.text(min_size=1))
def test_keys_are_equal_exactly_where_ids_are(one: str, other: str) -> None:
    assert (event_uuid(one) == event_uuid(other)) is (one == other)
    assert str(uuid.UUID(event_uuid(one))) == event_uuid(one)


def test_a_key_never_changes_since_ledgers_are_full_of_them() -> None:
    assert event_uuid("POS/o-1/1") == "a30f4ade-d5ce-5a43-9d98-42302e30d29a"


def test_an_event_has_the_key_of_its_id() -> None:
    assert event(id="e-1").uuid == event_uuid("e-1")
    assert event(id=CANONICAL).uuid == CANONICAL


@given(st.text(min_size=1).filter(lambda text: not is_canonical(text)))
def test_any_other_id_is_kept_under_its_uuid_version_5(other: str) -> None:
    namespace = uuid.UUID("6f0c8f0e-93a5-4a53-a3a4-1d1c1d2bd7a5")  # written down again: it may never change
    assert event_uuid(other) == str(uuid.uuid5(namespace, other))
