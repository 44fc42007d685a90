"""The capture library in this process, as far as Python calls it."""

import ctypes
import time

now = time.monotonic_ns  # CLOCK_MONOTONIC, which the library's spans begin in


def _nothing(*_):
    return 0


def _function(library, name, *arguments):
    """An exported function of libwarpscope.so, found through `library`; None without it."""
    try:
        function = library[name]
    except AttributeError:
        return None
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function


# A span takes a microsecond: not worth giving up the GIL. A step may wait until recording has begun or ended.
_span = _function(ctypes.PyDLL(None), "warpscope_span", ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64)
_step = _function(ctypes.CDLL(None), "warpscope_step") or _nothing

present = _span is not None


def span(name, began, value=0):
    """Records what this thread did from `began` (ns of `now`) until this moment."""
    return _span(name, began, value)  # 0: recorded


def step():
    """Counts a step, for captures that begin and end with one."""
    return _step()
