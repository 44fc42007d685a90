# tools.sh: sourced by the checks. Functions that make one pinned tool available each, in a private
# place (.tools/, .venv/), and return non-zero when it cannot be had.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
venv=$root/.venv
# shellcheck source=scripts/versions.env
. "$root/scripts/versions.env"
export PATH="$tools/bin:$venv/bin:$PATH"

# go_tool MODULE/CMD VERSION: installs into .tools/bin unless that version is there.
go_tool() {
  local stamp
  stamp=$tools/$(basename "$1")-$2
  [ -e "$stamp" ] && return 0
  mkdir -p "$tools/bin"
  GOBIN=$tools/bin GOFLAGS='' go install "$1@$2" && touch "$stamp"
}

# python_venv: the private Python environment, created when it is not there.
python_venv() {
  [ -x "$venv/bin/python" ] && return 0
  python3 -m venv "$venv" 2>/dev/null && return 0
  debian_package python3-venv && python3 -m venv "$venv"
}

# python_package NAME==VERSION...: into the private environment.
python_package() {
  python_venv || return 1
  local stamp
  stamp=$venv/stamp-$(tr '/ ' '__' <<<"$*")
  [ -e "$stamp" ] && return 0
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: "$@" && touch "$stamp"
}

# python_wheel DIR NAME==VERSION: unpacks a wheel into DIR without installing it.
python_wheel() {
  [ -e "$1/stamp" ] && return 0
  python_venv || return 1
  mkdir -p "$1" &&
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
      --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux_2_25_x86_64 \
      --platform manylinux_2_28_x86_64 -d "$1" "$2" &&
    "$venv/bin/python" -m zipfile -e "$1"/*.whl "$1" && rm -f "$1"/*.whl && touch "$1/stamp"
}

# debian_package NAME...: installs Debian packages, where we may.
debian_package() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing, and not installable here (needs root and apt-get): ${missing[*]}" >&2
    return 1
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null 2>&1 && return 0
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
}
