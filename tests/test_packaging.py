"""The wheel holds what the tree holds, works outside the checkout, and the files agree."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
MAPPED = ("converters", "profiles", "targets")
"""Folders of the checkout that install as sub-packages of edgekit."""
SHIPPED = (".py", ".toml", ".npz", ".keras", ".typed", ".cmake", ".c", ".ld")

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="the tests run without the checkout"
)


def pyproject() -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return found


def extras() -> dict[str, list[Requirement]]:
    tables = pyproject()["project"]["optional-dependencies"]
    assert isinstance(tables, dict)
    return {name: [Requirement(line) for line in lines] for name, lines in tables.items()}


def core() -> list[Requirement]:
    lines = pyproject()["project"]["dependencies"]
    assert isinstance(lines, list)
    return [Requirement(line) for line in lines]


def expected_files() -> set[str]:
    """Where each file of the tree belongs in the wheel."""
    folders = {"edgekit": "edgekit", **{name: f"edgekit/{name}" for name in MAPPED}}
    return {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in folders.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not any(parent.is_symlink() for parent in (path, *path.parents))
    }


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing left over in the checkout gets in."""
    source = tmp_path_factory.mktemp("source") / "edgekit"
    ignored = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "demo", "tests", "benchmarks"
    )
    shutil.copytree(ROOT, source, symlinks=True, ignore=ignored)
    output = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", output, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = output.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel alone, in a directory of its own."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--target", site, wheel],
        check=True,
    )  # fmt: skip
    return site


def outside(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with the installed wheel in front, from a directory that holds nothing."""
    empty = site / "empty"
    empty.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_holds_exactly_the_files_of_the_tree(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == expected_files()


def test_everything_in_the_packages_is_of_a_kind_that_ships() -> None:
    strange = {name for name in expected_files() if not name.endswith(SHIPPED)}
    assert not strange, "setup.cfg does not ship these"


def test_the_wheel_brings_the_command_the_licence_and_the_readme(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "edgekit = edgekit.cli:main" in archive.read(points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    (about,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
    assert (ROOT / "README.md").read_text().splitlines()[0] in archive.read(about).decode()


def test_every_module_comes_from_the_wheel_and_not_from_the_checkout(installed: Path) -> None:
    script = """
import importlib, pathlib, pkgutil, sys
import edgekit
site = pathlib.Path(sys.argv[1])
for module in pkgutil.walk_packages(edgekit.__path__, "edgekit."):
    spec = importlib.util.find_spec(module.name)
    assert pathlib.Path(spec.origin).is_relative_to(site), spec.origin
    print(module.name)
"""
    done = outside(installed, "-c", "import importlib.util" + script, str(installed))
    assert done.returncode == 0, done.stderr
    modules = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in expected_files()
        if name.endswith(".py") and name != "edgekit/__init__.py"
    }
    assert set(done.stdout.split()) == modules


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["doctor", "--json"], ["profiles", "list", "--json"], ["schema", "manifest"]],
    ids=" ".join,
)
def test_the_command_works_outside_the_checkout(installed: Path, arguments: list[str]) -> None:
    done = outside(installed, "-m", "edgekit", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "edgekit" in done.stdout


def test_the_profiles_of_the_wheel_are_those_of_the_tree(installed: Path) -> None:
    done = outside(installed, "-m", "edgekit", "profiles", "list", "--json")
    listed = {profile["name"] for profile in json.loads(done.stdout)["profiles"]}
    in_tree = {path.stem for path in (ROOT / "profiles").glob("*.toml")}
    assert listed == {name for name in in_tree if not name.startswith("_")}
    assert "host" in listed


def test_setup_cfg_lists_every_package() -> None:
    layout = configparser.ConfigParser()
    layout.read(ROOT / "setup.cfg")
    listed = set(layout["options"]["packages"].split())
    in_tree = {
        str(Path(name).parent).replace("/", ".")
        for name in expected_files()
        if name.endswith("/__init__.py")
    }
    assert listed == in_tree


def test_all_holds_every_extra_but_that_for_development() -> None:
    (everything,) = extras()["all"]
    assert everything.extras == set(extras()) - {"all", "dev"}


def test_the_constraints_pin_every_direct_dependency_within_its_bounds() -> None:
    pinned = {
        _normal(name): version
        for name, _, version in (
            line.partition("==")
            for line in (ROOT / "constraints.txt").read_text().splitlines()
            if line and not line.startswith("#")
        )
    }
    direct = [*core(), *(one for name, lines in extras().items() if name != "all" for one in lines)]
    for requirement in direct:
        assert requirement.specifier.contains(pinned[_normal(requirement.name)]), requirement


def test_what_the_registry_needs_is_in_the_extra_that_it_names() -> None:
    from edgekit import registry  # noqa: PLC0415

    tables = (registry.CONVERTERS, registry.SOURCES, registry.RUNTIMES, registry.TARGETS)
    providers = metadata.packages_distributions()
    for backend in (backend for table in tables for backend in table.values()):
        given = extras()[backend.extra] if backend.extra else core()
        offered = {_normal(requirement.name) for requirement in given}
        for module in backend.needs:
            brought = {_normal(name) for name in providers.get(module, [])}
            assert not brought or offered & brought or module in _INDIRECT, (backend, module)


_INDIRECT = {"h5py"}
"""Modules that an extra brings as a dependency of what it lists."""


def test_no_registry_or_path_of_a_machine_is_written_down() -> None:
    texts = ["pyproject.toml", "setup.cfg", "constraints.txt", "Makefile", ".ci/run", "README.md"]
    for name in texts:
        found = re.findall(
            r"index-url|find-links|file://|/home/\w+|/root/", (ROOT / name).read_text()
        )
        assert not found, f"{name}: {found}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
