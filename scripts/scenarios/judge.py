"""Holds a run against the truth of its program."""

import re

RANK = {"note": 0, "warning": 1, "error": 2}
PLACE = re.compile(r"\bat ([^\s:,]+\.py:\d+)")
SIZE = re.compile(r"(-?[\d.]+) ?(B|KiB|MiB|GiB|TiB|ns|µs|us|ms|s)\b")
UNITS = {
    "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    "ns": 1e-6, "µs": 1e-3, "us": 1e-3, "ms": 1.0, "s": 1e3,
}  # fmt: skip


def verdict(program, run):
    """A row of the table: what was found, and why that is wrong ("" if it is right)."""
    wrong = []
    told = run["printed"]
    data = (run.get("diagnosis") or {}).get("findings", [])
    row = {
        "truth": program.truth, "verdict": "nothing", "severity": "", "line": "", "cost_bytes": None, "lost_ms": None,
        "residual": residual(run.get("inspection")), "gain": "", "confidence": "",
    }  # fmt: skip
    if run["late"]:
        wrong.append(f"did not end within {program.limit} s")
    if program.exit == "ends" and run["status"] != 0:
        wrong.append(f"ended with status {run['status']}")
    if program.exit == "fails" and run["status"] == 0:
        wrong.append("ended well")
    block = [f for f in (told[0] if told else []) if f["id"] not in program.setup]
    if block:
        row["verdict"], row["severity"] = block[0]["id"], block[0]["severity"]
    finding = next((f for f in data if f["id"] == row["verdict"]), None)
    if finding:
        row["line"] = blamed(finding)
        cost = finding.get("cost", {})
        row["cost_bytes"] = cost.get("bytes")
        if cost.get("seconds_per_step"):
            row["lost_ms"] = round(cost["seconds_per_step"] * 1e3, 4)
        row["confidence"] = finding.get("confidence", "")
        row["gain"] = finding["fix"][0].get("expected_gain", "") if finding.get("fix") else ""
    if program.ceiling:
        wrong += too_severe(program, told)
    elif not run["late"]:
        wrong += wrong_cause(program, run, row, block, finding)
    if program.residual is not None and row["residual"] is not None and abs(row["residual"]) > program.residual:
        wrong.append(f"residual {row['residual']:.2%} of used")
    row["wrong"] = "; ".join(wrong)
    row["pass"] = not wrong
    return row


def too_severe(program, told):
    above = sorted({f"{f['severity']} {f['id']}" for b in told for f in b if RANK[f["severity"]] > RANK[program.ceiling] and f["id"] not in program.setup})
    return [f"says {', '.join(above)}"] if above else []


def wrong_cause(program, run, row, block, finding):
    wrong = []
    if not run["printed"]:
        wrong.append("no diagnosis was printed" + (f" ({run['doctor_error']})" if run.get("doctor_error") else ""))
    elif row["verdict"] not in program.first:
        wrong.append(f"says {row['verdict']}")
    elif row["severity"] == "note" and row["verdict"].startswith("memory."):
        wrong.append("says so in a note only")
    at = -1
    named = [f["id"] for f in block if RANK[f["severity"]] > 0]
    for more in program.then:
        if more not in named[at + 1 :]:
            wrong.append(f"does not name {more} behind it")
            break
        at = named.index(more, at + 1)
    if program.line and row["verdict"] in program.first:
        guilty = program.guilty()
        if not finding:
            wrong.append("the finding is not in doctor --json")
        elif row["line"] not in guilty:
            wrong.append(f"blames {row['line'] or 'no line'}, not {' or '.join(sorted(guilty)) or 'a marked line (there is none)'}")
    return wrong


def blamed(finding):
    """The line of code that a finding names first."""
    for text in [finding.get("title", "")] + [e.get("what", "") for e in finding.get("evidence", [])]:
        match = PLACE.search(text)
        if match:
            return match[1]
    return ""


def residual(inspection):
    """What the account of a GPU's memory cannot account for, as a part of what is used: at the failure, else at the
    peak or whatever moment the trace has. None: there is no such account."""
    accounts = ((inspection or {}).get("memory") or {}).get("accounts") or []
    moment = next((a for a in accounts if a.get("when") == "at the failure"), accounts[0] if accounts else {})
    worst = None
    for gpu in moment.get("gpus") or []:
        used, rest = gpu.get("used_bytes"), gpu.get("residual_bytes")
        if used and rest is not None and (worst is None or abs(rest / used) > abs(worst)):
            worst = rest / used
    return worst


def number(text):
    """The first size (bytes) or duration (ms) in a text; None: there is none."""
    match = SIZE.search(text)
    return float(match[1]) * UNITS[match[2]] if match else None


def predicted(program, fix, run):
    """What a finding says that a change gains: bytes, or milliseconds a step."""
    wanted = [fix["finding"]] if "finding" in fix else program.first
    finding = next((f for f in (run.get("diagnosis") or {}).get("findings", []) if f["id"] in wanted), None)
    if not finding:
        return None
    how = fix.get("predicted", "cost")
    if how == "cost":
        cost = finding["cost"]
        return cost["bytes"] if cost.get("bytes") else cost.get("seconds_per_step", 0) * 1e3 or None
    if how.startswith("evidence:"):
        pattern = re.compile(how[len("evidence:") :])
        return next((e["figure"] for e in finding["evidence"] if pattern.search(e["what"])), None)
    pattern = re.compile(how[len("gain:") :])
    for change in finding["fix"]:
        if pattern.search(change["change"] + "\n" + change.get("paste", "")):
            return number(change["expected_gain"])
    return None


def pair(program, fix, before, after):
    """A prediction beside what the second run shows."""
    want = predicted(program, fix, before)
    key = fix["measured"]
    out = {"fix": fix["name"], "predicted": want, "measured": None, "off": None, "pass": False, "wrong": ""}
    if after["late"] or after["status"] != 0:
        out["wrong"] = f"the changed program ended with status {after['status']}"
    elif want is None:
        out["wrong"] = "nothing is predicted"
    elif key not in after["measures"]:
        out["wrong"] = f"the changed program measured no {key}"
    elif fix.get("absolute"):  # the second run itself shows what was predicted
        out["measured"] = after["measures"][key]
    elif key not in before["measures"]:
        out["wrong"] = f"the program measured no {key}"
    else:
        out["measured"] = before["measures"][key] - after["measures"][key]
    if out["measured"] is not None:
        out["off"] = out["measured"] / want - 1 if want else None
        tolerance = fix.get("tolerance", program.suite.tolerance)
        out["pass"] = out["off"] is not None and abs(out["off"]) <= tolerance
        if not out["pass"]:
            out["wrong"] = f"off by {out['off']:+.0%}" if out["off"] is not None else "nothing is predicted"
    return out
