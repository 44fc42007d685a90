"""Cases of attention: Hopper, Ampere, naive, decode."""
import ctypes
import heapq
import math

import torch

from gpu import DTYPES, address, error, i32, interleave, rates, u64


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
                grid = [-(-m // 256) * -(-n // 128), batch * heads]
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
    d, worst = case["d"], 0.0
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
