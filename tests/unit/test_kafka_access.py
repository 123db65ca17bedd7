"""What a broker advertises has to be as safe as what it was reached by."""

from __future__ import annotations

import pytest

from runtime.kafka_access import _Address, _expect_encrypted
from runtime.settings import load
from schemas.errors import Refused

HERE, FAR = _Address("127.0.0.1", 9092), _Address("kafka-2.example", 9092)
SASL = {
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "shop",
    "KAFKA_SASL_PASSWORD": "hunter2",
}


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_a_broker_elsewhere_is_refused_in_the_clear(protocol: str) -> None:
    settings = load({"KAFKA_SECURITY_PROTOCOL": protocol, **SASL})
    with pytest.raises(Refused, match=r"leads to kafka-2\.example:9092 \(advertised\.listeners\)"):
        _expect_encrypted(settings, [HERE, FAR])


@pytest.mark.parametrize(
    ("given", "brokers"),
    [
        ({}, [HERE]),
        ({"PROJECTOR_ALLOW_PLAINTEXT": "true"}, [FAR]),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **SASL}, [FAR]),
    ],
    ids=["here", "allowed", "encrypted"],
)
def test_here_by_leave_or_encrypted_it_is_none_of_our_business(given: dict[str, str], brokers: list[_Address]) -> None:
    _expect_encrypted(load(given), brokers)
