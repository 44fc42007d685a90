#!/usr/bin/env bash
# Collects in dist/gpu everything that scripts/gpu-test.sh needs on a machine with a GPU but without Go
# and network: the agent, the library, test binaries with their data, the comparison of counts,
# and the workloads. Called by `make gpu-bundle`.
set -eu
cd "$(dirname "$0")/.."

bundle=dist/gpu
rm -rf "$bundle"
mkdir -p "$bundle/bin" "$bundle/scripts"
cp bin/warpscope bin/libwarpscope.so "$bundle/bin/"
scripts/overhead.sh --build
cp -r bin/overhead "$bundle/bin/"
CGO_ENABLED=0 go build -trimpath -o "$bundle/bin/counts" ./internal/counts/cmd/counts

# Test binaries run in a copy of their package's folder, for their testdata.
for package in cuda cupti kernels agent/demo; do
  mkdir -p "$bundle/$package"
  go test -trimpath -c -o "$bundle/$package/$(basename $package).test" "./$package"
  if [ -d "$package/testdata" ]; then
    cp -r "$package/testdata" "$bundle/$package/"
  fi
done

cp -r scripts/workloads scripts/gpu-test.sh scripts/gpu scripts/record-fixtures.sh scripts/overhead.sh scripts/overhead \
  scripts/scenarios.sh scripts/scenarios \
  "$bundle/scripts/"
mkdir -p "$bundle/scripts/programs" # of the end-to-end tests: they know nothing of the device that they run on
cp internal/e2e/testdata/{share,graphs}.c internal/e2e/testdata/program.h cupti/include/warpscope.h "$bundle/scripts/programs/"
rm -rf "$bundle"/scripts/*/__pycache__
git describe --tags --always --dirty >"$bundle/VERSION" 2>/dev/null || echo unknown >"$bundle/VERSION"
du -sh "$bundle"
