"""From a trained model to a small, fast artifact that is proven on the device it ships to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit import errors
    from edgekit.benching import bench
    from edgekit.checking import check
    from edgekit.comparing import compare
    from edgekit.compressing import compress
    from edgekit.conversion import convert
    from edgekit.inspection import inspect as load

    __version__: str

__all__ = ["__version__", "bench", "check", "compare", "compress", "convert", "errors", "load"]

_HOMES = {
    "bench": ("edgekit.benching", "bench"),
    "check": ("edgekit.checking", "check"),
    "compare": ("edgekit.comparing", "compare"),
    "compress": ("edgekit.compressing", "compress"),
    "convert": ("edgekit.conversion", "convert"),
    "load": ("edgekit.inspection", "inspect"),
}


def __getattr__(name: str) -> Any:
    """Imports a stage when it is first used (PEP 562): `import edgekit` costs nothing."""
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415

        return metadata.version("edgekit")
    from importlib import import_module  # noqa: PLC0415

    if name == "errors":
        return import_module("edgekit.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'edgekit' has no attribute {name!r}")
    import_module("edgekit.showing").attach()
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    """What `edgekit.` offers, imported or not."""
    return sorted({*globals(), *__all__})
