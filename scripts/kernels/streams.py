"""Cases of memory: streams, access patterns, levels, latency, the fused chain."""
import ctypes

import torch

from gpu import address, events, i32, interleave, median, rates, u32, u64


def case_memory_race(cuda, case):
    size = case["bytes"]
    x = torch.randint(-(1 << 31), (1 << 31) - 1, (size // 4,), device="cuda", dtype=torch.int32)
    y, z = torch.empty_like(x), torch.empty_like(x)
    total = torch.zeros(1, device="cuda", dtype=torch.int32)
    kind, bad, names = case["kind"], [], {}
    n = size // 16
    for v in case["variants"]:
        f = cuda.function(v["file"], v["name"], v.get("shared", 0))
        # `once`: that many words (or bytes) a thread (or block), so that no block comes round a second time.
        grid, block = [-(-(size if v.get("unit") == 1 else n) // (v["once"] * v["threads"])) if "once" in v else v["blocks"] * cuda.sms], [v["threads"]]
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
        lib, d, stream = cuda.lib.cuMemsetD32Async, ctypes.c_uint64(y.data_ptr()), ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        names["memset"] = lambda: lib(d, ctypes.c_uint32(1), ctypes.c_size_t(size // 4), stream)
    t = interleave(names, case.get("rounds", 7), case.get("each", 4))
    factor = {"copy": 2, "read": 1, "write": 1, "triad": 3}[kind]
    peers = [k for k in ("torch", "memcpy", "memset") if k in names]
    return rates(t, factor * size, 1e6, min(peers, key=lambda k: median(t[k])) if peers else None) + " GB/s " + " ".join(bad)


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
    """Clocks a load, by the size that is walked over: many times round in the caches, never twice in memory."""
    out, end, clocks = [], torch.zeros(1, device="cuda", dtype=torch.int32), torch.zeros(1, device="cuda", dtype=torch.int64)
    flush = torch.zeros(1 << 26, device="cuda", dtype=torch.int32)
    for label, name, size, steps in (("shared", "memory_chase_shared", 32 << 10, 65536), ("L1", "memory_chase", 32 << 10, 65536),
                                     ("L1 128 KiB", "memory_chase", 128 << 10, 262144), ("L2", "memory_chase", 8 << 20, 262144),
                                     ("L2 30 MiB", "memory_chase", 30 << 20, 524288), ("HBM 256 MiB", "memory_chase", 256 << 20, 8192), ("HBM 1 GiB", "memory_chase", 1 << 30, 8192)):
        line = 32  # words: one link in each 128 bytes
        lines, cold, past = size // 128, "HBM" in label, 0 if label[:2] == "L1" else 1
        order = torch.randperm(lines)
        at = (order == 0).nonzero().item()
        order = order.roll(-at)
        links = torch.zeros(size // 4, dtype=torch.int32)
        links[order * line] = (order.roll(-1) * line).to(torch.int32)
        on, want = links.cuda(), order[steps % lines].item() * line
        if name == "memory_chase_shared":
            args = [address(on), i32(size // 4), i32(steps), address(end), address(clocks)]
        else:
            args = [address(on), i32(steps), i32(past), address(end), address(clocks)]
        go = cuda.launch(cuda.function(case["file"], name), [1], [32 if "shared" in name else 1], 0, args)
        seen = []
        for _ in range(4):
            if cold:
                flush.add_(1)
            end.fill_(-1)
            ms = events(go, 1)
            seen.append((int(clocks.item()) / steps, ms))
            if int(end.item()) != want:
                return label + " WRONG"
        took, ms = sorted(seen)[1]
        out.append(f"{label} {took:.1f} clocks {ms * 1e6 / steps:.1f} ns")
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
