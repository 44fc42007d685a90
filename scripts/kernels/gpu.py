"""A GPU for the tuning cases: cubins launched through the driver in PyTorch's context, times in turns, errors."""
import ctypes
import math
import os

import torch

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32, "e4m3": torch.float8_e4m3fn, "s8": torch.int8}
TMA_TYPES = {torch.bfloat16: 9, torch.float16: 6, torch.float32: 7, torch.float8_e4m3fn: 0, torch.int8: 0, torch.int32: 3}


class Cuda:
    """The driver calls that launching cubins takes, in PyTorch's context."""

    def __init__(self, folder):
        self.folder = folder
        self.lib = ctypes.CDLL("libcuda.so.1")
        torch.cuda.init()
        torch.zeros(1, device="cuda")
        self.modules, self.functions = {}, {}
        self.sms = torch.cuda.get_device_properties(0).multi_processor_count

    def check(self, rc, what):
        if rc:
            text = ctypes.c_char_p()
            self.lib.cuGetErrorName(rc, ctypes.byref(text))
            raise RuntimeError(f"{what}: {text.value}")

    def function(self, file, name, shared=0):
        if (file, name) not in self.functions:
            if file not in self.modules:
                image, module = open(os.path.join(self.folder, file), "rb").read(), ctypes.c_void_p()
                self.check(self.lib.cuModuleLoadData(ctypes.byref(module), image), "load " + file)
                self.modules[file] = module
            f = ctypes.c_void_p()
            self.check(self.lib.cuModuleGetFunction(ctypes.byref(f), self.modules[file], name.encode()), name)
            if shared:
                self.check(self.lib.cuFuncSetAttribute(f, 8, shared), "shared memory")
            self.functions[file, name] = f
        return self.functions[file, name]

    def launch(self, f, grid, block, shared, args):
        """Prepares a launch; calling what it returns launches."""
        grid, block = (list(grid) + [1, 1])[:3], (list(block) + [1, 1])[:3]
        array = (ctypes.c_void_p * len(args))(*[ctypes.cast(ctypes.pointer(a), ctypes.c_void_p) for a in args])
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        call = self.lib.cuLaunchKernel

        def go(keep=(args, array)):
            rc = call(f, *grid, *block, shared, stream, array, None)
            if rc:
                self.check(rc, "launch")

        return go

    def map(self, t, box, dims=None, strides=None, promotion=3):
        """A tensor map of t, innermost dimension first, 128-byte swizzle. Strides in bytes, of all dimensions but the first."""
        if dims is None:
            dims, strides = [t.shape[1], t.shape[0]], [t.stride(0) * t.element_size()]
        n = len(dims)
        raw = ctypes.create_string_buffer(128 + 128)
        base = ctypes.addressof(raw)
        m = (ctypes.c_char * 128).from_address((base + 127) & ~127)
        m.keep = raw
        rc = self.lib.cuTensorMapEncodeTiled(
            m, TMA_TYPES[t.dtype], n, ctypes.c_void_p(t.data_ptr()), (ctypes.c_uint64 * n)(*dims),
            (ctypes.c_uint64 * max(n - 1, 1))(*strides), (ctypes.c_uint32 * n)(*box), (ctypes.c_uint32 * n)(*[1] * n),
            0, 3, promotion, 0)
        self.check(rc, f"tensor map {dims} {strides} {box}")
        return m


def u32(v):
    return ctypes.c_uint32(v)


def i32(v):
    return ctypes.c_int32(v)


def u64(v):
    return ctypes.c_uint64(v)


def address(t):
    return ctypes.c_uint64(t.data_ptr())


def events(f, n):
    """Milliseconds of n calls together, after a pause of the stream that lets the host get ahead."""
    a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda._sleep(200000)
    a.record()
    for _ in range(n):
        f()
    b.record()
    b.synchronize()
    return a.elapsed_time(b) / n


def median(v):
    v = sorted(v)
    return v[len(v) // 2]


def interleave(names, rounds, each):
    """Median milliseconds of each of the functions, taken in turns, forwards and back."""
    times = {k: [] for k in names}
    for k, f in names.items():
        f(), f()
    torch.cuda.synchronize()
    for r in range(rounds):
        for k in list(names) if r % 2 == 0 else list(names)[::-1]:
            times[k].append(events(names[k], each))
    return times


def rates(times, work, unit, base=None):
    """Median and 10th to 90th percentile of each rate; its ratio to the base is the median of the ratios round by round."""
    out = []
    for k, v in times.items():
        sorted_v = sorted(v)
        low, high = sorted_v[len(v) // 10], sorted_v[-1 - len(v) // 10]
        ratio = ""
        if base in times and k != base:
            ratio = f" x{median([b / m for b, m in zip(times[base], v)]):.3f}"
        out.append(f"{k} {work / median(v) / unit:.0f}[{work / high / unit:.0f}-{work / low / unit:.0f}]{ratio}")
    return " | ".join(out)


def error(got, want):
    """Relative norm of the difference; NaN counts as infinite."""
    got, want = got.double(), want.double()
    if not torch.isfinite(got).all():
        return math.inf
    return ((got - want).norm() / want.norm().clamp_min(1e-30)).item()
