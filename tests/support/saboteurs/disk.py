"""A disk that is full: a file system of a few megabytes in memory, filled and freed. Needs root on Linux."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_CHUNK = bytes(4096)  # a page: nothing smaller is left over on a full one


def why_no_small_disk() -> str | None:
    """Why none can be mounted here; None when one can."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "file systems are mounted by root on Linux"
    try:
        with small_disk(1):
            return None
    except subprocess.CalledProcessError as error:
        return f"mount: {error.stderr.strip()}"


class SmallDisk:
    """`directory` is where it is mounted; everybody may write there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / "ballast"

    def fill(self) -> int:
        """Leave no room; how many bytes that took."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while ballast.write(_CHUNK):
                pass
        return self._ballast.stat().st_size

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def room(self) -> int:
        """Bytes that are left."""
        return shutil.disk_usage(self.directory).free


@contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """A disk of this size. Who writes to it has to end before the context does."""
    directory = Path(tempfile.mkdtemp(prefix="projector-disk-"))
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "none", str(directory))
        try:
            yield SmallDisk(directory)
        finally:
            _run("umount", "--lazy", str(directory))
    finally:
        directory.rmdir()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
