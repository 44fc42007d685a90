#!/usr/bin/env bash
# count.sh FILE...: adds up result files (lines "pass NAME", "fail NAME", "skip NAME: REASON"),
# lists failures and skips, and ends with "N passed, N failed[, N skipped]". A file that is missing
# counts as a failure: whatever should have written it did not get that far.
set -u

files=()
missing=0
for file in "$@"; do
  if [ -f "$file" ]; then
    files+=("$file")
  else
    echo "no results in $file: its run did not start or broke off" >&2
    missing=$((missing + 1))
  fi
done
if [ ${#files[@]} -eq 0 ]; then
  files=(/dev/null)
fi

grep -h '^skip ' "${files[@]}" | sed 's/^skip /skipped: /'
grep -h '^fail ' "${files[@]}" | sed 's/^fail /FAILED: /'
awk -v fail="$missing" '
  $1 == "pass" {pass++}
  $1 == "fail" {fail++}
  $1 == "skip" {skip++}
  END {
    printf "%d passed, %d failed", pass, fail
    if (skip) printf ", %d skipped", skip
    printf "\n"
    exit fail > 0 || pass == 0
  }' "${files[@]}"
