"""Makes fixtures of a run: what the doctor judged, small, with its provenance.

What is taken out: the paths of the machine that it ran on, lines of a stack beyond FRAMES, second copies of equal
stacks (PyTorch writes one a block). What is left is what the doctor reads; the harness's verdict goes with it.
"""

import functools
import glob
import gzip
import json
import os
import pickle
import re
import shutil

FRAMES = 48
LARGEST = 200_000
PACKAGES = re.compile(r"^.*/((?:site|dist)-packages/)")
SOURCES = re.compile(r"^.*/(scripts/workloads/)")
LIBRARY = re.compile(r"^.*/(lib/python3)")


class Plain(pickle.Unpickler):
    """Reads data, and nothing that would execute."""

    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"{module}.{name} in a snapshot")


@functools.lru_cache(maxsize=None)  # a pickle holds one object once
def path(text):
    text = SOURCES.sub(r"\1", text)
    return LIBRARY.sub(r"/usr/\1", PACKAGES.sub(r"/usr/lib/python3/\1", text))


class Interned:
    """Equal stacks become one object, which a pickle holds once."""

    def __init__(self):
        self.lines = {}
        self.stacks = {}
        self.seen = {}

    def stack(self, frames):
        done = self.seen.get(id(frames))
        if done is not None:
            return done[1]
        short = []
        for f in frames[:FRAMES]:
            f = dict(f)
            for key in ("filename", "file"):
                if key in f:
                    f[key] = path(f[key])
            short.append(self.lines.setdefault(tuple(sorted(f.items())), f))
        out = self.stacks.setdefault(tuple(map(id, short)), short)
        self.seen[id(frames)] = (frames, out)
        return out

    def walk(self, value):
        if isinstance(value, dict):
            for key, item in value.items():
                value[key] = self.stack(item) if key in ("frames", "stack", "limit_stack") and isinstance(item, list) else self.walk(item)
        elif isinstance(value, list):
            for i, item in enumerate(value):
                value[i] = self.walk(item)
        return value


def snapshot(source, target):
    with open(source, "rb") as file:
        data = Interned().walk(Plain(file).load())
    with open(target, "wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=9, mtime=0) as file:
        pickle.dump(data, file, protocol=4)


def main(folder, into):
    os.makedirs(into, exist_ok=True)
    total = 0
    for results in sorted(glob.glob(os.path.join(folder, "*.jsonl"))):
        suite = os.path.basename(results)[: -len(".jsonl")]
        lines = {}
        with open(results, encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                lines[line["key"]] = line
        entries = []
        for key, line in sorted(lines.items()):
            files = line["run"].get("files") or []
            # A snapshot does not know that its program went on.
            files = [f for f in files if not (line["run"]["status"] == 0 and ".oom-" in f)]
            if not files or not line["fixture"]:
                continue
            source = os.path.join(folder, suite, files[0])
            name = key + (".pickle.gz" if files[0].endswith(".pickle") else ".wscope")
            target = os.path.join(into, name)
            if not os.path.exists(source):
                continue
            if name.endswith(".gz"):
                snapshot(source, target)
            else:
                shutil.copyfile(source, target)
            size = os.stat(target).st_size
            if size > LARGEST:
                print(f"{name}: {size} bytes are more than {LARGEST}: left out")
                os.remove(target)
                continue
            total += size
            entries.append({
                "file": name, "program": line["name"], "variant": line["variant"], "lines": line["guilty"],
                "gpu": line["gpu"], "date": line["date"], "warpscope": line["warpscope"], "bytes": size,
            })  # fmt: skip
        with open(os.path.join(into, suite + ".json"), "w", encoding="utf-8") as file:
            json.dump({"suite": suite, "fixtures": entries}, file, indent=1)
            file.write("\n")
    print(f"{total} bytes in all")
    return 0
