#!/bin/sh
# Regenerates the Go code of the schema with pinned tools. "generate.sh --check" changes nothing
# and fails if the committed code is not what the schema generates.
#
# protoc comes from the Python package grpcio-tools, installed into a private environment
# (WARPSCOPE_PROTOC_VENV to keep and reuse one); protoc-gen-go is the version that go.mod names.
set -eu

GRPCIO_TOOLS=1.85.1 # brings protoc
PROTOBUF=7.36.2     # what it imports

cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
venv=${WARPSCOPE_PROTOC_VENV:-$work/venv}
stamp="$venv/grpcio-tools-$GRPCIO_TOOLS-protobuf-$PROTOBUF"
if [ ! -e "$stamp" ]; then
	"${PYTHON:-python3}" -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check \
		"grpcio-tools==$GRPCIO_TOOLS" "protobuf==$PROTOBUF"
	: >"$stamp"
fi

# protoc wants an executable; `go tool` finds the pinned one, wherever it is cached.
printf '#!/bin/sh\nexec go tool protoc-gen-go "$@"\n' >"$work/protoc-gen-go"
chmod +x "$work/protoc-gen-go"
mkdir "$work/out"
"$venv/bin/python" -m grpc_tools.protoc --proto_path=proto --plugin=protoc-gen-go="$work/protoc-gen-go" \
	--go_out="$work/out" --go_opt=paths=source_relative warpscope/trace/v1/trace.proto

generated=warpscope/trace/v1/trace.pb.go
if [ "${1:-}" = --check ]; then
	if ! cmp -s "$work/out/$generated" "proto/$generated"; then
		echo "proto/$generated is not what proto/warpscope/trace/v1/trace.proto generates: run proto/generate.sh" >&2
		exit 1
	fi
else
	cp "$work/out/$generated" "proto/$generated"
fi
