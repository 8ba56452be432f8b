"""`ssh://[user@]host[:port]`, checked so that no part of it can be an option or a shell's word."""

from __future__ import annotations

import re
from typing import NamedTuple

from edgekit.errors import UsageError

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]")
_MAX_PORT = 65535


class Address(NamedTuple):
    """Where to log in. A host is a name, an address, or an alias in ~/.ssh/config."""

    host: str
    user: str | None = None
    port: int | None = None

    def words(self) -> list[str]:
        """The arguments of ssh that name it; options of ours come before them."""
        user = [] if self.user is None else ["-l", self.user]
        port = [] if self.port is None else ["-p", str(self.port)]
        return [*user, *port, "--", self.host]

    def typed(self) -> str:
        """What to type to log in by hand."""
        port = "" if self.port is None else f"-p {self.port} "
        return f"ssh {port}{f'{self.user}@' if self.user else ''}{self.host}"


def parse(url: str) -> Address:
    """Takes a device's URL apart.

    Raises:
        UsageError: It is not of that form, or holds a password, a path or an option.
    """
    place = url.removeprefix("ssh://").removesuffix("/")
    user, at, rest = place.rpartition("@")
    host, port = _split_port(rest)
    if at and ":" in user:
        raise _refused(url.replace(user, user.partition(":")[0] + ":…"), "it holds a password")
    if not url.startswith("ssh://") or not (_HOST.fullmatch(host) or _IPV6.fullmatch(host)):
        raise _refused(url, f"'{host}' is no host" if host else "it names no host")
    if at and not _USER.fullmatch(user):
        raise _refused(url, f"'{user}' is no user")
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT):
        raise _refused(url, f"'{port}' is no port")
    ipv6 = _IPV6.fullmatch(host)
    return Address(ipv6[1] if ipv6 else host, user if at else None, int(port) if port else None)


def _split_port(rest: str) -> tuple[str, str | None]:
    if rest.endswith("]"):
        return rest, None
    host, colon, port = rest.rpartition(":")
    return (host, port) if colon else (rest, None)


def _refused(url: str, why: str) -> UsageError:
    return UsageError(
        f"device '{url}': {why}",
        "write ssh://[user@]host[:port]; keys, jump hosts and passwords are for ~/.ssh/config and"
        " ssh-agent",
    )
