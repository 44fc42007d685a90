#!/usr/bin/env python3
"""Compiles one .cu file to machine code and PTX and writes the manifest beside them.

Usage: compile.py NVRTC_LIBRARY PTXAS SOURCE.cu OUTPUT_FOLDER [DEFINE...]
NVRTC is nvcc's front end as a library, ptxas its assembler; NVIDIA's Python wheels of CUDA 12 carry these two, and no nvcc. What ptxas says of
registers, spills and shared memory goes into the manifest; its warnings, and spills, fail.
Only build.sh and the tuning scripts call this.
"""
import ctypes
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

# sm_XX is machine code, compute_XX is PTX for every newer GPU. sm_90a runs on compute capability 9.0 alone.
TARGETS = ["sm_80", "sm_86", "sm_89", "sm_90a", "compute_80"]
FLAGS = ["--std=c++17"]
# A driver refuses PTX that says it is newer than the driver's own. It is text for GPUs of tomorrow with the instructions of sm_80, so it may say
# CUDA 12.0's version instead of the compiler's: ptxas refuses what needs a newer one.
PTX_VERSION = "8.0"


def check(nvrtc, rc, what):
    if rc != 0:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        sys.exit(f"{what}: {nvrtc.nvrtcGetErrorString(rc).decode()}")


def to_ptx(nvrtc, source, target, defines):
    """The PTX of a source file for an architecture; anything the compiler says is an error."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    check(nvrtc, nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), source.name.encode(), 0, None, None), "create program")
    options = ["--gpu-architecture=" + target.replace("sm_", "compute_"), "-I" + str(source.parent.resolve()), *FLAGS, *defines]
    rc = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*(o.encode() for o in options)))
    check(nvrtc, nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)), "size of log")
    log = ctypes.create_string_buffer(size.value)
    check(nvrtc, nvrtc.nvrtcGetProgramLog(program, log), "log")
    if rc != 0 or log.value.strip():
        sys.exit(f"{source.name} for {target}:\n{log.value.decode()}")
    check(nvrtc, nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)), "size of PTX")
    ptx = ctypes.create_string_buffer(size.value)
    check(nvrtc, nvrtc.nvrtcGetPTX(program, ptx), "PTX")
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return ptx.raw


def assemble(ptxas, ptx, source, target):
    """Machine code, and what each kernel takes."""
    with tempfile.TemporaryDirectory() as folder:
        text, image = pathlib.Path(folder, "kernel.ptx"), pathlib.Path(folder, "kernel.cubin")
        text.write_bytes(ptx.rstrip(b"\0"))
        done = subprocess.run([ptxas, "-v", "-arch=" + target, "-o", image, text], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode != 0:
            sys.exit(f"{source.name} for {target}:\n{said}")
        return image.read_bytes(), resources(said, source, target)


def resources(said, source, target):
    kernels, bad, name, stack = [], [], None, None
    for line in said.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            name = found[1]
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack = [int(v) for v in found.groups()]
        elif found := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            kernels.append({"name": name, "registers": int(found[1]), "shared": int(shared[1]) if shared else 0, "spills": stack[1] + stack[2]})
            if stack[1] + stack[2]:
                bad.append(f"{name} spills {stack[1]} and {stack[2]} bytes")
        elif re.search(r"warning|Performance Loss|ignored", line, re.IGNORECASE):
            bad.append(line)
    if bad:
        sys.exit(f"{source.name} for {target}:\n" + "\n".join(bad))
    return sorted(kernels, key=lambda k: k["name"])


def includes(source):
    """The file and what it includes, each once, in the order of their names."""
    seen, todo = set(), [source]
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += [file.parent / name for name in re.findall(r'^#include "([^"]+)"', file.read_text(), re.MULTILINE)]
    return sorted(seen)


def main():
    library, ptxas, source, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])
    nvrtc = ctypes.CDLL(library)
    major, minor = ctypes.c_int(), ctypes.c_int()
    check(nvrtc, nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "version")
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for target in TARGETS:
        image, kind, kernels = to_ptx(nvrtc, source, target, sys.argv[5:]), "ptx", []
        if target.startswith("sm_"):
            (image, kernels), kind = assemble(ptxas, image, source, target), "cubin"
        else:
            image = re.sub(rb"^\.version [0-9.]+$", b".version " + PTX_VERSION.encode(), image, count=1, flags=re.MULTILINE)
            assemble(ptxas, image, source, target.replace("compute_", "sm_"))
        file = f"{source.stem}.{target}.{kind}"
        (folder / file).write_bytes(image)
        images.append({"file": file, "target": target, "kind": kind, "sha256": hashlib.sha256(image).hexdigest(), "kernels": kernels})
    manifest = {
        "sources": [{"file": f.name, "sha256": hashlib.sha256(f.read_bytes()).hexdigest()} for f in includes(source)],
        "compiler": f"NVRTC and ptxas {major.value}.{minor.value}",
        "flags": FLAGS,
        "images": images,
    }
    (folder / f"{source.stem}.json").write_text(json.dumps(manifest, indent=1) + "\n")


main()
