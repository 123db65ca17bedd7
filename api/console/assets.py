"""Styles and scripts, from memory, under addresses that name their content: so they may be kept for ever."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fastapi import Response

from api.problems import Problem

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


class Assets:
    """The files of `static/`, read once."""

    def __init__(self) -> None:
        self._content = {
            one.name: one.read_bytes()
            for one in files("api.console").joinpath("static").iterdir()
            if one.name.rpartition(".")[2] in _TYPES
        }
        self._digests = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in self._content.items()}

    def path(self, name: str) -> str:
        """Where a file is."""
        return f"/console/static/{self._digests[name]}/{name}"

    def answer(self, digest: str, name: str) -> Response:
        """A file, if it is still the one that was asked for."""
        if self._digests.get(name) != digest:
            raise Problem(404, "not-found", "there is no such file")
        headers = {"Cache-Control": _FOR_EVER, "X-Content-Type-Options": "nosniff"}
        return Response(self._content[name], headers=headers, media_type=_TYPES[name.rpartition(".")[2]])
