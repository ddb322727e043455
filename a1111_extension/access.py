"""Who may use the routes: HTTP Basic authorization against the users of the host's --api-auth. Imports no host."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping


class Refused(Exception):
    """A request that is not answered: its status and one line that says why."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.headers = status, headers


def check_credentials(header: str, credentials: Mapping[str, str]) -> None:
    """Raise `Refused` unless a Basic authorization header names one of the users with their password."""
    if not credentials:
        return
    user, _, password = _basic(header).partition(":")
    expected = credentials.get(user)
    if expected is None or not secrets.compare_digest(password.encode(), expected.encode()):
        raise Refused(401, "Incorrect username or password", {"WWW-Authenticate": "Basic"})


def _basic(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
