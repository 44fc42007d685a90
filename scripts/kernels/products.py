"""Cases of matrix products and transposes."""

import torch

from gpu import DTYPES, address, error, i32, interleave, rates, u64


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


def work_of(tiles, steps, clusters, most=3, cost=6):
    """What clusters do, as kernels/matmul_work.go deals it out: entries of four words, and how many places for sums they take."""
    full, owners = len(tiles) // clusters * clusters, len(tiles) % clusters
    helpers, best = clusters - owners, (steps - steps // 32, 0, [])
    whole = [[t, steps << 16, 0, 0] for t in tiles]
    for own in range(-(-steps // (most + 1)), steps) if owners and full and most else ():
        best = min(best, share(owners, helpers, steps, own, most, cost), key=lambda s: s[0])
    if not best[1]:
        return whole, 0
    _, own, parts = best
    turns = max(1, *(len(p) for p in parts))
    table = [[0, 0, 0, 0] for _ in range(turns * clusters)]
    for o in range(owners):
        places = [place for p in parts for owner, _, _, place in p if owner == o]
        table[helpers + o] = [whole[full + o][0], own << 16, 0, min(places) | (max(places) + 1) << 16]
    for h, p in enumerate(parts):
        for turn, (owner, begin, end, place) in enumerate(p):
            table[turn * clusters + h] = [whole[full + owner][0], begin | end << 16, place + 1, 0]
    return whole[:full] + table, sum(map(len, parts))


def share(owners, helpers, steps, own, most, cost):
    """The time until all are done when owners do `own` steps, or a long one; own; each helper's parts: owner, begin, end, place."""
    room, parts, time, places = [own - cost] * helpers, [[] for _ in range(helpers)], own, 0
    for o in range(owners):
        size, first = steps - own, places
        if max(room) < size:
            size = -(-size // most)
        for at in range(own, steps, size):
            h = room.index(max(room))
            if room[h] < size:
                return steps, 0, []
            parts[h].append((o, at, min(at + size, steps), places))
            room[h] -= size + cost
            places += 1
        time = max(time, own + cost * (places - first))
    return time, own, parts


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
    """v: file, name, bm, bn, wg, stages, cm, cn, group, kind, blocks, cut (0: no tile is cut along K)"""
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
    work, places = work_of(order.tolist(), -(-k * element // 128), clusters, v.get("cut", 3))
    if not places:
        clusters = -(-len(order) // -(-len(order) // clusters))
    work = torch.tensor(work, dtype=torch.int64).to(torch.int32).cuda()
    scratch = torch.zeros(max(places, 1) * cm * cn * (bm * bn * 4 + v["wg"] * 128), dtype=torch.uint8, device="cuda")
    args = maps + [address(work), i32(len(work)), address(scratch)]
    go = cuda.launch(f, [clusters * cm * cn], [128 * (v["wg"] + 1)], shared, args)
    go.__defaults__[0][0].extend((work, scratch))
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
    rows = torch.cat([torch.arange(0, m, 61, device="cuda"), torch.arange(max(m - 300, 0), m, device="cuda")])
    want = torch.matmul(a.float()[rows], b.float().T) if case["dtype"] != "s8" else a[rows].double() @ b.double().T
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
        e = error(c[rows], want)
        if not e < 1e-2:
            bad.append(f"{v['label']} WRONG {e:.3g}")
            continue
        names[v["label"]] = go
    each = max(1, int(case.get("ms", 8) / (2 * m * n * k / 7e11)))
    t = interleave(names, case.get("rounds", 7), each)
    return rates(t, 2 * m * n * k, 1e9, "peer") + " TFLOP/s " + " ".join(bad)


def matmul80_launch(cuda, v, a, b, c):
    """v: file, name, bm, bn, kb, stages, threads"""
    m, n, size = a.shape[0], b.shape[0], a.shape[1] * a.element_size()
    bm, bn = v["bm"], v["bn"]
    shared = v["stages"] * (bm + bn) * v["kb"]
    f = cuda.function(v["file"], v["name"], shared)
    return cuda.launch(f, [-(-m // bm) * -(-n // bn)], [v["threads"]], shared, [address(a), address(b), address(c), i32(m), i32(n), u64(size)])


def fp32_launch(cuda, v, a, b, c):
    f = cuda.function(v["file"], v["name"])
    m, k, n = a.shape[0], a.shape[1], b.shape[0]
    return cuda.launch(f, [-(-n // 128), -(-m // 128)], [256], 0, [address(a), address(b), address(c), i32(m), i32(n), i32(k)])


def case_matmul80(cuda, case):
    """Checks every variant (or the case itself) at all shapes, then times those that are right."""
    worst, dtype = 0.0, torch.float32 if case["dtype"] == "fp32" else DTYPES[case["dtype"]]
    prepare = fp32_launch if case["dtype"] == "fp32" else matmul80_launch
    bound = {"bf16": 4e-3, "fp16": 6e-4, "e4m3": 1e-2, "tf32": 2e-3, "s8": 0.0, "fp32": 1e-5}[case["dtype"]]
    good, bad = {v.get("label", "ours"): v for v in case.get("variants", [case])}, []
    if "variants" not in case:
        good = {"ours": case}
    for m, n, k in case["shapes"]:
        a, b = random_matrix(m, k, dtype), random_matrix(n, k, dtype)
        want = reference(a, b)
        for label, v in list(good.items()):
            c = torch.full((m, n), 77, device="cuda").to(out_type(dtype))
            c.fill_(float("nan") if c.dtype.is_floating_point else 77)
            prepare(cuda, v, a, b, c)()
            torch.cuda.synchronize()
            e = error(c, want)
            worst = max(worst, e)
            if not e <= bound:
                bad.append(f"{label} WRONG at {m}x{n}x{k}: relative error {e:.3g}")
                del good[label]
    m, n, k = case["race"]
    a, b = random_matrix(m, k, dtype), random_matrix(n, k, dtype)
    c = torch.empty(m, n, device="cuda", dtype=out_type(dtype))
    torch.backends.cuda.matmul.allow_tf32 = case["dtype"] == "tf32"
    names = {"peer": (lambda: torch.matmul(a, b.T)) if dtype == torch.float32 else peer(case, a, b)}
    names |= {label: prepare(cuda, v, a, b, c) for label, v in good.items()}
    each = max(1, int(case.get("ms", 6) / (2 * m * n * k / (5e10 if case["dtype"] == "fp32" else 3e11))))
    t = interleave(names, case.get("rounds", 5), each)
    return f"worst relative error {worst:.2g}; " + rates(t, 2 * m * n * k, 1e9, "peer") + " TFLOP/s " + "; ".join(bad)


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
