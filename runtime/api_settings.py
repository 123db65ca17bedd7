"""The settings of the HTTP service's own door: a part of runtime.settings, in a file of its own for its length."""

from __future__ import annotations

import ssl
from typing import Any

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from runtime import tls

_TLS = ("PROJECTOR_API_TLS_CERT", "PROJECTOR_API_TLS_KEY", "PROJECTOR_API_TLS_CLIENT_CA")


def named(name: str, default: Any, text: str, **more: Any) -> Any:
    """A setting: its name in the environment, its default, what it is for."""
    return Field(default, validation_alias=name, description=text, **more)


class ApiSettings(BaseSettings):
    """TLS of `projector api`. Its own tokens and secret stand in Settings."""

    api_tls_cert: str | None = named(
        _TLS[0], None, "PEM file with the HTTP service's certificate, and those that lead to its CA: it serves TLS then"
    )
    api_tls_key: str | None = named(_TLS[1], None, "PEM file with that certificate's private key, without a password")
    api_tls_client_ca: str | None = named(
        _TLS[2],
        None,
        "CA certificates (PEM file) that sign clients': each has to show one then, in the place of a bearer token",
    )

    @model_validator(mode="after")
    def _is_whole(self) -> ApiSettings:
        if (self.api_tls_cert is None) is not (self.api_tls_key is None):
            raise ValueError(f"{_TLS[0]} and {_TLS[1]} go together")
        if self.api_tls_client_ca is not None and self.api_tls_cert is None:
            raise ValueError(f"{_TLS[2]} needs {_TLS[0]} and {_TLS[1]} too")
        return self

    def api_tls(self) -> ssl.SSLContext | None:
        """What the HTTP service serves with; None: in the clear. Raises Refused if a file can't be used."""
        if self.api_tls_cert is None or self.api_tls_key is None:
            return None
        return tls.serving(self.api_tls_cert, self.api_tls_key, self.api_tls_client_ca, _TLS)
