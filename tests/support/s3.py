"""A small S3: a bucket in memory behind the part of its protocol that pyarrow's client speaks. Checks no signature."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase, BytesIO
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Bucket:
    """One bucket. `refuses`: the method and a word of the query of requests that are not allowed."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: Counter[str] = Counter()
        self.refuses: tuple[str, str] | None = None
        self.port = 0

    def url(self, prefix: str, bucket: str = "shop") -> str:
        return f"s3://{bucket}/{prefix}?scheme=http&endpoint_override=127.0.0.1:{self.port}&region=eu-west-1"

    def listed(self, prefix: str, delimiter: str) -> str:
        """Keys and, with a delimiter, what they have in common up to it."""
        keys, folders = [], set()
        for key in sorted(self.objects):
            if key.startswith(prefix):
                below, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                if found:
                    folders.add(prefix + below + delimiter)
                else:
                    keys.append(key)
        entries = [f"<Contents><Key>{escape(k)}</Key><Size>{len(self.objects[k])}</Size></Contents>" for k in keys]
        entries += [f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders)]
        count = len(keys) + len(folders)
        return f"<KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated>{''.join(entries)}"


def _joined(stream: BufferedIOBase) -> bytes:
    """The chunks of HTTP, or those of AWS inside them, which look the same: size, data, and trailers at the end."""
    whole = b""
    while size := int(stream.readline().partition(b";")[0], 16):
        whole += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return whole


def _handler(bucket: Bucket) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            name, _, key = unquote(parts.path)[1:].partition("/")
            query = {word: values[0] for word, values in parse_qs(parts.query, keep_blank_values=True).items()}
            body = self._body()
            bucket.requests[f"{self.command} {' '.join(sorted(query))}".strip()] += 1
            if bucket.refuses and bucket.refuses[0] == self.command and bucket.refuses[1] in query:
                self._answer(403, "<Error><Code>AccessDenied</Code></Error>")
            elif name != "shop":
                self._answer(404, "<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>")
            elif not key and "list-type" in query:
                listing = bucket.listed(query.get("prefix", ""), query.get("delimiter", ""))
                self._answer(200, f"<ListBucketResult>{listing}</ListBucketResult>")
            elif "uploads" in query:
                upload = f"u{len(bucket.uploads)}"
                bucket.uploads[upload] = {}
                tag = "InitiateMultipartUploadResult"
                self._answer(200, f"<{tag}><Key>{escape(key)}</Key><UploadId>{upload}</UploadId></{tag}>")
            elif "partNumber" in query:
                bucket.uploads[query["uploadId"]][int(query["partNumber"])] = body
                self._answer(200, "", ETag='"part"')
            elif "uploadId" in query:
                sent = bucket.uploads[query["uploadId"]]
                if self.command == "POST":
                    bucket.objects[key] = b"".join(sent[number] for number in sorted(sent))
                self._answer(200, '<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>')
            elif self.command == "PUT":
                bucket.objects[key] = body
                self._answer(200, "", ETag='"whole"')
            elif not key or key in bucket.objects:
                self._object(bucket.objects.get(key, b""))
            else:
                self._answer(404, "<Error><Code>NoSuchKey</Code></Error>")

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815  as http.server asks

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                data = _joined(self.rfile)
            else:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            return _joined(BytesIO(data)) if self.headers.get("Content-Encoding") == "aws-chunked" else data

        def _object(self, data: bytes) -> None:
            wanted = _RANGE.fullmatch(self.headers.get("Range") or "")
            if wanted:
                first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
                content = f"bytes {first}-{last}/{len(data)}"
                self._send(206, data[first : last + 1], {"Content-Range": content})
            else:
                self._send(200, data, {"x-amz-bucket-region": "eu-west-1"})

        def _answer(self, code: int, text: str, **headers: str) -> None:
            self._send(code, (_XML + text).encode() if text else b"", headers)

        def _send(self, code: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(code)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler


@contextmanager
def serving() -> Iterator[Bucket]:
    """A bucket `shop` on a port of this machine."""
    bucket = Bucket()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(bucket)) as server:
        server.daemon_threads = True
        bucket.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield bucket
        finally:
            server.shutdown()
            thread.join()
