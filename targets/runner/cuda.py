"""What timing an engine needs of a GPU: CUDA's driver API, by ctypes on the driver's own library.

Nothing has to be installed for it. TensorRT works in the device's primary context; so does this,
and memory, streams and events are the same for both. Signatures: CUDA's driver API reference, 11.4
to 13.
"""

from __future__ import annotations

import ctypes
from typing import Any

from .protocol import RunnerError

LIBRARY = "libcuda.so.1"

_NAME_BYTES = 256
_CAPTURE_IN_THIS_THREAD = 1
_MAJOR, _MINOR = 75, 76
"""Attributes of a device: its compute capability."""


class CudaError(RuntimeError):
    """A call that the driver refused."""


class Gpu:
    """The first GPU that is visible here, its primary context current on this thread.

    Addresses, streams, events and graphs are plain integers.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        self._call("cuInit", ctypes.c_uint(0))
        if self._number("cuDeviceGetCount") == 0:
            raise CudaError("the driver shows no GPU")
        self._device = self._number("cuDeviceGet", ctypes.c_int(0))
        major, minor = (
            self._number("cuDeviceGetAttribute", ctypes.c_int(which), ctypes.c_int(self._device))
            for which in (_MAJOR, _MINOR)
        )
        self.compute_capability = "%d.%d" % (major, minor)
        self.name = self._text("cuDeviceGetName")
        self.bus_id = self._text("cuDeviceGetPCIBusId")
        version = self._number("cuDriverGetVersion")
        self.cuda_version = "%d.%d" % (version // 1000, version % 1000 // 10)
        context = self._handle("cuDevicePrimaryCtxRetain", ctypes.c_int(self._device))
        self._call("cuCtxSetCurrent", ctypes.c_void_p(context))

    def free_bytes(self) -> int:
        """The GPU's memory that nobody uses now."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def allocate(self, size_bytes: int) -> int:
        """Memory of the GPU."""
        address = ctypes.c_uint64()
        size = ctypes.c_size_t(max(size_bytes, 1))
        self._call("cuMemAlloc_v2", ctypes.byref(address), size)
        return address.value

    def free(self, address: int) -> None:
        """Gives memory of the GPU back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def allocate_host(self, size_bytes: int) -> int:
        """Page-locked memory of this process: only from there do copies run beside other work."""
        return self._handle("cuMemHostAlloc", ctypes.c_size_t(max(size_bytes, 1)), ctypes.c_uint(0))

    def free_host(self, address: int) -> None:
        """Gives page-locked memory back."""
        self._call("cuMemFreeHost", ctypes.c_void_p(address))

    def copy_in(self, to: int, source: int, size_bytes: int, stream: int) -> None:
        """Queues a copy from page-locked memory to the GPU."""
        self._call(
            "cuMemcpyHtoDAsync_v2", ctypes.c_uint64(to), ctypes.c_void_p(source),
            ctypes.c_size_t(size_bytes), ctypes.c_void_p(stream),
        )  # fmt: skip

    def copy_out(self, to: int, source: int, size_bytes: int, stream: int) -> None:
        """Queues a copy from the GPU to page-locked memory."""
        self._call(
            "cuMemcpyDtoHAsync_v2", ctypes.c_void_p(to), ctypes.c_uint64(source),
            ctypes.c_size_t(size_bytes), ctypes.c_void_p(stream),
        )  # fmt: skip

    def stream(self) -> int:
        """A queue of work of its own."""
        return self._handle("cuStreamCreate", ctypes.c_uint(1))

    def wait(self, stream: int) -> None:
        """Waits until all that was queued is done."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def event(self) -> int:
        """A mark whose time is taken."""
        return self._handle("cuEventCreate", ctypes.c_uint(0))

    def record(self, event: int, stream: int) -> None:
        """Queues a mark."""
        self._call("cuEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))

    def elapsed_s(self, first: int, last: int) -> float:
        """Seconds between two marks that have passed, to about half a microsecond."""
        milliseconds = ctypes.c_float()
        self._call(
            "cuEventElapsedTime", ctypes.byref(milliseconds), ctypes.c_void_p(first),
            ctypes.c_void_p(last),
        )  # fmt: skip
        return milliseconds.value / 1e3

    def begin_capture(self, stream: int) -> None:
        """From now on a stream's work is written down and not done."""
        mode = ctypes.c_int(_CAPTURE_IN_THIS_THREAD)
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), mode)

    def end_capture(self, stream: int) -> int:
        """The graph of what was written down, ready to be launched."""
        graph = ctypes.c_void_p()
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        ready = self._handle("cuGraphInstantiateWithFlags", graph, ctypes.c_ulonglong(0))
        self._call("cuGraphDestroy", graph)
        return ready

    def launch(self, graph: int, stream: int) -> None:
        """Queues a whole graph."""
        self._call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def forget(self, graph: int) -> None:
        """Gives a graph back."""
        self._call("cuGraphExecDestroy", ctypes.c_void_p(graph))

    def _call(self, name: str, *given: Any) -> None:
        status = getattr(self._library, name)(*given)
        if status:
            raise CudaError("%s: %s" % (name, _reason(self._library, status)))

    def _number(self, name: str, *given: Any) -> int:
        found = ctypes.c_int()
        self._call(name, ctypes.byref(found), *given)
        return found.value

    def _handle(self, name: str, *given: Any) -> int:
        found = ctypes.c_void_p()
        self._call(name, ctypes.byref(found), *given)
        return found.value or 0

    def _text(self, name: str) -> str:
        found = ctypes.create_string_buffer(_NAME_BYTES)
        self._call(name, found, ctypes.c_int(_NAME_BYTES), ctypes.c_int(self._device))
        return found.value.decode(errors="replace")


def open_gpu(library: str = LIBRARY) -> Gpu:
    """The GPU of this device.

    Raises:
        RunnerError: There is none, or its driver does not start.
    """
    try:
        return Gpu(ctypes.CDLL(library))
    except OSError:
        raise RunnerError(
            "there is no NVIDIA driver on this device (%s)" % library,
            "run this on a device with an NVIDIA GPU (--device ssh://…), or install its driver",
            "device",
        ) from None
    except (CudaError, AttributeError) as error:
        raise RunnerError(
            "the GPU of this device cannot be used: %s" % error,
            "see what nvidia-smi says there",
            "device",
        ) from None


def _reason(library: Any, status: int) -> str:
    """The driver's own word for a status."""
    text = ctypes.c_char_p()
    if library.cuGetErrorString(ctypes.c_int(status), ctypes.byref(text)) or not text.value:
        return "error %d" % status
    return "%s (error %d)" % (text.value.decode(errors="replace"), status)
