#!/usr/bin/env bash
# Writes all generated files anew; with --check it changes nothing and fails if one is stale.
# protoc comes from a pinned Python package into a private environment.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=scripts/tools.sh
. scripts/tools.sh

status=0
WARPSCOPE_PROTOC_VENV=${WARPSCOPE_PROTOC_VENV:-$tools/protoc} proto/generate.sh "$@" || status=1
cupti/abi/generate.sh "$@" || status=1
exit $status
