"""The capture library in this process, as far as Python calls it."""

import ctypes
import time

now = time.monotonic_ns  # CLOCK_MONOTONIC, which the library's spans begin in


class Mark(ctypes.Structure):
    """struct warpscope_mark of warpscope.h."""

    _fields_ = [
        ("began", ctypes.c_uint64),
        ("ended", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("thread", ctypes.c_uint32),
        ("text", ctypes.c_uint32),
        ("domain", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


def _nothing(*_):
    return 0


def _function(library, name, *arguments, result=ctypes.c_int):
    """An exported function of libwarpscope.so, found through `library`; None without it."""
    try:
        function = library[name]
    except AttributeError:
        return None
    function.argtypes = arguments
    function.restype = result
    return function


# A span takes a microsecond: not worth giving up the GIL. A step may wait until recording has begun or ended.
_held, _released = ctypes.PyDLL(None), ctypes.CDLL(None)
_span = _function(_held, "warpscope_span", ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64)
_text = _function(_held, "warpscope_text", ctypes.c_char_p, ctypes.c_size_t, result=ctypes.c_uint32)
_marks = _function(_held, "warpscope_marks", ctypes.c_void_p, ctypes.c_size_t, result=ctypes.c_size_t)
_step = _function(_released, "warpscope_step") or _nothing
_recording = _function(_held, "warpscope_recording") or _nothing
_word = ctypes.POINTER(ctypes.c_uint32)
sleep = _function(_released, "warpscope_sleep", ctypes.c_uint64, _word, result=ctypes.c_uint64)
wake = _function(_released, "warpscope_wake", _word, result=None)

c_word = ctypes.c_uint32

present = _span is not None


def span(name, began, value=0):
    """Records what this thread did from `began` (ns of `now`) until this moment."""
    return _span(name, began, value)  # 0: recorded


def step():
    """Counts a step, for captures that begin and end with one."""
    return _step()


def recording():
    """Whether the timeline is recorded now."""
    return _recording() == 1


class Texts:
    """Numbers of texts. They need a capture; one that there is no room for has the number of OTHER."""

    MOST = 1 << 13  # bytes
    OTHER = "(other)"

    def __init__(self):
        self.numbers = {}
        self.full = False

    def of(self, text):
        number = self.numbers.get(text)
        if number is None:
            if not self.numbers and text != self.OTHER:
                self.of(self.OTHER)
            data = text.encode("utf-8", "backslashreplace")[: self.MOST]
            number = 0 if self.full else _text(data, len(data))
            if not number:
                self.full = True
                return self.numbers.get(self.OTHER, 0)
            self.numbers[text] = number
        return number


def marks(array, count):
    """Records the first `count` of an array of Mark."""
    return _marks(array, count)
