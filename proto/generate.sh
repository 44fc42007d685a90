#!/bin/sh
# Regenerates the Go code of the schema with pinned tools.
#
#   generate.sh          writes warpscope/trace/v1/trace.pb.go
#   generate.sh --check  changes nothing, fails if that file is not what the schema generates
#
# protoc comes from a Python package, pinned in requirements.txt and installed into a private
# environment: a temporary one, or that at WARPSCOPE_PROTOC_VENV, which is kept.
# protoc-gen-go is the version that go.mod names.
set -eu

cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${WARPSCOPE_PROTOC_VENV:-$work/venv}
if ! cmp -s proto/requirements.txt "$venv/installed"; then
	"${PYTHON:-python3}" -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement proto/requirements.txt
	cp proto/requirements.txt "$venv/installed"
fi

# protoc wants an executable; `go tool` finds the pinned one, wherever it is cached.
printf '#!/bin/sh\nexec go tool protoc-gen-go "$@"\n' >"$work/protoc-gen-go"
chmod +x "$work/protoc-gen-go"
mkdir "$work/out"
"$venv/bin/python" -m grpc_tools.protoc --proto_path=proto --plugin=protoc-gen-go="$work/protoc-gen-go" \
	--go_out="$work/out" --go_opt=paths=source_relative warpscope/trace/v1/trace.proto

generated=warpscope/trace/v1/trace.pb.go
if [ "${1:-}" != --check ]; then
	cp "$work/out/$generated" "proto/$generated"
elif ! cmp -s "$work/out/$generated" "proto/$generated"; then
	echo "proto/$generated is not what trace.proto generates: run proto/generate.sh" >&2
	exit 1
fi
