#!/usr/bin/env bash
# Compares every real trace in testdata/real with the independent count beside it: NAME.wscope with
# NAME.count.json, which says where the count comes from.
set -u
cd "$(dirname "$0")/.." || exit 1

mkdir -p build
go build -o build/counts ./internal/counts/cmd/counts || exit 1
status=0
checked=0
for count in testdata/real/*.count.json; do
  if [ ! -e "$count" ]; then
    continue
  fi
  trace=${count%.count.json}.wscope
  echo "== $trace"
  if ! bin/warpscope inspect --json --kernels --copies --memory --nvtx --top 0 "$trace" >build/inspection.json; then
    status=1
    continue
  fi
  build/counts build/inspection.json "$count" || status=1
  size=$(stat -c %s "$trace")
  if [ "$size" -gt $((1 << 20)) ]; then
    echo "$trace has $size bytes, more than 1 MiB"
    status=1
  fi
  checked=$((checked + 1))
done
for trace in testdata/real/*.wscope; do
  if [ -e "$trace" ] && [ ! -e "${trace%.wscope}.count.json" ]; then
    echo "$trace has no independent count beside it"
    status=1
  fi
done
echo "$checked traces compared"
[ $checked -gt 0 ] || status=1
exit $status
