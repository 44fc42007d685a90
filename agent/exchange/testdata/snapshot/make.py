#!/usr/bin/env python3
"""Writes memory snapshots with invented contents, in the layouts that PyTorch writes.

    make.py small FOLDER        the files that the tests read
    make.py big MEGABYTES FILE  a large one, for the benchmark

The figures that the tests expect stand beside each file as JSON, counted here, not by the reader.
"""

import gzip
import json
import pickle
import sys

MIB = 1 << 20


class Program:
    """A made-up training program on an allocator that never reuses a segment for another size."""

    def __init__(self, layout):
        self.layout = layout
        self.frames = {}
        self.trace = []
        self.segments = []
        self.live = {}
        self.free = {}
        self.next = 0x7F2000000000
        self.now = 1_790_000_000_000_000
        self.counts = {}

    def frame(self, name, filename, line):
        key = (name, filename, line)
        if key not in self.frames:
            self.frames[key] = {"name": name, "filename": filename, "line": line}
        return self.frames[key]

    def stack(self, function, line, depth=6):
        """A list of its own, of shared frames, as each allocation has."""
        frames = [self.frame("at::detail::empty_cuda", "??", 0)] if depth > 8 else []
        frames.append(self.frame("forward", "/opt/torch/nn/modules/linear.py", 134))
        frames += [self.frame(f"layer{i}", "/opt/torch/nn/modules/module.py", 1700 + i) for i in range(depth)]
        frames.append(self.frame(function, "/home/someone/train.py", line))
        frames.append(self.frame("<module>", "/home/someone/train.py", 99))
        return frames

    def entry(self, action, addr, size, frames, stream=0, pool=(0, 0)):
        self.now += 7
        e = {"action": action}
        if action == "oom":
            e["device_free"] = addr
        else:
            e["addr"] = addr
        e["size"] = size
        e["stream"] = stream
        if self.layout == "2.11":
            e["segment_pool_id"] = pool
            e["compile_context"] = "N/" + "A"
            e["user_metadata"] = "step"
        if self.layout != "2.0":
            e["time_us"] = self.now
        if frames is not None:
            e["frames"] = frames
        self.trace.append(e)
        self.counts[action] = self.counts.get(action, 0) + 1

    def alloc(self, size, frames, stream=0, pool=(0, 0)):
        block = max(512, (size + 511) // 512 * 512)
        segment = 2 * MIB if block <= MIB else (block + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
        reuse = self.free.setdefault((block, stream, pool), [])
        if reuse:
            s = reuse.pop()
        else:
            s = {"address": self.next, "total_size": segment, "block": block, "stream": stream, "pool": pool, "frames": frames}
            self.next += segment + 2 * MIB
            self.segments.append(s)
            self.entry("segment_alloc", s["address"], segment, frames, stream, pool)
        s["requested"], s["frames"] = size, frames
        self.live[s["address"]] = s
        self.entry("alloc", s["address"], size, frames, stream, pool)
        return s["address"]

    def release(self, addr):
        s = self.live.pop(addr)
        for action in ("free_requested", "free_completed"):
            self.entry(action, addr, s["requested"], s["frames"], s["stream"], s["pool"])
        self.free[(s["block"], s["stream"], s["pool"])].append(s)

    def block(self, address, size, requested, state, frames):
        b = {"size": size, "state": state}
        if self.layout == "2.0":
            if requested:
                b["history"] = [{"addr": address, "real_size": requested, "frames": frames}]
            return b
        b["address"] = address
        b["requested_size"] = requested
        b["frames"] = frames if requested else []
        return b

    def snapshot(self):
        out = []
        for s in self.segments:
            live = s["address"] in self.live
            state = "active_allocated" if live else "inactive"
            blocks = [self.block(s["address"], s["block"], s["requested"] if live else 0, state, s["frames"])]
            rest = s["total_size"] - s["block"]
            if rest:
                blocks.append(self.block(s["address"] + s["block"], rest, 0, "inactive", []))
            d = {
                "device": 0,
                "address": s["address"],
                "total_size": s["total_size"],
                "allocated_size": s["block"] if live else 0,
                "active_size": s["block"] if live else 0,
                "stream": s["stream"],
                "segment_type": "small" if s["block"] <= MIB else "large",
                "blocks": blocks,
            }
            if self.layout != "2.0":
                d["requested_size"] = s["requested"] if live else 0
                d["segment_pool_id"] = s["pool"]
                d["is_expandable"] = False
                d["frames"] = s["frames"]
            out.append(d)
        result = {"segments": out, "device_traces": [self.trace, []]}
        if self.layout not in ("2.0", "2.1"):
            result["allocator_settings"] = {
                "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:128,roundup_power2_divisions:[256:1,512:2,>:8]",
                "max_split_size": 128 * MIB,
                "garbage_collection_threshold": 0.75,
                "expandable_segments": False,
                "pinned_num_register_threads": 1,
                "release_lock_on_cudamalloc": False,
                "pinned_use_cuda_host_register": False,
                "roundup_power2_divisions": {"1": 1, "256": 1, "512": 2, "1024": 8},
            }
            result["external_annotations"] = [
                {"device": 0, "time_us": self.now, "name": "## forward ##", "stage": "START"},
            ]
        return result

    def expect(self):
        return {
            "actions": self.counts,
            "segments": len(self.segments),
            "reserved": sum(s["total_size"] for s in self.segments),
            "live": sum(s["block"] for s in self.live.values()),
            "requested": sum(s["requested"] for s in self.live.values()),
            "lines": len(self.frames),
        }


def run(layout, steps):
    p = Program(layout)
    for i in range(3):
        p.alloc(3_000_001 + i, p.stack("build", 10 + i))
    p.alloc(700, p.stack("capture", 20), stream=0x5555_0000_1230, pool=(0, 1) if layout == "2.11" else (0, 0))
    for _ in range(steps):
        kept = [p.alloc(100_000 * (i % 7 + 1), p.stack("forward", 40 + i % 11, 4 + i % 9)) for i in range(12)]
        for addr in kept:
            p.release(addr)
    p.entry("oom", 123 * MIB, 64 * MIB, p.stack("forward", 45))
    p.entry("snapshot", 0, 0, None)
    return p


def small(folder):
    layouts = {"torch-2.0": "2.0", "torch-2.1": "2.1", "torch-2.11": "2.11"}
    for name, layout in layouts.items():
        p = run(layout, 20)
        data = pickle.dumps(p.snapshot(), protocol=4)
        with open(f"{folder}/{name}.pickle.gz", "wb") as f:
            f.write(gzip.compress(data, mtime=0))
        with open(f"{folder}/{name}.json", "w", encoding="utf-8") as f:
            json.dump(p.expect(), f, indent=1)
    p = run("2.11", 2)
    for protocol in range(6):
        with open(f"{folder}/protocol-{protocol}.pickle.gz", "wb") as f:
            f.write(gzip.compress(pickle.dumps(p.snapshot(), protocol=protocol), mtime=0))
    with open(f"{folder}/protocols.json", "w", encoding="utf-8") as f:
        json.dump(p.expect(), f, indent=1)
    tiny = Program("2.11")  # what fuzzing starts from
    tiny.release(tiny.alloc(5, tiny.stack("f", 1, 1)))
    for protocol in (0, 2, 4):
        with open(f"{folder}/tiny-{protocol}.pickle.gz", "wb") as f:
            f.write(gzip.compress(pickle.dumps(tiny.snapshot(), protocol=protocol), mtime=0))
    with open(f"{folder}/segments.pickle.gz", "wb") as f:
        f.write(gzip.compress(pickle.dumps(run("2.1", 2).snapshot()["segments"], protocol=4), mtime=0))


def big(megabytes, name):
    p = Program("2.11")
    kept = []
    # About 300 bytes an event: a third of them has a stack of its own, 24 lines deep.
    while len(p.trace) * 135 < megabytes * 1_000_000:
        kept.append(p.alloc(512 * (len(kept) * 37 % 5000 + 1), p.stack("forward", 40 + len(kept) % 50, 20 + len(kept) % 17)))
        if len(kept) == 400:
            for addr in kept:
                p.release(addr)
            kept.clear()
    with open(name, "wb") as f:
        pickle.dump(p.snapshot(), f, protocol=4)


if __name__ == "__main__":
    if sys.argv[1:2] == ["small"]:
        small(sys.argv[2])
    elif sys.argv[1:2] == ["big"]:
        big(int(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(__doc__)
