#!/usr/bin/env bash
# Formats Go and C sources with the tools that `make check` compares with.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=scripts/tools.sh
. scripts/tools.sh

git ls-files --cached --others --exclude-standard '*.go' | grep -v '\.pb\.go$' | xargs gofmt -w
python_package "clang-format==$CLANG_FORMAT"
git ls-files --cached --others --exclude-standard 'cupti/*.c' 'cupti/*.h' 'scripts/*.c' | xargs clang-format -i
