#!/usr/bin/env bash
# Loads the capture library in an old userland (Debian 11, glibc 2.31) and records there: a Python
# program of that system uses the simulated device under LD_PRELOAD alone, and the capture file it leaves is
# recovered and inspected here. Needs root (debootstrap, chroot); exits 77 where it cannot run.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=scripts/tools.sh
. scripts/tools.sh

if [ "$(id -u)" -ne 0 ]; then
  echo "the old userland needs root (debootstrap, chroot)"
  exit 77
fi
old=$tools/$OLD_DEBIAN
if [ ! -e "$old/stamp" ]; then
  debian_package debootstrap || exit 1
  # The mirror that this system already uses.
  mirror=$(grep -rhoE '^(deb|URIs:) .*' /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null |
    grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1)
  rm -rf "$old"
  # shellcheck disable=SC2086 # no mirror: debootstrap's own default
  debootstrap --variant=minbase --include=python3 "$OLD_DEBIAN" "$old" ${mirror:-} >"$tools/debootstrap.log" 2>&1 || {
    tail -n 5 "$tools/debootstrap.log"
    exit 1
  }
  touch "$old/stamp"
fi

here=$old/warpscope
rm -rf "$here"
mkdir -p "$here/capture"
cp bin/libwarpscope.so "$here/"
cp -L bin/sim/* "$here/"
cat >"$here/program.py" <<'PYTHON'
import ctypes, platform, sys

print("glibc", platform.libc_ver()[1], "python", platform.python_version())
# Every symbol bound now, or an error: the library names nothing that this system lacks.
library = ctypes.CDLL("/warpscope/libwarpscope.so", mode=2)  # RTLD_NOW
cuda = ctypes.CDLL("libcuda.so.1")


def call(name, *args):
    result = getattr(cuda, name)(*args)
    if result:
        sys.exit(f"{name} returned {result}")


context, address = ctypes.c_void_p(), ctypes.c_uint64()
call("cuInit", 0)
call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
call("cuCtxSetCurrent", context)
for i in range(10):
    call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(1 << 20))
    if i % 2:
        call("cuMemFree_v2", address)
call("cuCtxSynchronize")
PYTHON
mount -t proc proc "$old/proc" 2>/dev/null
chroot "$old" /usr/bin/env LD_PRELOAD=/warpscope/libwarpscope.so LD_LIBRARY_PATH=/warpscope WARPSCOPE_DIR=/warpscope/capture \
  python3 /warpscope/program.py 2>"$here/stderr"
rc=$?
umount "$old/proc" 2>/dev/null
cat "$here/stderr"
if [ $rc -ne 0 ]; then
  echo "the program ended with status $rc"
  exit 1
fi
if grep -q 'cannot be preloaded' "$here/stderr"; then
  exit 1
fi
bin/warpscope recover -o "$here/trace.wscope" "$here"/capture/*.wscap || exit 1
bin/warpscope inspect --json --memory "$here/trace.wscope" >"$here/trace.json" || exit 1
python_venv || exit 1
"$venv/bin/python" - "$here/trace.json" <<'PYTHON'
import json, sys

with open(sys.argv[1], encoding="utf-8") as file:
    trace = json.load(file)
totals = [t for p in trace["memory"]["processes"] for t in p["totals"] if t["kind"] == "device"]
got = sum(t["allocations"] for t in totals), sum(t["releases"] for t in totals), sum(t["live_bytes"] for t in totals)
print("allocations, releases, live bytes:", got)
sys.exit(got != (10, 5, 5 << 20) or not trace["simulated"])
PYTHON
