#!/usr/bin/env bash
# Compares cupti/include/ws_cupti.h with NVIDIA's headers of every CUPTI version in versions.env.
# The headers come from NVIDIA's Python packages and stay in .tools/.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=scripts/tools.sh
. scripts/tools.sh

crt=$tools/wheels/${CUDA_CRT//==/-}
python_wheel "$crt" "$CUDA_CRT" || exit 1

status=0
checked=0
while read -r cupti runtime; do
  if [ -z "$cupti" ]; then
    continue
  fi
  echo "$cupti"
  folders=()
  for package in "$cupti" "$runtime"; do
    folder=$tools/wheels/${package//==/-}
    if ! python_wheel "$folder" "$package"; then
      echo "  $package cannot be had" >&2
      status=1
      continue 2
    fi
    folders+=("$folder"/nvidia/*/include)
  done
  "$venv/bin/python" scripts/check_abi.py "${CC:-gcc}" "${folders[@]}" "$crt"/nvidia/*/include || status=1
  checked=$((checked + 1))
done <<<"$CUPTI_HEADERS"
echo "$checked CUPTI versions compared"
[ $checked -gt 0 ] && exit $status
exit 1
