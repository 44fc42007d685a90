#!/usr/bin/env bash
# Fuzzes every target in the module for FUZZTIME each (default 20s). Corpora found on the way stay in
# Go's cache; a crasher is written to testdata/fuzz of its package.
set -u
cd "$(dirname "$0")/.." || exit 1

status=0
count=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Go sometimes calls it a failure that the time was up while an input was running ("context
# deadline exceeded" and no failing input): such a run says nothing and is made again.
fuzz() { # PACKAGE TARGET
  local try
  for try in 1 2 3; do
    go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 5x "$1" 2>&1 | tee "$log"
    if [ "${PIPESTATUS[0]}" -eq 0 ]; then return 0; fi
    if ! grep -q 'context deadline exceeded' "$log" || grep -q 'Failing input' "$log"; then return 1; fi
    echo "the time was up in the middle of an input: try $try says nothing"
  done
  return 1
}

while IFS=: read -r file target; do
  count=$((count + 1))
  echo "--- $target in $(dirname "$file")"
  fuzz "./$(dirname "$file")" "$target" || status=1
done < <(git ls-files --cached --others --exclude-standard '*_test.go' | xargs grep -oE '^func Fuzz\w+' | sed 's/func //')
echo "$count fuzz targets"
[ $count -gt 0 ] || status=1
exit $status
