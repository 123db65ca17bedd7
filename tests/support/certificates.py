"""A certificate authority for tests, run by the openssl command line: certificates as they should be, and expired ones.

Each is one PEM file with key and certificate, which is what Kafka's PEM keystores and PostgreSQL both take.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")

# What `openssl ca` wants to know; it alone can date a certificate back.
_CONFIGURATION = """
[ca]
default_ca = test
[test]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
unique_subject = no
policy = anything
x509_extensions = leaf
[anything]
commonName = supplied
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = {names}
"""


class Certificate(NamedTuple):
    """A server's or a client's: `chain` is its certificate alone, `key` its private key, `both` the two in one file."""

    chain: Path
    key: Path
    both: Path


class Authority:
    """One that a test trusts, or doesn't. Everything it makes is in `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.certificate = directory / "ca.pem"
        (directory / "index.txt").touch()
        (directory / "serial").write_text("01")
        subject = ("-subj", f"/CN=Test authority {directory.name}")
        self._openssl("req", "-x509", *_CURVE, *subject, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem")

    def issue(self, name: str, *alternatives: str, expired: bool = False) -> Certificate:
        """A certificate for these subject alternative names ("DNS:localhost", "IP:127.0.0.1")."""
        made = Certificate(*(self._directory / f"{name}.{part}" for part in ("crt", "key", "pem")))
        configuration = self._directory / f"{name}.cnf"
        configuration.write_text(_CONFIGURATION.format(names=", ".join(alternatives)))
        request = ("-keyout", made.key.name, "-out", f"{name}.csr")
        self._openssl("req", "-new", *_CURVE, "-subj", f"/CN={name}", *request)
        # In good time before now, and far from it: no clock is so wrong.
        dates = ("-startdate", "20200101000000Z", "-enddate", "20200201000000Z") if expired else ("-days", "2")
        signing = ("-cert", "ca.pem", "-keyfile", "ca.key", "-in", f"{name}.csr", "-out", made.chain.name)
        self._openssl("ca", "-batch", "-notext", "-config", configuration.name, *signing, *dates)
        made.both.write_text(made.key.read_text() + made.chain.read_text())
        return made

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(
            ["openssl", *arguments],
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
