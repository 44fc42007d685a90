#!/usr/bin/env bash
# Fuzzes every target in the module for FUZZTIME each (default 20s). Corpora found on the way stay in
# Go's cache; a crasher is written to testdata/fuzz of its package.
set -u
cd "$(dirname "$0")/.." || exit 1

status=0
count=0
while IFS=: read -r file target; do
  count=$((count + 1))
  echo "--- $target in $(dirname "$file")"
  go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 5x "./$(dirname "$file")" || status=1
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -oE '^func Fuzz\w+' | sed 's/func //')
echo "$count fuzz targets"
[ $count -gt 0 ] || status=1
exit $status
