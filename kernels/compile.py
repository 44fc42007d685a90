#!/usr/bin/env python3
"""Compiles one .cu file with NVRTC to cubins and PTX and writes the manifest beside them.

Usage: compile.py NVRTC_LIBRARY SOURCE.cu OUTPUT_FOLDER
NVRTC is the compiler of nvcc's device side as a library; NVIDIA's Python wheels carry it whole,
unlike nvcc. Only build.sh calls this.
"""
import ctypes
import hashlib
import json
import pathlib
import sys

# sm_XX gives machine code, compute_XX gives PTX for every newer GPU.
TARGETS = {"sm_80": "cubin", "sm_90": "cubin", "compute_80": "ptx"}
FLAGS = ["--std=c++17", "--fmad=true"]


def check(nvrtc, rc, what):
    if rc != 0:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        sys.exit(f"{what}: {nvrtc.nvrtcGetErrorString(rc).decode()}")


def compile_target(nvrtc, source, name, target, kind):
    program = ctypes.c_void_p()
    check(nvrtc, nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 0, None, None), "create program")
    options = [f"--gpu-architecture={target}", *FLAGS]
    array = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    rc = nvrtc.nvrtcCompileProgram(program, len(options), array)
    if rc != 0:
        size = ctypes.c_size_t()
        nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        nvrtc.nvrtcGetProgramLog(program, log)
        sys.exit(f"{name} for {target}:\n{log.value.decode()}")
    get = ("CUBIN", nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN) if kind == "cubin" else ("PTX", nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
    size = ctypes.c_size_t()
    check(nvrtc, get[1](program, ctypes.byref(size)), "size of " + get[0])
    image = ctypes.create_string_buffer(size.value)
    check(nvrtc, get[2](program, image), get[0])
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return image.raw


def main():
    library, source_path, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    nvrtc = ctypes.CDLL(library)
    major, minor = ctypes.c_int(), ctypes.c_int()
    check(nvrtc, nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)), "version")
    source = source_path.read_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for target, kind in TARGETS.items():
        image = compile_target(nvrtc, source, source_path.name, target, kind)
        file = f"{source_path.stem}.{target}.{kind}"
        (folder / file).write_bytes(image)
        images.append({"file": file, "target": target, "kind": kind, "sha256": hashlib.sha256(image).hexdigest()})
    manifest = {
        "source": source_path.name,
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "compiler": f"NVRTC {major.value}.{minor.value}",
        "flags": FLAGS,
        "images": images,
    }
    (folder / f"{source_path.stem}.json").write_text(json.dumps(manifest, indent=2) + "\n")


main()
