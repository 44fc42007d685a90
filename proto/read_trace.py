#!/usr/bin/env python3
"""Counts the events of a .wscope file by process and kind, and adds up its kernels' durations.

Written from README.md alone; needs only the package zstandard. Prints JSON.
"""
import json
import struct
import sys

import zstandard

KINDS = {1: "kernel", 2: "copy", 3: "set", 4: "sync", 5: "call", 6: "marker", 7: "graph", 8: "overhead", 9: "allocation",
         10: "context", 11: "module", 14: "pool", 15: "state", 16: "gpu_sample", 17: "usage"}


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


def column(table, number):  # the values of a column that is not chained to durations, signed
    rows, c = table[1], message(table.get(number, b""))
    planes, low, base = c.get(1, b""), c.get(5, 0) or 8, zigzag(c.get(2, 0))
    values = [0] * rows
    for p in range(len(planes) // rows):
        shift = 0 if p == 0 else low + 8 * (p - 1)
        values = [v + (byte << shift) for v, byte in zip(values, planes[p * rows:(p + 1) * rows])]
    if c.get(3, 0) or c.get(4, 0):
        values = [zigzag(v) for v in values]
    if c.get(4, 0):
        slots = {}
        for i, key in enumerate(column(table, c[4])):
            three = slots.get(key % 4096)
            values[i] = signed(values[i] + (sorted(three)[1] if three else 0))
            slots[key % 4096] = [values[i]] + three[:2] if three else [values[i]] * 3
    for i in range(rows):
        values[i] = signed(values[i] + (values[i - 1] if c.get(3, 0) and i else base))
    return values


def main(path):
    data = open(path, "rb").read()
    if data[:8] != b"\x89WSCOP\r\n" or data[8:10] != b"\x01\x00":
        sys.exit(f"{path}: not a .wscope file of format 1")
    counts, durations, at = {}, 0, 16
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
            durations += sum(d for d in column(tables[1], 3) if d > 0)
    print(json.dumps({"counts": counts, "kernel_ns": durations, "closed": data[at:at + 8] == b"\xf5WSEND\r\n"}))


main(sys.argv[1])
