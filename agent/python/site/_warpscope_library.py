"""The capture library in this process, as far as Python calls it."""

import ctypes
import time

now = time.monotonic_ns  # CLOCK_MONOTONIC, which the library's spans begin in


def _nothing(*_):
    return 0


def _function(name, *arguments):
    """An exported function of libwarpscope.so, which keeps the GIL: it returns within a microsecond."""
    try:
        function = ctypes.PyDLL(None)[name]
    except AttributeError:
        return None
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function


_span = _function("warpscope_span", ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64)
_step = _function("warpscope_step") or _nothing

present = _span is not None


def span(name, began, value=0):
    """Records what this thread did from `began` (ns of `now`) until this moment."""
    return _span(name, began, value)  # 0: recorded


def step():
    """Counts a step, for captures that begin and end with one."""
    return _step()
