"""TLS in words for the person who set it up: whom to trust, and why a server's certificate was not.

Certificate and host name are always checked; there is no setting that turns either off.
"""

from __future__ import annotations

import ssl

from schemas.errors import Refused

# OpenSSL's X509_V_ERR_*.
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_HOST, _OTHER_ADDRESS = 62, 64


def trusting(cafile: str | None, setting: str) -> ssl.SSLContext:
    """A context that trusts the CAs in a file; the system's if None. Raises Refused if the file can't be used."""
    try:
        return ssl.create_default_context(cafile=cafile)
    except ssl.SSLError:
        raise Refused(f"{setting}={cafile!r}: holds no CA certificate in PEM") from None
    except OSError as error:
        raise Refused(f"{setting}={cafile!r}: {error.strerror}") from None


def distrust(error: ssl.SSLCertVerificationError, setting: str) -> str:
    """Why a server's certificate is refused, and what to do; `setting` is the one that names the CAs."""
    found = error.verify_message.rstrip(".")
    if error.verify_code in (_NOT_YET_VALID, _EXPIRED):
        return f"{found}: the server needs another one, or the clock of this machine is wrong"
    if error.verify_code in (_OTHER_HOST, _OTHER_ADDRESS):
        return f"{found}: name the server as its certificate does"
    return f"{found}: {setting} has to hold the certificate of the CA that signed the server's"


def breach(error: BaseException | None) -> ssl.SSLError | None:
    """The TLS error in an error or behind it that another try would meet again; None: there is none."""
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return error
    return breach(error.__cause__) if error is not None and error.__cause__ is not None else None
