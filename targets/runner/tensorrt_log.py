"""What TensorRT says while it works; of an error it raises little and logs the reason."""

from __future__ import annotations

import tensorrt as trt

_ERRORS = (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR)


class Log(trt.ILogger):  # type: ignore[misc]  # TensorRT is untyped
    """Keeps errors."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """TensorRT calls this, from any of its threads."""
        if severity in _ERRORS:
            self.errors.append(" ".join(msg.split()))

    def reason(self) -> str:
        """The first error, which the others follow from."""
        return self.errors[0][:400] if self.errors else "it gave no reason"
