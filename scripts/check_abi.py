#!/usr/bin/env python3
"""Checks cupti/include/ws_cupti.h against NVIDIA's own headers of one CUPTI version.

    check_abi.py CC INCLUDE_DIR...

Writes a C file of static assertions and lets the compiler CC judge it: every field of every prefix
must lie where the newest version of the record in these headers has it, with the same size; every
parameter block must match the calls that its comment names; every number must be NVIDIA's.
Prints how much was compared. Nothing is run, nothing of NVIDIA's is copied.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = ROOT / "cupti/include/ws_cupti.h"

# Fields that NVIDIA names differently, and the types that are no call's parameters.
NAMED = {
    "cu_allocation_prop": (
        "CUmemAllocationProp",
        {
            "handle_types": "requestedHandleTypes",
            "location_type": "location.type",
            "location_id": "location.id",
        },
    ),
    "cu_array_desc": (
        "CUDA_ARRAY_DESCRIPTOR",
        {"width": "Width", "height": "Height", "format": "Format", "channels": "NumChannels"},
    ),
    "cu_array3d_desc": (
        "CUDA_ARRAY3D_DESCRIPTOR",
        {
            "width": "Width",
            "height": "Height",
            "depth": "Depth",
            "format": "Format",
            "channels": "NumChannels",
            "flags": "Flags",
        },
    ),
}

RENAMED = {"cupti_resource_data": {"stream": "resourceHandle.stream"}}

# Our number = NVIDIA's. A name that these headers do not have yet is left out, and counted.
NUMBERS = {
    "CUPTI_OK": "CUPTI_SUCCESS",
    "CUPTI_MULTIPLE_SUBSCRIBERS": "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED",
    "CUPTI_INSUFFICIENT_PRIVILEGES": "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES",
    "CUDA_OOM": "CUDA_ERROR_OUT_OF_MEMORY",
    "CUPTI_DOMAIN_DRIVER": "CUPTI_CB_DOMAIN_DRIVER_API",
    "CUPTI_DOMAIN_RUNTIME": "CUPTI_CB_DOMAIN_RUNTIME_API",
    "CUPTI_DOMAIN_RESOURCE": "CUPTI_CB_DOMAIN_RESOURCE",
    "CUPTI_ENTER": "CUPTI_API_ENTER",
    "CUPTI_EXIT": "CUPTI_API_EXIT",
    "CUPTI_CONTEXT_CREATED": "CUPTI_CBID_RESOURCE_CONTEXT_CREATED",
    "CUPTI_CONTEXT_DESTROYING": "CUPTI_CBID_RESOURCE_CONTEXT_DESTROY_STARTING",
    "CUPTI_MODULE_LOADED": "CUPTI_CBID_RESOURCE_MODULE_LOADED",
    "CUPTI_MODULE_UNLOADING": "CUPTI_CBID_RESOURCE_MODULE_UNLOAD_STARTING",
    "CUPTI_FLUSH_FORCED": "CUPTI_ACTIVITY_FLAG_FLUSH_FORCED",
    "CUPTI_ATTR_DEVICE_BUFFER_SIZE": "CUPTI_ACTIVITY_ATTR_DEVICE_BUFFER_SIZE",
    "CUPTI_ATTR_DEVICE_BUFFERS_MOST": "CUPTI_ACTIVITY_ATTR_DEVICE_BUFFER_POOL_LIMIT",
    "CUPTI_THREAD_ID_SYSTEM": "CUPTI_ACTIVITY_THREAD_ID_TYPE_SYSTEM",
    "CUPTI_OBJECT_PROCESS": "CUPTI_ACTIVITY_OBJECT_PROCESS",
    "CUPTI_OBJECT_THREAD": "CUPTI_ACTIVITY_OBJECT_THREAD",
    "CUPTI_MARKER_INSTANT": "CUPTI_ACTIVITY_FLAG_MARKER_INSTANTANEOUS",
    "CUPTI_MARKER_START": "CUPTI_ACTIVITY_FLAG_MARKER_START",
    "CUPTI_MARKER_END": "CUPTI_ACTIVITY_FLAG_MARKER_END",
    "CUPTI_FLAG_MEMCPY_ASYNC": "CUPTI_ACTIVITY_FLAG_MEMCPY_ASYNC",
    "CUPTI_VALUE_DOUBLE": "CUPTI_METRIC_VALUE_KIND_DOUBLE",
    "CUPTI_VALUE_UINT64": "CUPTI_METRIC_VALUE_KIND_UINT64",
    "CUPTI_VALUE_INT64": "CUPTI_METRIC_VALUE_KIND_INT64",
    "WS_COPY_HTOD": "CUPTI_ACTIVITY_MEMCPY_KIND_HTOD",
    "WS_COPY_DTOH": "CUPTI_ACTIVITY_MEMCPY_KIND_DTOH",
    "WS_COPY_HTOA": "CUPTI_ACTIVITY_MEMCPY_KIND_HTOA",
    "WS_COPY_ATOH": "CUPTI_ACTIVITY_MEMCPY_KIND_ATOH",
    "WS_COPY_ATOA": "CUPTI_ACTIVITY_MEMCPY_KIND_ATOA",
    "WS_COPY_ATOD": "CUPTI_ACTIVITY_MEMCPY_KIND_ATOD",
    "WS_COPY_DTOA": "CUPTI_ACTIVITY_MEMCPY_KIND_DTOA",
    "WS_COPY_DTOD": "CUPTI_ACTIVITY_MEMCPY_KIND_DTOD",
    "WS_COPY_HTOH": "CUPTI_ACTIVITY_MEMCPY_KIND_HTOH",
    "WS_COPY_PTOP": "CUPTI_ACTIVITY_MEMCPY_KIND_PTOP",
    "WS_MEM_PAGEABLE": "CUPTI_ACTIVITY_MEMORY_KIND_PAGEABLE",
    "WS_MEM_PINNED": "CUPTI_ACTIVITY_MEMORY_KIND_PINNED",
    "WS_MEM_DEVICE": "CUPTI_ACTIVITY_MEMORY_KIND_DEVICE",
    "WS_MEM_ARRAY": "CUPTI_ACTIVITY_MEMORY_KIND_ARRAY",
    "WS_MEM_MANAGED": "CUPTI_ACTIVITY_MEMORY_KIND_MANAGED",
    "WS_MEM_DEVICE_STATIC": "CUPTI_ACTIVITY_MEMORY_KIND_DEVICE_STATIC",
    "WS_MEM_MANAGED_STATIC": "CUPTI_ACTIVITY_MEMORY_KIND_MANAGED_STATIC",
    "WS_SYNC_EVENT": "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_EVENT_SYNCHRONIZE",
    "WS_SYNC_STREAM_WAIT": "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_WAIT_EVENT",
    "WS_SYNC_STREAM": "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_SYNCHRONIZE",
    "WS_SYNC_CONTEXT": "CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_CONTEXT_SYNCHRONIZE",
}


class Mismatch(Exception):
    """Something of ours has no counterpart in the headers."""


def our_structs(text):
    """Yields (name, comment, fields) of every structure in ws_cupti.h."""
    pattern = re.compile(
        r"(?:/\*(?P<before>(?:(?!\*/).)*)\*/\s*)?struct\s+(?:CUPTI_PACKED\s+)?(?P<name>\w+)\s*\{"
        r"(?:[ \t]*/\*(?P<after>(?:(?!\*/).)*)\*/)?(?P<body>[^}]*)\};",
        re.S,
    )
    for match in pattern.finditer(text):
        body = re.sub(r"/\*.*?\*/", "", match["body"], flags=re.S)
        fields = []
        for declaration in body.split(";"):
            for part in declaration.split(","):
                found = re.search(r"(\w+)\s*(?:\[\w+\])?\s*$", part.strip())
                # A function pointer, or the empty rest behind the last semicolon, is no field.
                if found and part.strip():
                    fields.append(found[1])
        yield match["name"], (match["after"] or match["before"] or "").strip(), fields


def newest(headers, base):
    """The newest version of a record type: CUPTI always fills that one."""
    numbers = [int(n or 1) for n in re.findall(r"\}\s*" + base + r"(\d*);", headers)]
    if not numbers:
        raise Mismatch(f"no {base} in these headers")
    number = max(numbers)
    return base if number == 1 else f"{base}{number}"


def parameters(headers, call):
    """The parameter names of a driver call, in order."""
    found = re.search(r"struct " + call + r"_params_st \{(.*?)\}", headers, re.S)
    if not found:
        return None
    return [re.search(r"(\w+)\s*$", p.strip())[1] for p in found[1].split(";") if p.strip()]


def assertion(ours, our_field, theirs, their_field):
    place = f"{ours}.{our_field} and {theirs}.{their_field}"
    return [
        f'_Static_assert(offsetof(struct {ours}, {our_field}) == offsetof({theirs}, {their_field}), "{place}: offset");',
        f"_Static_assert(sizeof(((struct {ours} *)0)->{our_field}) == sizeof((({theirs} *)0)->{their_field}),"
        f' "{place}: size");',
    ]


def generate(ours, headers):
    """Returns the C program, the number of fields and numbers compared, and what these headers lack."""
    lines, fields_compared, missing, problems = [], 0, [], []
    for name, comment, fields in our_structs(ours):
        records = re.findall(r"CUpti_\w+", comment)
        if name in NAMED:
            their_type, renamed = NAMED[name]
            for field in fields:
                lines += assertion(name, field, their_type, renamed.get(field, field))
                fields_compared += 1
        elif records:
            try:
                their_type = newest(headers, re.sub(r"\d+$", "", records[0]))
            except Mismatch as problem:
                problems.append(str(problem))
                continue
            for field in fields:
                lines += assertion(name, field, their_type, RENAMED.get(name, {}).get(field, field))
                fields_compared += 1
        elif name.startswith("cu_"):
            calls = re.findall(r"\bcu[A-Z]\w+", comment)
            found_any = False
            for call in calls:
                theirs = parameters(headers, call)
                if theirs is None:
                    missing.append(call)
                    continue
                found_any = True
                if len(theirs) < len(fields):
                    problems.append(f"{call} has {len(theirs)} parameters, struct {name} {len(fields)}")
                    continue
                for field, their_field in zip(fields, theirs):
                    lines += assertion(name, field, f"{call}_params", their_field)
                    fields_compared += 1
            if not found_any:
                problems.append(f"struct {name}: none of its calls ({comment}) is in these headers")
        elif fields != ["kind"]:
            problems.append(f"struct {name}: its comment names no type of NVIDIA's")
    numbers = dict(NUMBERS)
    for kind in re.findall(r"\bCUPTI_KIND_(\w+)", ours):
        numbers[f"CUPTI_KIND_{kind}"] = f"CUPTI_ACTIVITY_KIND_{kind}"
    for our_name, their_name in numbers.items():
        if not re.search(r"\b" + their_name + r"\b", headers):
            missing.append(their_name)
            continue
        lines.append(f'_Static_assert((long long){our_name} == (long long){their_name}, "{our_name}");')
    for constant, field in (("CU_NODE_ALLOC_BYTES", "bytesize"), ("CU_NODE_ALLOC_ADDRESS", "dptr")):
        lines.append(
            f'_Static_assert({constant} == offsetof(CUDA_MEM_ALLOC_NODE_PARAMS, {field}), "{constant}");'
        )
    program = [
        "#include <cuda.h>",
        "#include <cupti.h>",
        "#include <stddef.h>",
        '#include "ws_abi.h"',
        '#include "ws_cupti.h"',
        *lines,
    ]
    return "\n".join(program) + "\n", fields_compared, len(numbers) + 2 - len(missing), missing, problems


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    compiler, folders = sys.argv[1], [pathlib.Path(p) for p in sys.argv[2:]]
    headers = ""
    for folder in folders:
        for path in sorted(folder.glob("*.h")):
            if path.name.startswith(("cu", "generated_cuda")):
                headers += path.read_text(encoding="utf-8", errors="replace")
    program, fields, numbers, missing, problems = generate(HEADER.read_text(encoding="utf-8"), headers)
    command = [compiler, "-std=c11", "-fsyntax-only", "-w", "-x", "c", "-I", str(HEADER.parent)]
    for folder in folders:
        command += ["-isystem", str(folder)]
    done = subprocess.run([*command, "-"], input=program, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        problems += [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
    for problem in problems[:20]:
        print("  " + problem)
    print(f"  {fields} fields, {numbers} numbers compared; not in these headers: {', '.join(missing) or 'nothing'}")
    return 1 if problems or fields == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
