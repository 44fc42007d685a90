#!/usr/bin/env python3
"""Counts the events of a .wscope file by process and kind, and adds up its kernels' and its calls' durations.

Written from README.md alone; needs only the package zstandard. Prints JSON.
"""
import json
import struct
import sys

import zstandard

KINDS = {1: "kernel", 2: "copy", 3: "set", 4: "sync", 5: "call", 6: "marker", 7: "graph", 8: "overhead", 9: "allocation",
         10: "context", 11: "module", 14: "pool", 15: "state", 16: "gpu_sample", 17: "usage",
         18: "window", 19: "fact", 20: "activity"}


def varint(b, i):
    value = shift = 0
    while True:
        value |= (b[i] & 0x7F) << shift
        shift, i = shift + 7, i + 1
        if b[i - 1] < 0x80:
            return value, i


def message(b):  # the last value of each field: an integer or bytes
    fields, i = {}, 0
    while i < len(b):
        tag, i = varint(b, i)
        value, i = varint(b, i)  # the schema has only varints and bytes
        if tag & 7 == 2:
            value, i = b[i:i + value], i + value
        fields[tag >> 3] = value
    return fields


def zigzag(v):
    return v >> 1 if v % 2 == 0 else -((v + 1) >> 1)


def signed(v):
    return (v + 2**63) % 2**64 - 2**63


def slots(table, key, depth):  # what the key of a column selects in each row
    values, c = column(table, key), message(table.get(key, b""))
    if depth == 0:
        return [v % 4096 for v in values]
    before = [zigzag(c.get(2, 0))] + values if c.get(3, 0) else [zigzag(c.get(2, 0))] * len(values)
    hashes = []
    for i in range(len(values)):
        h = 0
        for j in range(max(0, i - depth + 1), i + 1):
            h = (h + values[j] - before[j]) * 2654435761 % 2**32
        hashes.append(h >> 18)
    return hashes


def column(table, number):  # the values of a column that is not chained to durations, signed
    rows, c = table[1], message(table.get(number, b""))
    planes, low, pack, base = c.get(1, b""), c.get(5, 0) or 8, c.get(6, 0) or 1, zigzag(c.get(2, 0))
    values = [planes[i // pack] >> i % pack * low & 2**low - 1 if planes else 0 for i in range(rows)]
    for p, at in enumerate(range(-(-rows // pack), len(planes), rows)):
        values = [v + (byte << low + 8 * p) for v, byte in zip(values, planes[at:at + rows])]
    if c.get(3, 0) or c.get(4, 0):
        values = [zigzag(v) for v in values]
    if c.get(4, 0):
        last = {}
        for i, slot in enumerate(slots(table, c[4], c.get(7, 0))):
            three = last.get(slot)
            values[i] = signed(values[i] + (sorted(three)[1] if three else 0))
            last[slot] = [values[i]] + three[:2] if three else [values[i]] * 3
    for i in range(rows):
        values[i] = signed(values[i] + (values[i - 1] if c.get(3, 0) and i else base))
    return values


def durations(table):  # of kernels, of calls
    if not table.get(28):
        return [d << table.get(26, 0) if d > 0 else d for d in column(table, 3)]
    at, result = 0, []
    for gap, start_error, length, end_error in zip(*(column(table, n) for n in (4, 29, 3, 30))):
        at += gap * table[28]
        start = (at >> 24) + start_error
        at += (start_error << 22) + length * table[28]
        result.append((at >> 24) + end_error - start)
        at += end_error << 22
    return result


def main(path):
    data = open(path, "rb").read()
    if data[:8] != b"\x89WSCOP\r\n" or data[8:10] != b"\x01\x00":
        sys.exit(f"{path}: not a .wscope file of format 1")
    counts, busy, called, at = {}, 0, 0, 16
    while data[at:at + 8] == b"\xf5WSF\x9e\x37\x79\xb1" and at + 56 <= len(data):
        kind, flags, process, stored, raw = struct.unpack_from("<BB6xIII", data, at + 8)
        payload, at = data[at + 56:at + 56 + stored], at + 56 + stored
        if kind != 3 or len(payload) < stored:
            continue
        if flags:
            payload = zstandard.ZstdDecompressor().decompress(payload, max_output_size=raw)
        tables = {n: message(t) for n, t in message(payload).items() if n in KINDS}
        for number, table in tables.items():
            of_process = counts.setdefault(str(process), {})
            of_process[KINDS[number]] = of_process.get(KINDS[number], 0) + table[1]
        if 1 in tables:
            busy += sum(d for d in durations(tables[1]) if d > 0)
        if 5 in tables:
            called += sum(d for d in durations(tables[5]) if d > 0)
    print(json.dumps({"counts": counts, "kernel_ns": busy, "call_ns": called, "closed": data[at:at + 8] == b"\xf5WSEND\r\n"}))


main(sys.argv[1])
