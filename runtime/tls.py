"""TLS in words for the person who set it up: whom to trust, why a server's certificate was not, and what to serve with.

A server's certificate and host name are always checked; there is no setting that turns either off.
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


def serving(certificate: str, key: str, client_ca: str | None, settings: tuple[str, str, str]) -> ssl.SSLContext:
    """A context to serve with, TLS 1.2 or newer. With `client_ca` every client has to show a certificate that one of
    those CAs has signed and that has not expired. `settings` are the three's names. Raises Refused if a file can't be
    used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    named = f"{settings[0]}={certificate!r}, {settings[1]}={key!r}"
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError:
        raise Refused(
            f"{named}: a certificate and its private key are needed, in PEM, the key without a password"
        ) from None
    except OSError as error:
        raise Refused(f"{named}: {error.strerror}") from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise Refused(f"{settings[2]}={client_ca!r}: holds no CA certificate in PEM") from None
        except OSError as error:
            raise Refused(f"{settings[2]}={client_ca!r}: {error.strerror}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


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
