"""Hardware profiles as data: one TOML per piece of hardware, found by `edgekit.hardware`.

A file whose name begins with "_" is a part that others extend; it is no target.
"""
