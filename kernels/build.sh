#!/usr/bin/env bash
# build.sh [OUTPUT-FOLDER]: compiles the kernels anew into images/ (or the folder given), with the compiler that
# the committed images were made with. Needs python3 and, the first time, a package index. Run by `make kernels`.
#
# The compiler is NVRTC and ptxas of one CUDA version (scripts/versions.env); why, and why 12.9, says
# docs/adr/0012-kernel-compiler.md.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/tools.sh
. ../scripts/tools.sh
out=${1:-images}

nvrtc=$tools/wheels/nvidia-cuda-nvrtc-cu12-$KERNEL_COMPILER
nvcc=$tools/wheels/nvidia-cuda-nvcc-cu12-$KERNEL_COMPILER
python_wheel "$nvrtc" "nvidia-cuda-nvrtc-cu12==$KERNEL_COMPILER"
python_wheel "$nvcc" "nvidia-cuda-nvcc-cu12==$KERNEL_COMPILER"
ptxas=$nvcc/nvidia/cuda_nvcc/bin/ptxas
chmod +x "$ptxas"

for source in *.cu; do
  echo "compiling $source" >&2
  "$venv/bin/python" compile.py "$nvrtc/nvidia/cuda_nvrtc/lib/libnvrtc.so.12" "$ptxas" "$source" "$out"
done
