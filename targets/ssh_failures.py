"""What ssh says when it fails, as one line with a fix of its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from edgekit.errors import DeviceError
from edgekit.targets.ssh_address import Address


class Peer(NamedTuple):
    """A device as the user named it, and as ~/.ssh/config resolved it.

    `silence_s` is how long ssh waits for a peer that has gone silent.
    """

    url: str
    address: Address
    known_as: str
    connect_s: float
    silence_s: float


_Explained = tuple[str, str]


def explain(peer: Peer, said: str) -> DeviceError:
    """The error behind what ssh said before it gave up.

    Args:
        peer: Where it led.
        said: Its standard error; empty where it said nothing.
    """
    for pattern, explanation in _KNOWN:
        if re.search(pattern, said, re.IGNORECASE):
            what, fix = explanation(peer, said)
            return DeviceError(f"{peer.url}: {what}", fix)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if not lines:
        return lost(peer, "")
    return DeviceError(f"{peer.url}: ssh failed: {lines[-1][:300]}", f"try {_by_hand(peer)}")


def lost(peer: Peer, during: str) -> DeviceError:
    """A connection that was there, and is no longer."""
    while_what = f" while {during} was under way" if during else ""
    return DeviceError(
        f"{peer.url}: the connection was lost{while_what}: the device closed it, went down, or was"
        f" silent for {peer.silence_s:g} s",
        f"see whether it is up ({_by_hand(peer)}), and run this again",
    )


def _changed_key(peer: Peer, said: str) -> _Explained:
    file = re.search(r"Offending .*key in (\S+):\d+", said)
    where = f" -f {file[1]}" if file and not file[1].endswith("/.ssh/known_hosts") else ""
    what = (
        "its host key is not the one that is known: it was installed anew, or another machine"
        " answers in its place"
    )
    return (
        what,
        f"if you know why, ssh-keygen -R '{peer.known_as}'{where} and then {_by_hand(peer)} once",
    )


def _unknown_key(peer: Peer, _said: str) -> _Explained:
    return (
        "its host key is not known here",
        f"{_by_hand(peer)} once by hand, and compare the fingerprint",
    )


def _refused_login(peer: Peer, said: str) -> _Explained:
    found = re.search(r"Permission denied \(([^)]*)\)", said)
    accepts = f" (it takes {found[1]})" if found else ""
    fix = (
        f"{_by_hand(peer).replace('ssh ', 'ssh-copy-id ', 1)}, or ssh-add a key that has a"
        " passphrase; edgekit never asks for one"
    )
    return f"it refused every key{accepts}", fix


def _unresolved(peer: Peer, _said: str) -> _Explained:
    return f"there is no host {peer.address.host}", "check the name, or its entry in ~/.ssh/config"


def _closed_port(_peer: Peer, _said: str) -> _Explained:
    return "nothing listens on that port", "start sshd there, or correct the port"


def _unreachable(peer: Peer, _said: str) -> _Explained:
    return (
        f"no answer within {peer.connect_s:g} s",
        f"see that it is on and reachable: {_by_hand(peer)}",
    )


def _configuration(_peer: Peer, said: str) -> _Explained:
    line = next((one for one in said.splitlines() if "line" in one or "option" in one), said)
    return f"ssh refuses its configuration: {line.strip()}", "correct ~/.ssh/config"


def _dropped(peer: Peer, _said: str) -> _Explained:
    gone = lost(peer, "")
    return gone.message.removeprefix(f"{peer.url}: "), gone.fix


def _by_hand(peer: Peer) -> str:
    return peer.address.typed()


_GONE = (
    r"broken pipe|closed by|connection reset|not responding|read from master failed"
    r"|shared connection|connection closed"
)
_KNOWN: tuple[tuple[str, Callable[[Peer, str], _Explained]], ...] = (
    (r"HOST IDENTIFICATION HAS CHANGED", _changed_key),
    (r"host key verification failed|no \S+ host key is known", _unknown_key),
    (r"permission denied|too many authentication failures", _refused_login),
    (r"could not resolve hostname", _unresolved),
    (r"connection refused", _closed_port),
    (r"bad configuration option|bad owner or permissions|configuration options?$", _configuration),
    (r"connect(ion)? .*timed out|no route to host|is unreachable|banner exchange", _unreachable),
    (_GONE, _dropped),
)
"""In this order: a changed key also says that verification failed."""
