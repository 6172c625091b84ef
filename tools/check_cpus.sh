#!/bin/sh
# Runs the extension of this machine on older processors, which an emulator (qemu) plays, and its equality tests there.
#
#   tools/check_cpus.sh            # Haswell (AVX2, no AVX-512) and Nehalem (no AVX at all)
#   tools/check_cpus.sh Skylake-Client-v4
#
# PYTHON: the environment that has the package and its tests. Nothing is compiled anew: the same file, on another CPU.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-$root/.venv/bin/python}
command -v qemu-x86_64-static >/dev/null 2>&1 || {
  echo "Missing: qemu-x86_64-static. As root: apt-get update && apt-get install qemu-user-static" >&2
  exit 1
}
python=$("$PYTHON" -c "import os, sys; print(os.path.realpath(sys.executable))")
packages=$("$PYTHON" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
[ $# -gt 0 ] || set -- Haswell Nehalem
cd "$root"
for cpu in "$@"; do
  echo "== $cpu"
  emulated() { PYTHONPATH="$root/src:$packages" qemu-x86_64-static -cpu "$cpu" "$python" "$@"; }
  emulated -W ignore -c 'from spikedriven.kernels import _native; print(_native.instruction_sets())'
  # Left out, as for ARM: what limits memory or forks, which the emulator cannot.
  emulated -m pytest -p no:cacheprovider -p no:randomly -q tests/engine/test_native.py tests/neurons/test_on_cpu.py \
    -k "not system_without_more_threads and not forked_beside_pytorch"
done
