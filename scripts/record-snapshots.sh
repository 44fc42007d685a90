#!/usr/bin/env bash
# record-snapshots.sh OUT-DIR: records the PyTorch memory snapshots of agent/exchange/testdata/torch, and beside each what
# torch's own statistics counted, on a machine with an NVIDIA GPU; about a minute. Several run at a time: each is a
# process of its own, and none needs much of the GPU. Paths in the stacks were shortened afterwards.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: record-snapshots.sh OUT-DIR}
mkdir -p "$out"
python=${PYTHON:-python3}

one() { # NAME SETTINGS WORKLOAD [LIMIT]
  if [ "$2" = - ]; then unset PYTORCH_CUDA_ALLOC_CONF; else export PYTORCH_CUDA_ALLOC_CONF=$2; fi
  timeout 60 "$python" "$here/workloads/snapshots.py" "$3" "$out" "$1" ${4:+"$4"}
}

list() {
  while read -r name settings workload limit; do
    one "$name" "$settings" "$workload" "$limit"
  done
}

list <<'LIST' &
gpt-native - gpt
gpt-expandable expandable_segments:True gpt
gpt-split128 max_split_size_mb:128 gpt
graphs-native - graphs
LIST
list <<'LIST' &
shapes-native - shapes
shapes-expandable expandable_segments:True shapes
big-native - big
big-expandable expandable_segments:True big
big-split128 max_split_size_mb:128 big
LIST
list <<'LIST' &
oom-native - limited 600
oom-expandable expandable_segments:True limited 600
oom-split128 max_split_size_mb:128 limited 600
retry-native - limited 640
retry-split20 max_split_size_mb:20 limited 600
LIST
list <<'LIST' &
streams-native - streams
streams-expandable expandable_segments:True streams
round-native roundup_power2_divisions:4 shapes
gc-native garbage_collection_threshold:0.6 limited 640
leak-native - leak
LIST
wait
