"""What is true of the programs of a suite: scripts/workloads/SUITE/truth.json, one place for all that is expected.

Keys of a program: see docs/scenarios.md. Lines of code are not written down: a comment "# guilty" (or "# guilty: NAME
NAME …", for lines that are guilty in some programs or variants only) stands at the line that is to be blamed.
"""

import json
import os
import re

KNOWN = {
    "name", "is", "program", "files", "first", "then", "ceiling", "setup", "line", "flags", "arguments", "environment",
    "limit_s", "card", "exit", "fixes", "variants", "residual", "judge", "fixture",
}  # fmt: skip
MARKER = re.compile(r"#\s*guilty(?::\s*([\w. -]+))?\s*$")


class TruthError(Exception):
    """The truth of a suite contradicts itself."""


class Program:
    """One program in one variant."""

    def __init__(self, suite, entry, variant):
        merged = dict(entry)
        merged.update(entry.get("variants", {}).get(str(variant), {}))
        unknown = set(merged) - KNOWN
        if unknown:
            raise TruthError(f"{entry['name']}: unknown {', '.join(sorted(unknown))}")
        self.suite = suite
        self.variant = variant
        self.name = merged["name"]
        self.what = merged["is"]
        self.path = os.path.join(suite.folder, merged["program"])
        self.files = [self.path] + [os.path.join(suite.folder, f) for f in merged.get("files", [])]
        self.first = as_list(merged.get("first"))  # any of these is right
        self.then = as_list(merged.get("then"))  # further causes, in this order, warnings at least
        self.ceiling = merged.get("ceiling")  # nothing above this severity
        self.setup = as_list(merged.get("setup"))  # what the experiment itself causes: passed over
        self.line = merged.get("line", bool(self.first))  # whether a line is to be blamed
        self.flags = suite.flags + as_list(merged.get("flags"))
        self.arguments = as_list(merged.get("arguments"))
        self.environment = merged.get("environment", {})
        self.limit = merged.get("limit_s", suite.limit)
        self.alone = merged.get("card", "alone") == "alone"
        self.exit = merged.get("exit")  # "ends" with status 0, or "fails"; None: either
        self.fixes = merged.get("fixes", [])
        self.judge = merged.get("judge", "auto")
        self.fixture = merged.get("fixture", True)  # False: the verdict stands on more than one file
        self.residual = merged.get("residual", suite.residual)
        if not self.first and not self.ceiling:
            raise TruthError(f"{self.name}: neither a first finding nor a ceiling")

    @property
    def key(self):
        return f"{self.name}-{self.variant}"

    @property
    def truth(self):
        if self.ceiling:
            return f"nothing above {self.ceiling}"
        return " then ".join(["/".join(self.first)] + self.then)

    def guilty(self):
        """Lines that may be blamed: {"train.py:12", …}."""
        found = set()
        for path in self.files:
            with open(path, encoding="utf-8") as file:
                for number, text in enumerate(file, 1):
                    match = MARKER.search(text)
                    if match and (match[1] is None or {self.name, self.key, str(self.variant)} & set(match[1].split())):
                        found.add(f"{os.path.basename(path)}:{number}")
        return found


class Suite:
    """A folder of programs with its truth."""

    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(folder, "truth.json"), encoding="utf-8") as file:
            self.data = json.load(file)
        self.name = self.data["suite"]
        self.flags = as_list(self.data.get("flags"))
        self.limit = self.data.get("limit_s", 60)
        self.tolerance = self.data.get("tolerance", 0.15)  # of a predicted gain
        self.residual = self.data.get("residual")  # the most that may be unaccounted for, as a part of used
        self.variants = self.data.get("variants", [1, 2, 3])

    def programs(self, variants, only):
        entries = self.data["programs"]
        unknown = set(only) - {e["name"] for e in entries}
        if unknown:
            raise TruthError(f"no program {', '.join(sorted(unknown))} in the suite {self.name}")
        return [Program(self, e, v) for v in variants for e in entries if not only or e["name"] in only]


def as_list(value):
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
