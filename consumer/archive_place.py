"""Where an archive is: a folder on disk, or a prefix in an object store. Imports pyarrow, like archive_parquet.

A file appears under its name whole or not at all, and never replaces another:

- On disk it is written beside its place under a name that no reader takes (`.….tmp`), brought to the disk, and linked
  to its name, which fails if that is taken. What a killed program leaves is removed by a later one, after an hour.
- An object is sent in one call from a nameless local file. Bytes given to pyarrow piece by piece would become a torn
  object if the program failed between two pieces, since pyarrow completes an upload that it is told to forget. Object
  stores can refuse to replace, but pyarrow can't ask them to: we look first, and whoever writes looks again afterwards.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pyarrow as pa
from aiokafka import TopicPartition
from pyarrow import fs

from consumer import archive_layout, archive_parquet
from consumer.archive_layout import Segment
from runtime.hosts import is_loopback
from schemas.errors import Refused, Unavailable

_STALE = 3600.0  # seconds without a write, after which a temporary file is nobody's; one taken wrongly is written again
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # of file systems that don't know hard links
_READERS = 16  # files whose ends are read at once
_KEYED = ("s3", "gcs", "abfs")  # stores in which folders need not be made


class Found(NamedTuple):
    """A file of the archive by its name. `size` and `changed` tell two apart that had the same."""

    path: str
    of: TopicPartition
    first: int
    size: int
    changed: int


class Staged(NamedTuple):
    """A file that is being written. `publish` gives it its name; False if that is taken."""

    file: BinaryIO
    publish: Callable[[], bool]


class Place:
    """A file system and a folder in it."""

    def __init__(self, url: str, system: Any, root: str) -> None:
        self.url = url.partition("?")[0]  # for messages: what follows may be a secret
        self._system = system
        self._root = root.rstrip("/")
        self._on_disk = isinstance(system, fs.LocalFileSystem)

    @classmethod
    def at(cls, url: str, *, allow_plaintext: bool = False) -> Place:
        """Raises Refused for what is no place, or one that would be reached unencrypted or with a password in its URL,
        and Unavailable."""
        if "://" not in url:
            return cls(url, fs.LocalFileSystem(), str(Path(url).absolute()))
        parts = urlsplit(url)
        if parts.password is not None or (parts.username is not None and not parts.scheme.startswith("abfs")):
            raise Refused("an archive's URL holds no credentials: put them where the store's own tools find them")
        query = parse_qs(parts.query)
        host = query.get("endpoint_override", [""])[-1].rpartition(":")[0]
        if query.get("scheme") == ["http"] and not is_loopback(host) and not allow_plaintext:
            raise Refused(f"{url}: unencrypted to {host!r}; PROJECTOR_ALLOW_PLAINTEXT=true if the network is safe")
        try:
            system, root = fs.FileSystem.from_uri(url)
        except pa.ArrowInvalid as error:
            raise Refused(f"{url}: {error}") from None
        except OSError as error:  # an object store is asked where its bucket is
            raise Unavailable(f"{url}: {error}") from error
        if not root:
            raise Refused(f"{url}: has to be like s3://bucket/prefix")
        return cls(url, system, root)

    def files(self, topic: str, partition: int | None = None) -> list[Found]:
        """A topic's segments, or a partition's, by their names, in order. What has another name is not looked at."""
        folder = f"{self._root}/{archive_layout.folder(topic, partition)}"
        with self.translated():
            listed = self._system.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
        found = []
        for one in listed:
            named = archive_layout.place_of(one.path) if one.type == fs.FileType.File else None
            if named is not None and named[0].topic == topic:
                found.append(Found(one.path, *named, one.size, one.mtime_ns))
        return sorted(found, key=lambda one: (one.of, one.first))

    def segments(self, files: Iterable[Found]) -> list[Segment]:
        """What these files say of themselves. Raises Refused if one can't be read."""
        with ThreadPoolExecutor(_READERS) as threads:
            return list(threads.map(self._segment, files))

    def _segment(self, file: Found) -> Segment:
        with self.opened(file.path) as source:
            return archive_parquet.segment_of(file.path, source)

    @contextmanager
    def opened(self, path: str) -> Iterator[Any]:
        """A file to be read."""
        with self.translated(path), self._system.open_input_file(path) as source:
            yield source

    @contextmanager
    def staged(self, of: TopicPartition, first: int) -> Iterator[Staged]:
        """A file to be written, which is gone at the end if it wasn't published."""
        path = f"{self._root}/{archive_layout.folder(*of)}/{archive_layout.file_name(of, first)}"
        temporary = _beside(Path(path)) if self._on_disk else tempfile.TemporaryFile()  # noqa: SIM115  below
        with self.translated(), temporary as file:
            yield Staged(file, partial(self._publish, file, path))

    def _publish(self, file: BinaryIO, path: str) -> bool:
        with self.translated():
            file.flush()
            return _link(file, Path(path)) if self._on_disk else self._upload(file, path)

    def _upload(self, file: BinaryIO, path: str) -> bool:
        if self._system.type_name not in _KEYED:
            self._system.create_dir(path.rpartition("/")[0], recursive=True)
        if self._system.get_file_info(path).type != fs.FileType.NotFound:
            return False
        stream = self._system.open_output_stream(path)
        stream.write(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        stream.close()
        return True

    @contextmanager
    def translated(self, path: str | None = None) -> Iterator[None]:
        """The file system's errors inside the block leave it as Unavailable or Refused."""
        where = path or self.url
        try:
            yield
        except (pa.ArrowInvalid, PermissionError, FileNotFoundError) as error:
            raise Refused(f"{where}: {error}") from None
        except OSError as error:
            if self._on_disk:  # it is full, or broken
                raise Refused(f"{where}: {error}") from None
            raise Unavailable(f"{where}: {error}") from error


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """A temporary file in the folder of this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(".*.tmp"):
        with suppress(FileNotFoundError):  # another program removes it too
            if time.time() - old.stat().st_mtime > _STALE:
                old.unlink()
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("x+b") as file:
            yield file
    finally:
        temporary.unlink(missing_ok=True)


def _link(file: BinaryIO, path: Path) -> bool:
    os.fsync(file.fileno())
    try:
        os.link(file.name, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            return False
        Path(file.name).rename(path)
    _sync(path.parent)
    return True


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
