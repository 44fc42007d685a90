#!/usr/bin/env python3
"""Tries kernel variants on a GPU: correctness first, then rates, interleaved with PyTorch's libraries.

Usage: tune.py FOLDER PLAN.json [SECONDS]
FOLDER holds the cubins, PLAN a list of cases (see the case_* functions). Cases run in child processes, many to a
child; a case that crashes, hangs or computes nonsense costs that case alone. Needs python3 with PyTorch; writes a line a case.
"""
import ctypes
import heapq
import json
import math
import os
import random
import select
import signal
import sys
import time

import torch

folder, plan = sys.argv[1], json.load(open(sys.argv[2]))
deadline = time.time() + float(sys.argv[3] if len(sys.argv) > 3 else 55)
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32, "e4m3": torch.float8_e4m3fn, "s8": torch.int8}
TMA_TYPES = {torch.bfloat16: 9, torch.float16: 6, torch.float32: 7, torch.float8_e4m3fn: 0, torch.int8: 0, torch.int32: 3}


class Cuda:
    """The driver calls that launching cubins takes, in PyTorch's context."""

    def __init__(self):
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
                image, module = open(os.path.join(folder, file), "rb").read(), ctypes.c_void_p()
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


# ---- matmul --------------------------------------------------------------------------------


def order_of(rows, columns, group, kind):
    tiles = []
    if kind == "hilbert":
        side = 1
        while side < max(rows, columns):
            side *= 2

        def point(d):
            x = y = 0
            s = 1
            while s < side:
                rx = 1 & (d // 2)
                ry = 1 & (d ^ rx)
                if ry == 0:
                    if rx == 1:
                        x, y = s - 1 - x, s - 1 - y
                    x, y = y, x
                x, y = x + s * rx, y + s * ry
                d //= 4
                s *= 2
            return x, y

        for d in range(side * side):
            x, y = point(d)
            if x < rows and y < columns:
                tiles.append(x << 16 | y)
    elif kind == "column":  # groups of columns, rows inside
        for first in range(0, columns, group):
            for r in range(rows):
                for c in range(first, min(first + group, columns)):
                    tiles.append(r << 16 | c)
    else:  # groups of rows, columns inside
        for first in range(0, rows, group):
            for c in range(columns):
                for r in range(first, min(first + group, rows)):
                    tiles.append(r << 16 | c)
    return torch.tensor(tiles, dtype=torch.int32, device="cuda")


def random_matrix(rows, columns, dtype):
    if dtype == torch.int8:
        return torch.randint(-100, 100, (rows, columns), device="cuda", dtype=torch.int8)
    return torch.randn(rows, columns, device="cuda").to(dtype)


def out_type(dtype):
    return {torch.bfloat16: torch.bfloat16, torch.float16: torch.float16, torch.float8_e4m3fn: torch.bfloat16,
            torch.float32: torch.float32, torch.int8: torch.int32}[dtype]


def reference(a, b):
    return a.double() @ b.double().T if a.shape[0] * b.shape[0] * a.shape[1] < 1 << 33 else (a.float() @ b.float().T)


def matmul_launch(cuda, v, a, b, c):
    """v: file, name, bm, bn, wg, stages, cm, cn, group, kind, blocks"""
    element = a.element_size()
    m, k, n = a.shape[0], a.shape[1], b.shape[0]
    bm, bn, cm, cn = v["bm"], v["bn"], v["cm"], v["cn"]
    shared = v["stages"] * (bm + bn) * 128 + v["wg"] * 2 * 8192 + 16 * v["stages"] + 1024
    f = cuda.function(v["file"], v["name"], shared)
    promotion = v.get("promotion", 3)
    maps = [cuda.map(a, [128 // element, bm // cn], promotion=promotion), cuda.map(b, [128 // element, bn // cm], promotion=promotion),
            cuda.map(c, [128 // c.element_size(), 64])]
    order = order_of(-(-m // (bm * cm)), -(-n // (bn * cn)), v.get("group", 8), v.get("kind", "row"))
    clusters = min(v.get("blocks", cuda.sms) // (cm * cn), len(order))
    steps = -(-k * element // 128)
    args = maps + [address(order), i32(len(order)), i32(steps)]
    go = cuda.launch(f, [clusters * cm * cn], [128 * (v["wg"] + 1)], shared, args)
    go.__defaults__[0][0].append(order)
    return go


def matmul_data(cuda, case, m, n, k):
    dtype = DTYPES[case["dtype"]]
    return random_matrix(m, k, dtype), random_matrix(n, k, dtype), torch.full((m, n), 77, device="cuda").to(out_type(dtype))


def case_matmul_check(cuda, case):
    worst = 0.0
    for m, n, k in case["shapes"]:
        a, b, c = matmul_data(cuda, case, m, n, k)
        c.fill_(float("nan") if c.dtype.is_floating_point else 77)
        matmul_launch(cuda, case, a, b, c)()
        torch.cuda.synchronize()
        e = error(c, reference(a, b))
        worst = max(worst, e)
        bound = {"bf16": 4e-3, "fp16": 6e-4, "e4m3": 1e-2, "tf32": 2e-3, "s8": 0.0}[case["dtype"]]
        if not e <= bound:
            return f"WRONG at {m}x{n}x{k}: relative error {e:.3g}"
    return f"ok, worst relative error {worst:.2g}"


def peer(case, a, b):
    if case["dtype"] in ("bf16", "fp16"):
        c = torch.empty(a.shape[0], b.shape[0], device="cuda", dtype=a.dtype)
        return lambda: torch.matmul(a, b.T, out=c)
    if case["dtype"] == "tf32":
        torch.backends.cuda.matmul.allow_tf32 = True
        return lambda: torch.matmul(a, b.T)
    if case["dtype"] == "s8":
        return lambda: torch._int_mm(a, b.T)
    one = torch.ones((), device="cuda")
    return lambda: torch._scaled_mm(a, b.T, one, one, out_dtype=torch.bfloat16, use_fast_accum=True)


def case_matmul_race(cuda, case):
    m, n, k = case["shape"]
    a, b, c = matmul_data(cuda, case, m, n, k)
    names, bad = {"peer": peer(case, a, b)}, []
    names["peer"]()
    want = torch.matmul(a.float()[:256], b.float().T) if case["dtype"] != "s8" else a[:256].double() @ b.double().T
    for v in case["variants"]:
        v = {**case.get("common", {}), **v}
        c.fill_(float("nan") if c.dtype.is_floating_point else 77)
        try:
            go = matmul_launch(cuda, v, a, b, c)
        except RuntimeError as failure:
            bad.append(f"{v['label']} {failure}")
            continue
        go()
        torch.cuda.synchronize()
        e = error(c[:256], want)
        if not e < 1e-2:
            bad.append(f"{v['label']} WRONG {e:.3g}")
            continue
        names[v["label"]] = go
    each = max(1, int(case.get("ms", 8) / (2 * m * n * k / 7e11)))
    t = interleave(names, case.get("rounds", 7), each)
    return rates(t, 2 * m * n * k, 1e9, "peer") + " TFLOP/s " + " ".join(bad)


# ---- memory --------------------------------------------------------------------------------


def case_memory_race(cuda, case):
    size = case["bytes"]
    x = torch.randint(-(1 << 31), (1 << 31) - 1, (size // 4,), device="cuda", dtype=torch.int32)
    y, z = torch.empty_like(x), torch.empty_like(x)
    total = torch.zeros(1, device="cuda", dtype=torch.int32)
    kind, bad, names = case["kind"], [], {}
    n = size // 16
    for v in case["variants"]:
        f = cuda.function(v["file"], v["name"], v.get("shared", 0))
        grid, block = [v["blocks"] * cuda.sms], [v["threads"]]
        y.fill_(-1)
        total.zero_()
        if kind == "copy":
            args = [address(x), address(y), u64(size if v.get("unit") == 1 else n)]
        elif kind == "read":
            args = [address(x), u64(n), address(total)]
        elif kind == "write":
            args = [address(y), u64(n), u32(7)]
        else:
            xf, yf = x.view(torch.float32), z.view(torch.float32)
            xf.normal_(), yf.normal_()
            args = [address(x), address(z), address(y), u64(n), ctypes.c_float(3.0)]
        go = cuda.launch(f, grid, block, v.get("shared", 0), args)
        go()
        torch.cuda.synchronize()
        if kind == "copy":
            good = torch.equal(x, y)
        elif kind == "read":
            good = int(total.item()) & 0xFFFFFFFF == int(x.sum(dtype=torch.int64).item()) & 0xFFFFFFFF
        elif kind == "write":
            want = torch.arange(n, device="cuda", dtype=torch.int32) + 7
            good = torch.equal(y.view(-1, 4)[:, 0], want) and bool((y.view(-1, 4)[:, 1:] == 7).all())
        else:
            good = torch.allclose(y.view(torch.float32), x.view(torch.float32) + 3.0 * z.view(torch.float32), rtol=1e-5, atol=1e-5)
        if not good:
            bad.append(v["label"] + " WRONG")
            continue
        names[v["label"]] = go
    if kind == "copy":
        lib, d, s = cuda.lib.cuMemcpyDtoDAsync_v2, ctypes.c_uint64(y.data_ptr()), ctypes.c_uint64(x.data_ptr())
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        names["torch"] = lambda: y.copy_(x)
        names["memcpy"] = lambda: lib(d, s, ctypes.c_size_t(size), stream)
    elif kind == "read":
        xf = x.view(torch.float32)
        names["torch"] = lambda: xf.sum()
    elif kind == "write":
        names["torch"] = lambda: y.fill_(1)
    t = interleave(names, case.get("rounds", 7), case.get("each", 4))
    factor = {"copy": 2, "read": 1, "write": 1, "triad": 3}[kind]
    return rates(t, factor * size, 1e6, "torch" if "torch" in names else None) + " GB/s " + " ".join(bad)


# ---- attention -----------------------------------------------------------------------------


def dealt(order, blocks, cost):
    """The order in which blocks would take the tiles if each took the next one when it is free, as lists of equal length."""
    loads, lists = [(0.0, b) for b in range(blocks)], [[] for _ in range(blocks)]
    for where in order:
        load, b = heapq.heappop(loads)
        lists[b].append(where)
        heapq.heappush(loads, (load + cost(where), b))
    longest = max(map(len, lists))
    return [lists[b][i] if i < len(lists[b]) else 0xFFFFFFFF for i in range(longest) for b in range(blocks)]


def attention_launch(cuda, v, q, k, vv, o, causal):
    """q, k, v, o are batch, head, position, element in shape, with any strides."""

    def view(t, rows):
        b, h, s, d = t.shape
        return cuda.map(t, [64, rows, 1, 1], [d, s, h, b], [t.stride(2) * 2, t.stride(1) * 2, t.stride(0) * 2])

    batch, heads, queries, d = q.shape
    kv_heads, keys = k.shape[1], k.shape[2]
    wg, n = v["wg"], v["n"]
    m = 64 * wg
    shared = m * d * 2 * (2 if v["own"] else 1) + 4 * n * d * 2 + 80 + 1024
    f = cuda.function(v["file"], v["name"], shared)
    maps = [view(q, m), view(k, n), view(vv, n), view(o, 64)]
    shape = (ctypes.c_int32 * 4)(queries, keys, heads // kv_heads, 0)
    ctypes.cast(shape, ctypes.POINTER(ctypes.c_float))[3] = 1 / math.sqrt(d) * math.log2(math.e)
    tiles, order = -(-queries // m), []
    together = v.get("together", max(1, (32 << 20) // (keys * d * 4)) * (heads // kv_heads))
    flat = [(b, h) for b in range(batch) for h in range(heads)]
    for first in range(0, len(flat), together):
        some = flat[first:first + together]
        if causal:
            order += [t | h << 12 | b << 22 for t in range(tiles - 1, -1, -1) for b, h in some]
        else:
            order += [t | h << 12 | b << 22 for b, h in some for t in range(tiles)]
    grid = min(cuda.sms, len(order))
    if v.get("deal", causal):
        order = dealt(order, grid, lambda where: -(-min(keys, ((where & 0xFFF) + 1) * m + keys - queries) // n) + v.get("overhead", 1.0) if causal else 1)
    order = torch.tensor(order, dtype=torch.int64).to(torch.int32).cuda()
    args = maps + [shape, address(order), i32(len(order))]
    go = cuda.launch(f, [grid], [128 * (wg + 1)], shared, args)
    go.__defaults__[0][0].append(order)
    return go


def attention_data(batch, heads, kv_heads, queries, keys, d, dtype):
    q = torch.randn(batch, heads, queries, d, device="cuda").to(dtype)
    k, v = (torch.randn(batch, kv_heads, keys, d, device="cuda").to(dtype) for _ in range(2))
    return q, k, v, torch.full_like(q, float("nan"))


def attention_reference(q, k, v, causal):
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1).double(), v.repeat_interleave(group, 1).double()
    s = q.double() @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    if causal:
        keep = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device="cuda").tril(k.shape[2] - q.shape[2])
        s = s.masked_fill(~keep, -math.inf)
    return torch.softmax(s, -1) @ v


def case_attention_check(cuda, case):
    worst = 0.0
    for shape in case["shapes"]:
        q, k, v, o = attention_data(*shape, case["d"], DTYPES[case["dtype"]])
        attention_launch(cuda, case, q, k, v, o, case["causal"])()
        torch.cuda.synchronize()
        e = error(o, attention_reference(q, k, v, case["causal"]))
        worst = max(worst, e)
        if not e < (6e-3 if case["dtype"] == "bf16" else 1e-3):
            return f"WRONG at {shape}: relative error {e:.3g}"
    return f"ok, worst relative error {worst:.2g}"


def case_attention_race(cuda, case):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    batch, heads, s, d = case["shape"]
    q, k, v, o = attention_data(batch, heads, heads, s, s, d, DTYPES[case["dtype"]])
    causal, names, bad = case["causal"], {}, []

    def cudnn():
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    names["cudnn"] = cudnn
    want = cudnn()
    for x in case["variants"]:
        x = {**case.get("common", {}), **x}
        o.fill_(float("nan"))
        go = attention_launch(cuda, x, q, k, v, o, causal)
        go()
        torch.cuda.synchronize()
        e = error(o, want)
        if not e < 1e-2:
            bad.append(f"{x['label']} WRONG {e:.3g}")
            continue
        names[x["label"]] = go
    work = 4 * batch * heads * s * s * d * (0.5 if causal else 1)
    t = interleave(names, case.get("rounds", 7), max(1, int(case.get("ms", 8) / (work / 5e11))))
    return rates(t, work, 1e9, "cudnn") + " TFLOP/s " + " ".join(bad)


# ---- kernels without tensor maps -----------------------------------------------------------


def matmul80_launch(cuda, v, a, b, c):
    m, n, size = a.shape[0], b.shape[0], a.shape[1] * a.element_size()
    f = cuda.function(v["file"], v["name"], 4 * 384 * 64)
    return cuda.launch(f, [-(-m // 128) * -(-n // 256)], [256], 4 * 384 * 64, [address(a), address(b), address(c), i32(m), i32(n), u64(size)])


def fp32_launch(cuda, v, a, b, c):
    f = cuda.function(v["file"], v["name"])
    m, k, n = a.shape[0], a.shape[1], b.shape[0]
    return cuda.launch(f, [-(-n // 128), -(-m // 128)], [256], 0, [address(a), address(b), address(c), i32(m), i32(n), i32(k)])


def case_matmul80(cuda, case):
    worst, dtype = 0.0, torch.float32 if case["dtype"] == "fp32" else DTYPES[case["dtype"]]
    prepare = fp32_launch if case["dtype"] == "fp32" else matmul80_launch
    bound = {"bf16": 4e-3, "fp16": 6e-4, "e4m3": 1e-2, "tf32": 2e-3, "s8": 0.0, "fp32": 1e-5}[case["dtype"]]
    for m, n, k in case["shapes"]:
        a, b = random_matrix(m, k, dtype), random_matrix(n, k, dtype)
        c = torch.full((m, n), 77, device="cuda").to(out_type(dtype))
        c.fill_(float("nan") if c.dtype.is_floating_point else 77)
        prepare(cuda, case, a, b, c)()
        torch.cuda.synchronize()
        e = error(c, reference(a, b))
        worst = max(worst, e)
        if not e <= bound:
            return f"WRONG at {m}x{n}x{k}: relative error {e:.3g}"
    m, n, k = case["race"]
    a, b = random_matrix(m, k, dtype), random_matrix(n, k, dtype)
    c = torch.empty(m, n, device="cuda", dtype=out_type(dtype))
    torch.backends.cuda.matmul.allow_tf32 = case["dtype"] == "tf32"
    names = {"peer": (lambda: torch.matmul(a, b.T)) if dtype == torch.float32 else peer(case, a, b), "ours": prepare(cuda, case, a, b, c)}
    each = max(1, int(6 / (2 * m * n * k / (5e10 if case["dtype"] == "fp32" else 3e11))))
    t = interleave(names, 5, each)
    return f"ok, worst relative error {worst:.2g}; " + rates(t, 2 * m * n * k, 1e9, "peer") + " TFLOP/s"


def case_transpose(cuda, case):
    out = []
    for rows, columns in case["shapes"]:
        x = torch.randint(-30000, 30000, (rows, columns), device="cuda", dtype=torch.int16)
        names = {}
        for name, tile in (("transpose_naive", 32), ("transpose_tiled", 64)):
            y = torch.full((columns, rows), -1, device="cuda", dtype=torch.int16)
            f = cuda.function(case["file"], name)
            go = cuda.launch(f, [-(-columns // tile), -(-rows // tile)], [32, 8], 0, [address(x), address(y), i32(rows), i32(columns)])
            go()
            torch.cuda.synchronize()
            if not torch.equal(y, x.T):
                return f"WRONG {name} at {rows}x{columns}"
            names[name] = go
        z = torch.empty(columns, rows, device="cuda", dtype=torch.int16)
        names["torch"] = lambda: z.copy_(x.T)
        out.append(f"{rows}x{columns} " + rates(interleave(names, 5, 4), 4 * rows * columns, 1e6, "torch") + " GB/s")
    return "ok; " + "; ".join(out)


def case_flash80(cuda, case):
    worst, d, causal = 0.0, case["d"], case["causal"]
    n = 32 if d == 128 else 64
    shared = 128 * d * 2 + 4 * n * d * 2

    def prepare(q, k, v, o):
        f = cuda.function(case["file"], case["name"], shared)
        args = [address(q), address(k), address(v), address(o), i32(q.shape[2]), i32(k.shape[2]), i32(q.shape[1] // k.shape[1]),
                ctypes.c_float(math.log2(math.e) / math.sqrt(d))]
        return cuda.launch(f, [-(-q.shape[2] // 128), q.shape[0] * q.shape[1]], [128], shared, args)

    for shape in case["shapes"]:
        q, k, v, o = attention_data(*shape, d, torch.bfloat16)
        prepare(q, k, v, o)()
        torch.cuda.synchronize()
        e = error(o, attention_reference(q, k, v, causal))
        worst = max(worst, e)
        if not e < 6e-3:
            return f"WRONG at {shape}: relative error {e:.3g}"
    s, heads = 8192, 2048 // d
    q, k, v, o = attention_data(2, heads, heads, s, s, d, torch.bfloat16)
    t = interleave({"ours": prepare(q, k, v, o)}, 3, 2)
    return f"ok, worst relative error {worst:.2g}; " + rates(t, 8 * heads * s * s * d * (0.5 if causal else 1), 1e9) + " TFLOP/s"


def case_naive(cuda, case):
    """Scores, softmax, transposed values, product: compared with the definition."""
    worst = 0.0
    for batch, heads, kv_heads, queries, keys in case["shapes"]:
        for causal in (False, True):
            d = case["d"]
            q, k, v, o = attention_data(batch, heads, kv_heads, queries, keys, d, torch.bfloat16)
            s = torch.full((batch * heads, queries, keys), float("nan"), device="cuda", dtype=torch.bfloat16)
            vt = v.transpose(2, 3).contiguous()
            product, shared = cuda.function(case["file"], "attention_product", 4 * 384 * 64), 4 * 384 * 64
            steps = []

            def step(a, b, c, m, n, size, group):
                grid = [-(-m // 128) * -(-n // 256), batch * heads]
                steps.append(cuda.launch(product, grid, [256], shared, [address(a), address(b), address(c), i32(m), i32(n), u64(size), i32(group)]))

            step(q, k, s, queries, keys, 2 * d, heads // kv_heads)
            softmax = cuda.function(case["file"], "attention_softmax")
            steps.append(cuda.launch(softmax, [queries, batch * heads], [256], 0, [address(s), i32(queries), i32(keys), i32(int(causal)), ctypes.c_float(math.log2(math.e) / math.sqrt(d))]))
            step(s, vt, o, queries, d, 2 * keys, heads // kv_heads)
            for go in steps:
                go()
            torch.cuda.synchronize()
            e = error(o, attention_reference(q, k, v, causal))
            worst = max(worst, e)
            if not e < 2e-2:
                return f"WRONG at {heads} {queries} {keys} causal={causal}: relative error {e:.3g}"
    return f"ok, worst relative error {worst:.2g}"


def case_decode(cuda, case):
    d, out, worst = case["d"], [], 0.0
    shared = 4 * 3 * 2 * 16 * d * 2
    f, merge = cuda.function(case["file"], f"attention_decode_{d}", shared), cuda.function(case["file"], "attention_merge")

    def prepare(q, k, v, o, splits):
        batch, kv_heads, keys = k.shape[:3]
        group = q.shape[1] // kv_heads
        parts = torch.empty(batch * kv_heads * splits * group * d, device="cuda")
        ends = torch.empty(batch * kv_heads * splits * group * 2, device="cuda")
        scale = ctypes.c_float(math.log2(math.e) / math.sqrt(d))
        a = cuda.launch(f, [batch * kv_heads * splits], [128], shared,
                        [address(q), address(k), address(v), address(o), address(parts), address(ends), i32(keys), i32(group), i32(splits), scale])
        b = cuda.launch(merge, [batch * kv_heads, group], [d], 0, [address(parts), address(ends), address(o), i32(splits)])

        def go(keep=(parts, ends)):
            a()
            if splits > 1:
                b()

        return go

    for batch, heads, kv_heads, keys, splits in case["shapes"]:
        q, k, v, o = attention_data(batch, heads, kv_heads, 1, keys, d, torch.bfloat16)
        prepare(q, k, v, o, splits)()
        torch.cuda.synchronize()
        e = error(o, attention_reference(q, k, v, False))
        worst = max(worst, e)
        if not e < 6e-3:
            return f"WRONG at {batch} {heads} {kv_heads} {keys} splits {splits}: relative error {e:.3g}"
    batch, heads, kv_heads, keys = case["race"]
    q, k, v, o = attention_data(batch, heads, kv_heads, 1, keys, d, torch.bfloat16)
    names = {f"splits{s}": prepare(q, k, v, o, s) for s in case["splits"]}
    t = interleave(names, 7, 5)
    return f"ok, worst relative error {worst:.2g}; " + rates(t, k.numel() * 4, 1e6) + " GB/s"


# ---- access patterns, levels of memory, small kernels ----------------------------------------


def case_patterns(cuda, case):
    """Each kernel's sum is checked, then its rate of useful bytes printed."""
    words = case["bytes"] // 4
    x = torch.randint(-(1 << 31), (1 << 31) - 1, (words,), device="cuda", dtype=torch.int32)
    total = torch.zeros(1, device="cuda", dtype=torch.int32)
    out = []

    def race(label, name, grid, block, args, useful, want):
        go = cuda.launch(cuda.function(case["file"], name), [grid], [block], 0, args + [address(total)])
        total.zero_()
        go()
        torch.cuda.synchronize()
        if int(total.item()) & 0xFFFFFFFF != want & 0xFFFFFFFF:
            out.append(f"{label} WRONG")
            return
        t = interleave({label: go}, 5, 3)
        out.append(f"{label} {useful / median(t[label]) / 1e6:.0f}")

    def summed(v):
        return int(v.sum(dtype=torch.int64).item())

    for blocks in (4, 64):
        for size in (4, 8, 16):
            race(f"b{blocks} {size}-byte", f"memory_read_{size}", blocks * cuda.sms, 512, [address(x), u64(words * 4 // size)], 4 * words, summed(x))
    for stride in (1, 2, 4, 8, 16, 32, 64, 128):
        race(f"stride {stride}", "memory_stride", 16 * cuda.sms, 512, [address(x), u64(words // stride), u32(stride), u32(0)], 4 * (words // stride), summed(x[::stride]))
    race("offset 1", "memory_stride", 16 * cuda.sms, 512, [address(x), u64(words - 32), u32(1), u32(1)], 4 * (words - 32), summed(x[1:words - 31]))
    race("gather", "memory_gather", 16 * cuda.sms, 512, [address(x), u64(words), u64(0x9E3779B97F4A7C15 | 1)], 4 * words, summed(x))
    for mib in (4, 16, 24, 32, 40):
        n = (mib << 20) // 4
        race(f"L2 {mib} MiB", "memory_l2", cuda.sms, 1024, [address(x), u64(n // 4), i32(16)], 4 * n * 16 * cuda.sms, summed(x[:n]) * 16 * cuda.sms)
    n = cuda.sms * 4 * 1024 * 4
    race("L1", "memory_l1", cuda.sms, 1024, [address(x), i32(1000)], 4 * n * 1000, summed(x[:n]) * 1000)
    race("shared", "memory_shared", cuda.sms, 1024, [i32(10000)], 32 * 1024 * 10000 * cuda.sms, sum(range(1024)) * 8 * 10000 * cuda.sms)
    return " | ".join(out) + " GB/s of useful bytes"


def case_chase(cuda, case):
    """Nanoseconds and clocks a load, by the size that is walked over."""
    out, end, clocks = [], torch.zeros(1, device="cuda", dtype=torch.int32), torch.zeros(1, device="cuda", dtype=torch.int64)
    for label, name, size, past in (("shared", "memory_chase_shared", 32 << 10, 0), ("L1", "memory_chase", 32 << 10, 0), ("L2", "memory_chase", 8 << 20, 1), ("L2 far", "memory_chase", 30 << 20, 1), ("HBM", "memory_chase", 1 << 30, 1)):
        line = 32  # words: one link in each 128 bytes
        lines = size // 128
        order = torch.randperm(lines)
        links = torch.zeros(size // 4, dtype=torch.int32)
        links[order * line] = (order.roll(-1) * line).to(torch.int32)
        on = links.cuda()
        steps = min(lines, 20000)
        flat, want = links[::line].tolist(), 0
        for _ in range(steps):
            want = flat[want // line]
        if name == "memory_chase_shared":
            args = [address(on), i32(size // 4), i32(steps), address(end), address(clocks)]
        else:
            args = [address(on), i32(steps), i32(past), address(end), address(clocks)]
        go = cuda.launch(cuda.function(case["file"], name), [1], [32 if "shared" in name else 1], 0, args)
        go(), torch.cuda.synchronize()
        ms = median([events(go, 1) for _ in range(3)])
        torch.cuda.synchronize()
        if int(end.item()) != want:
            out.append(label + " WRONG")
        else:
            out.append(f"{label} {ms * 1e6 / steps:.1f} ns {int(clocks.item()) / steps:.0f} clocks")
    return " | ".join(out)


def case_chain(cuda, case):
    """y = max(0, x a + b) c as four kernels and as one."""
    n = case["bytes"] // 16
    x = torch.randn(4 * n, device="cuda")
    y, z = torch.full_like(x, float("nan")), torch.full_like(x, float("nan"))
    a, b, c = ctypes.c_float(1.5), ctypes.c_float(-0.25), ctypes.c_float(3.0)
    get = lambda name, args: cuda.launch(cuda.function(case["file"], name), [16 * cuda.sms], [512], 0, args)
    steps = [get("chain_scale", [address(x), address(y), u64(n), a]), get("chain_shift", [address(y), address(y), u64(n), b]),
             get("chain_rectify", [address(y), address(y), u64(n)]), get("chain_scale", [address(y), address(y), u64(n), c])]
    fused = get("chain_fused", [address(x), address(z), u64(n), a, b, c])

    def unfused():
        for go in steps:
            go()

    unfused(), fused()
    torch.cuda.synchronize()
    if not torch.equal(y, z) or not torch.allclose(z, torch.relu(x * 1.5 - 0.25) * 3, rtol=1e-5, atol=1e-6):
        return "WRONG"
    t = interleave({"four": unfused, "one": fused}, 7, 3)
    return f"four {median(t['four']):.3f} ms, one {median(t['one']):.3f} ms: x{median([p / q for p, q in zip(t['four'], t['one'])]):.2f}"


# ---- children ------------------------------------------------------------------------------


def child(cases, out):
    cuda = Cuda()
    for number, case in cases:
        os.write(out, f"begin {number}\n".encode())
        begin = time.time()
        try:
            torch.manual_seed(random.SystemRandom().randrange(1 << 30))
            text = globals()["case_" + case["case"]](cuda, case)
        except Exception as e:
            text = f"FAILED {type(e).__name__}: {(str(e) or '?').splitlines()[0][:160]}"
        os.write(out, f"end {number} {time.time() - begin:.1f}s {text}\n".encode())
        if "FAILED" in text:
            return  # the context may be broken
        torch.cuda.empty_cache()


def main():
    todo = list(enumerate(plan))
    while todo and time.time() < deadline:
        inner, outer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(inner)
            try:
                child(todo, outer)
            finally:
                os._exit(0)
        os.close(outer)
        buffer, current, limit = b"", None, time.time() + 25
        while True:
            ready, _, _ = select.select([inner], [], [], max(0.0, min(limit, deadline) - time.time()))
            data = os.read(inner, 65536) if ready else b""
            if not data:
                break
            buffer += data
            while b"\n" in buffer:
                line, buffer = buffer.split(b"\n", 1)
                word, number, *text = line.decode().split(" ", 2)
                current = int(number)
                if word == "begin":
                    limit = time.time() + plan[current].get("limit", 8)
                else:
                    limit = time.time() + 8
                    print(f"{plan[current]['label']}: {text[0]}", flush=True)
                    todo = [c for c in todo if c[0] != current]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(inner)
        if todo and (current is None or any(c[0] == current for c in todo)):
            stuck = current if current is not None else todo[0][0]
            print(f"{plan[stuck]['label']}: HUNG or crashed (child ended)", flush=True)
            todo = [c for c in todo if c[0] != stuck]
    for _, case in todo:
        print(f"{case['label']}: not run, out of time", flush=True)


main()
