#!/bin/sh
# Cross-compiles the extension for 64-bit ARM and runs its equality tests in an emulator (qemu).
#
#   tools/check_aarch64.sh             # build, then the tests named below
#   tools/check_aarch64.sh -k scales   # build, then: pytest ARGUMENTS in the emulator
#
# For Debian 12, whose Python 3.11, PyTorch for ARM and so on it fetches with apt and pip into
# build/aarch64 (about 1 GB); no right to install is needed but for the packages it names if they
# are missing. PYTHON: a Python here with pip. WORK: another folder than build/aarch64.
# The source tree stays as it is: all is built in a copy.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-python3}
WORK=${WORK:-$root/build/aarch64}
# The oldest PyTorch that pyproject.toml allows; its wheel for ARM needs no CUDA libraries.
TORCH="torch==2.9.1 torchvision==0.24.1"

missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
need qemu-aarch64-static qemu-user-static
need cmake cmake
need ninja ninja-build
"$PYTHON" -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
if [ -n "$missing" ]; then
  echo "Missing:$missing. As root: apt-get update && apt-get install$missing" >&2
  exit 1
fi
mkdir -p "$WORK/home"
WORK=$(cd "$WORK" && pwd)
case $WORK in *[[:space:]]*) echo "No blanks in the path, please: $WORK" >&2; exit 1 ;; esac

# Python for ARM: apt finds the packages it needs, as if nothing were installed, in lists of its
# own. So this machine's list of architectures does not change.
sysroot=$WORK/sysroot
if [ ! -e "$WORK/sysroot.done" ]; then
  echo "== Python 3.11 for ARM"
  rm -rf "$sysroot" "$WORK/apt"
  mkdir -p "$sysroot" "$WORK/apt/lists/partial" "$WORK/apt/cache/archives/partial"
  : >"$WORK/apt/status"
  cat >"$WORK/apt/apt.conf" <<EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "";
Dir::State::lists "$WORK/apt/lists";
Dir::State::status "$WORK/apt/status";
Dir::State::extended_states "$WORK/apt/extended_states";
Dir::Cache "$WORK/apt/cache";
Debug::NoLocking "true";
EOF
  APT_CONFIG=$WORK/apt/apt.conf apt-get -qq update
  APT_CONFIG=$WORK/apt/apt.conf apt-get -qq install --yes --download-only \
    --no-install-recommends python3.11 libpython3.11-dev libstdc++6 >/dev/null
  for package in "$WORK"/apt/cache/archives/*.deb; do
    dpkg -x "$package" "$sysroot"
  done
  touch "$WORK/sysroot.done"
fi

# What the package and its tests import. Named one by one: pip would judge the conditions of their
# requirements for this machine, and PyTorch's would then bring gigabytes of CUDA.
packages=$WORK/packages
if [ ! -e "$WORK/packages.done" ]; then
  echo "== PyTorch and other Python packages for ARM"
  rm -rf "$packages"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
    --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
    --platform manylinux_2_26_aarch64 --platform manylinux_2_24_aarch64 \
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --target "$packages" \
    $TORCH timm safetensors numpy pillow pyyaml tyro rich matplotlib nanobind pytest hypothesis \
    filelock fsspec jinja2 markupsafe mpmath networkx sympy typing_extensions \
    huggingface_hub httpx2 httpcore2 h11 anyio idna certifi truststore click tqdm packaging \
    docstring_parser typeguard markdown_it_py mdurl pygments \
    contourpy cycler fonttools kiwisolver pyparsing python-dateutil six \
    iniconfig pluggy sortedcontainers
  # Tests start further Pythons as sys.executable, which must not be the ARM program itself.
  cat >"$packages/sitecustomize.py" <<'EOF'
import os
import sys

sys.executable = os.environ["EMULATED_PYTHON"]
EOF
  touch "$WORK/packages.done"
fi

# One command that is Python for ARM: for CMake, for the tests, and for what the tests start.
tree=$WORK/tree
cat >"$WORK/python" <<EOF
#!/bin/sh
export HOME="$WORK/home" EMULATED_PYTHON="$WORK/python" PYTHONPATH="$packages:$tree/src"
exec qemu-aarch64-static -L "$sysroot" "$sysroot/usr/bin/python3.11" "\$@"
EOF
chmod +x "$WORK/python"

echo "== The extension for ARM"
rm -rf "$tree"
mkdir -p "$tree"
cp "$root/CMakeLists.txt" "$root/pyproject.toml" "$tree"
cp -pR "$root/cmake" "$root/csrc" "$root/src" "$root/tests" "$tree"
rm -f "$tree"/src/spikedriven/kernels/_native.* # an extension of this machine
# Debian keeps pyconfig.h apart for each architecture, below usr/include: looked up last, because
# the compiler has its own headers of the C library.
cmake -S "$tree" -B "$WORK/objects" -G Ninja --log-level=WARNING -DSKBUILD_STATE=editable \
  -DCMAKE_TOOLCHAIN_FILE="$tree/cmake/aarch64-linux-gnu.cmake" \
  -DCMAKE_CXX_FLAGS="-idirafter $sysroot/usr/include" \
  -DPython_EXECUTABLE="$WORK/python" -DPython_INCLUDE_DIR="$sysroot/usr/include/python3.11"
cmake --build "$WORK/objects"
cmake --install "$WORK/objects"

echo "== Its tests, emulated"
cd "$tree"
"$WORK/python" -c '
import platform
from spikedriven.kernels import _native
print(platform.machine(), _native.__file__, _native.instruction_sets())
assert platform.machine() == "aarch64" and _native.instruction_sets() == ["dotprod", "portable"]'
if [ $# -eq 0 ]; then
  # Those that hold the extension to the readable code, bit for bit or within a stated bound. The
  # rest does not come to the extension, or only through what these test, and emulation is slow.
  # Left out are a test that limits the memory of its process, since qemu ignores the limit (RLIMIT_AS), and
  # one that forks beside the threads of PyTorch: the child of an emulated process may hang in the
  # emulator, which forks with its own locks held. So forking is not checked for ARM.
  set -- tests/neurons/test_on_cpu.py tests/engine/test_native.py tests/engine/test_scales.py \
    tests/engine/test_crafted.py tests/engine/test_threads.py tests/kernels/test_norm.py \
    tests/layers/test_norm_fire.py tests/kernels/test_pool.py tests/kernels/test_depthwise.py \
    -k "not system_without_more_threads and not forked_beside_pytorch"
fi
"$WORK/python" -m pytest -p no:cacheprovider -q "$@"
