"""Packages of one Debian release, fetched and unpacked without root.

apt runs with sources and a state of its own; of the system's apt only the mirror is taken over.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgekit.errors import DeviceError

MIRROR_VARIABLE = "EDGEKIT_DEBIAN_MIRROR"
_TOOLS = ("apt-get", "dpkg-deb")
_KEYRINGS = tuple(
    Path("/usr/share/keyrings") / f"debian-archive-keyring.{ending}" for ending in ("pgp", "gpg")
)
"""Where Debian's own package of keys puts them, its later name first."""


@dataclass(frozen=True, slots=True)
class Packages:
    """A release of Debian as a source of packages, with apt's state for it in `directory`."""

    release: str
    mirror: str
    directory: Path

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """Downloads packages (`NAME:ARCHITECTURE`) that are not there yet, each as a .deb.

        Raises:
            DeviceError: apt cannot get them.
        """
        settings = {**os.environ, "APT_CONFIG": str(self._configure(names))}
        archives = self.directory / "archives"
        archives.mkdir(exist_ok=True)
        for arguments in (["update"], ["download", *names]):
            command = ["apt-get", "-qq", *arguments]
            run(command, f"apt-get {arguments[0]}", self._remedy(), archives, settings)
        return [_archive(archives, name) for name in names]

    def _configure(self, names: Sequence[str]) -> Path:
        architectures = sorted({name.partition(":")[2] for name in names})
        for place in ("state/lists/partial", "cache/archives/partial"):
            (self.directory / place).mkdir(parents=True, exist_ok=True)
        (self.directory / "state/status").touch()
        sources = self.directory / "sources.list"
        sources.write_text(
            f"deb [arch={','.join(architectures)} signed-by={_keyring()}]"
            f" {self.mirror} {self.release} main\n"
        )
        configuration = self.directory / "apt.conf"
        listed = " ".join(f'"{name}";' for name in architectures)
        configuration.write_text(
            f'Dir::State "{self.directory}/state";\n'
            f'Dir::State::status "{self.directory}/state/status";\n'
            f'Dir::Cache "{self.directory}/cache";\n'
            f'Dir::Etc::sourcelist "{sources}";\n'
            'Dir::Etc::sourceparts "/dev/null";\n'
            'Dir::Etc::preferences "/dev/null";\n'
            'Dir::Etc::preferencesparts "/dev/null";\n'
            f"APT::Architectures {{ {listed} }};\n"
            'APT::Sandbox::User "";\n'  # the directory may be closed to apt's own user
            'APT::Update::Error-Mode "any";\n'  # else a failed download is a warning
        )
        return configuration

    def _remedy(self) -> str:
        return (
            f"check the network; {MIRROR_VARIABLE}=URL names another mirror of Debian than"
            f" {self.mirror}"
        )


def check_tools() -> None:
    """Refuses a machine without Debian's tools.

    Raises:
        DeviceError: One of them, or the keys that packages are signed with, is not there.
    """
    lacking = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if lacking:
        raise DeviceError(
            f"unpacking Debian packages needs {' and '.join(lacking)}, not found on this PATH",
            "run this on a system that has them, such as Debian or Ubuntu",
        )
    _keyring()


def mirror() -> str:
    """The mirror that this machine's apt uses, or that EDGEKIT_DEBIAN_MIRROR names.

    Raises:
        DeviceError: apt uses none.
    """
    if named := os.environ.get(MIRROR_VARIABLE):
        return named
    wanted = "$(REPO_URI) $(COMPONENT) $(RELEASE) $(LABEL)"
    told = run(["apt-get", "indextargets", "--format", wanted], "apt-get indextargets", "")
    found = next(_mirrors(told.splitlines()), None)
    if found is None:
        raise DeviceError(
            "this machine's apt has no mirror of Debian among its sources",
            f"name one: {MIRROR_VARIABLE}=URL",
        )
    return found


def _mirrors(targets: Sequence[str]) -> Iterator[str]:
    """URLs of Debian: apt knows the label of what it has updated from, else the release tells."""
    system = platform.freedesktop_os_release()
    ours = system.get("VERSION_CODENAME") if system.get("ID") == "debian" else None
    for target in targets:
        url, component, release, label = target.split(" ", 3)
        if component == "main" and (label == "Debian" or release == ours):
            yield url


def unpack(archive: Path, directory: Path) -> None:
    """Unpacks a whole .deb.

    Raises:
        DeviceError: It is broken, or the disk is full.
    """
    run(["dpkg-deb", "-x", str(archive), str(directory)], f"unpacking {archive.name}", "try again")


def unpack_file(archive: Path, name: str, destination: Path) -> None:
    """Unpacks one file of a .deb.

    Raises:
        DeviceError: It is not in there.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            found = _copy_member(child.stdout, f"./{name}", destination)
        except tarfile.TarError:
            found = False
        finally:
            child.kill()  # what follows that file is not wanted
    if not found:
        raise DeviceError(f"{archive.name} holds no {name}, or is broken", "try again")
    destination.chmod(0o755)


def _copy_member(stream: IO[bytes] | None, name: str, destination: Path) -> bool:
    with tarfile.open(fileobj=stream, mode="r|") as members:
        for member in members:
            content = members.extractfile(member) if member.name == name else None
            if content is not None:
                with destination.open("wb") as written:
                    shutil.copyfileobj(content, written)
                return True
    return False


def run(
    command: Sequence[str],
    what: str,
    fix: str,
    directory: Path | None = None,
    environment: dict[str, str] | None = None,
) -> str:
    """What a tool prints.

    Raises:
        DeviceError: It failed; its last line says why.
    """
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return done.stdout
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    told = next((line for line in lines if line.startswith(("E:", "ERROR:"))), None)
    reason = told or (lines[-1] if lines else f"exit code {done.returncode}")
    raise DeviceError(f"{what} failed: {reason}", fix)


def _keyring() -> Path:
    for path in _KEYRINGS:
        if path.exists():
            return path
    raise DeviceError(
        "the keys that Debian signs its packages with are not installed",
        "apt-get install debian-archive-keyring",
    )


def _archive(archives: Path, name: str) -> Path:
    package, _, architecture = name.partition(":")
    found = sorted(archives.glob(f"{package}_*_{architecture}.deb"), key=os.path.getmtime)
    assert found, f"apt-get download succeeded without {name}"
    return found[-1]
