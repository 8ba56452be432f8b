"""Executes artifacts inside a worker process: what conversions use to check what they wrote.

It is the runner's own code, so that an artifact is checked in the very mode in which it ships
and is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit import chunks, registry
from edgekit.chunks import Arrays
from edgekit.errors import UserError
from edgekit.targets import runner_error
from edgekit.targets.runner import tensors
from edgekit.targets.runner.protocol import RunnerError


class Execution:
    """One loaded artifact. For `edgekit.workers.Worker("edgekit.execution:Execution", …)`."""

    def __init__(self) -> None:
        self._session: Any = None

    def open(
        self,
        runtime: str,
        path: str,
        threads: int = 1,
        options: Mapping[str, str] | None = None,
        inputs: Sequence[Mapping[str, Any]] = (),
        outputs: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Loads an artifact in place of the one before.

        Args:
            runtime: litert, openvino or onnxruntime.
            path: The artifact's main file.
            threads: Threads for one inference.
            options: The manifest's `runtime_options`.
            inputs: The manifest's, for scale and zero point where the format has no room for them.
            outputs: Likewise.

        Returns:
            `inputs` and `outputs` as plain TensorSpecs, and the runtime's `facts`.

        Raises:
            ModelError: It cannot be loaded.
            MissingExtra: The runtime is not installed.
        """
        module = registry.runtime(runtime)
        self._session = None  # frees the one before
        try:
            session = module.load(path, threads, dict(options or {}))
        except RunnerError as error:
            raise _told(error) from None
        tensors.adopt(session.inputs, [dict(entry) for entry in inputs])
        tensors.adopt(session.outputs, [dict(entry) for entry in outputs])
        self._session = session
        return {"inputs": session.inputs, "outputs": session.outputs, "facts": session.facts()}

    def predict(self, samples: str, outputs: str) -> None:
        """Runs a directory of samples through the artifact, float in and float out.

        Args:
            samples: A directory of `edgekit.chunks`, arrays [n, …] by input name.
            outputs: The directory to write, arrays [n, …] by output name, batch by batch.

        Raises:
            ModelError: The artifact fails while it runs.
            DataError: The samples do not fit it.
        """
        assert self._session is not None, "open comes first"
        chunks.write(Path(outputs), self._answers(Path(samples)))

    def _answers(self, samples: Path) -> Iterator[Arrays]:
        for batch in chunks.read(samples):
            try:
                yield self._session.predict(batch)
            except RunnerError as error:
                raise _told(error) from None


def _told(error: RunnerError) -> UserError:
    return runner_error(error.about, error.message, error.fix)
