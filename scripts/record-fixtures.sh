#!/usr/bin/env bash
# record-fixtures.sh OUT-DIR: records the real traces that the repository keeps, on a machine with an
# NVIDIA GPU, from an unpacked bundle: of each program a trace, and beside it the count by
# torch.profiler in a separate run, with the provenance of both. Then compares the two.
set -eu
bundle=$(cd "$(dirname "$0")/.." && pwd)
out=${1:?usage: record-fixtures.sh OUT-DIR}
mkdir -p "$out"
out=$(cd "$out" && pwd)
python=${PYTHON:-python3}
workloads=$bundle/scripts/workloads
limit=$((1 << 20))
status=0

# record NAME PROGRAM ARGUMENTS: the workload's path inside the repository is part of its command.
record() {
  local name=$1 program=$2
  shift 2
  cd "$workloads"
  "$python" counted.py "$out/$name.count.json" "$program" "$@"
  "$bundle/bin/warpscope" run --force -o "$out/$name.wscope" -- "$python" "$program" "$@"
  "$bundle/bin/warpscope" inspect --json --kernels --copies --memory --nvtx --top 0 "$out/$name.wscope" >"$out/.inspection.json"
  "$bundle/bin/counts" "$out/.inspection.json" "$out/$name.count.json" || status=1
  "$python" - "$out/$name.count.json" "$name" "$program" "$@" <<'PYTHON'
import json, subprocess, sys

path, name, *command = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    count = json.load(file)
query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
gpu, driver = [part.strip() for part in subprocess.check_output(query, text=True).splitlines()[0].split(",")]
count["trace"] = {
    "file": f"{name}.wscope",
    "command": "warpscope run -o {}.wscope -- python3 {}".format(name, " ".join(command)),
    "gpu": gpu,
    "driver": driver,
}
with open(path, "w", encoding="utf-8") as file:
    json.dump(count, file, indent=1)
    file.write("\n")
PYTHON
  local size
  size=$(stat -c %s "$out/$name.wscope")
  echo "$name: $size bytes"
  if [ "$size" -gt $limit ]; then
    echo "$name.wscope is larger than 1 MiB" >&2
    status=1
  fi
}

record gpt-train train_gpt.py gpu 10 --warmup 2 --nvtx
record generate generate.py 64
rm -f "$out/.inspection.json"
exit $status
