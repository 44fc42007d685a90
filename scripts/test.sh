#!/usr/bin/env bash
# What `make test` runs once everything is built: C tests, go vet, Go tests (the end-to-end tests on
# the simulated device are among them), the bundled real traces. Its last line counts them all.
set -u
cd "$(dirname "$0")/.." || exit 1

results=build/results/test
mkdir -p build/results
rm -f "$results"

scripts/test-c.sh build/plain "$results"

if go vet ./...; then
  echo "pass go vet" >>"$results"
else
  echo "fail go vet" >>"$results"
fi

if go build -o build/tally ./internal/tally; then
  # WARPSCOPE_REQUIRE: what these tests need has been built, so that they must not skip for lack of it.
  WARPSCOPE_REQUIRE=build go test -count=1 -timeout 8m -json ./... 2>&1 | build/tally "$results"
  if [ "${PIPESTATUS[1]}" -ne 0 ]; then
    echo "fail go test: its output could not be read" >>"$results"
  fi
else
  echo "fail go build ./internal/tally" >>"$results"
fi

if scripts/verify.sh >build/verify.log 2>&1; then
  echo "pass real traces against their counts" >>"$results"
else
  echo "fail real traces against their counts (build/verify.log)" >>"$results"
  tail -n 40 build/verify.log
fi

scripts/count.sh "$results"
