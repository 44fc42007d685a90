#!/usr/bin/env bash
# build.sh [OUTPUT-FOLDER]: compiles the kernels anew into images/ (or the folder given), with the compiler that
# the committed images were made with. Needs python3 and, the first time, a package index. Run by `make kernels`.
#
# NVRTC 12.9: cubins of a 12.x compiler load on every driver since CUDA 12.0, those of 13.x do not.
set -euo pipefail
cd "$(dirname "$0")"
VERSION=12.9.86
out=${1:-images}
venv=../.venv/nvrtc-$VERSION

if ! ls "$venv"/lib/python3*/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12 >/dev/null 2>&1; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "nvidia-cuda-nvrtc-cu12==$VERSION"
fi
library=$(ls "$venv"/lib/python3*/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12)
for source in *.cu; do
  echo "compiling $source" >&2
  python3 compile.py "$library" "$source" "$out"
done
