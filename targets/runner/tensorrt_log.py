"""What TensorRT says while it works; of an error it raises little and logs the reason."""

from __future__ import annotations

import tensorrt as trt

_ERRORS = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)


class Log(trt.ILogger):  # type: ignore[misc]
    """Keeps errors, and the warnings that speak of a layer's place."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """TensorRT calls this, from any of its threads."""
        if severity in _ERRORS:
            self.errors.append(" ".join(msg.split()))

    def reason(self) -> str:
        """The first error, which the others follow from."""
        return self.errors[0][:400] if self.errors else "it gave no reason"
