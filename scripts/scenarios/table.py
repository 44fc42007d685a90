"""The verdict table."""


def size(n):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(n) < 1023.5 or unit == "GiB":
            return f"{n:.3g} {unit}" if abs(n) < 1000 else f"{n:.0f} {unit}"
        n /= 1024
    return ""


def cost(line):
    if line.get("lost_ms") is not None:
        return f"{line['lost_ms']:.3g} ms"
    if line.get("cost_bytes"):
        return size(line["cost_bytes"])
    return "-"


def amount(line, value):
    if value is None:
        return "?"
    return f"{value:.3g} ms" if line.get("lost_ms") is not None else size(value)


def cells(line):
    residual = "-" if line.get("residual") is None else f"{line['residual']:+.2%}"
    return [
        line["key"], line["truth"], f"{line['severity']} {line['verdict']}".strip(), line["line"] or "-", cost(line), residual,
        f"{line['run']['seconds']:.0f} s", "pass" if line["pass"] else "FAIL " + line["wrong"],
    ]  # fmt: skip


def line(one):
    """One run, as it ends."""
    out = "  ".join(cells(one))
    for p in one["pairs"]:
        out += "\n" + pair(one, p)
    return out


def pair(one, p):
    off = "" if p["off"] is None else f", off by {p['off']:+.1%}"
    return f"    {p['fix']}: predicted {amount(one, p['predicted'])}, measured {amount(one, p['measured'])}{off}  {'pass' if p['pass'] else 'FAIL ' + p['wrong']}"


def table(lines):
    head = ["program", "truth", "first finding", "blamed line", "takes", "residual", "time", "verdict"]
    rows = [head] + [cells(x) for x in lines]
    widths = [max(len(r[i]) for r in rows) for i in range(len(head) - 1)]
    out = ["  ".join([*(c.ljust(w) for c, w in zip(r, widths)), r[-1]]).rstrip() for r in rows]
    pairs = [f"  {x['key']}\n{pair(x, p)}" for x in lines for p in x["pairs"]]
    if pairs:
        out += ["", "changes, predicted and applied:"] + pairs
    return "\n".join(out)
