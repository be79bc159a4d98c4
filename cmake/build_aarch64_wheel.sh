#!/usr/bin/env bash
# build_aarch64_wheel.sh FOLDER [PYTHON]: cross-builds the wheel for 64-bit ARM Linux into FOLDER/dist; then runs it
# under qemu in Debian's own Python for that machine, on the golden file (tests/cross/wheel.py).
#
# PYTHON (default python3) must have the version of Debian's Python, for which the wheel is, and pip, scikit-build-core,
# pybind11, cmake and ninja. Debian's packages for arm64 are unpacked into FOLDER/sysroot; nothing on this machine is
# installed or configured. Needs g++-aarch64-linux-gnu and qemu-user.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mkdir -p "$1" && cd "$1" && pwd)
python=${2:-python3}
version=$("$python" -c 'import sys; print(f"{sys.version_info.major}.{sys.version_info.minor}")')
sysroot=$folder/sysroot

# A private state of apt for the foreign architecture, with this machine's sources and keys.
rm -rf "$folder/apt" "$folder/dist" "$folder/site"
mkdir -p "$folder"/apt/{lists,cache,debs} "$sysroot"
touch "$folder/apt/status"
options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root
  -o Dir::State::lists="$folder/apt/lists" -o Dir::State::status="$folder/apt/status" -o Dir::Cache="$folder/apt/cache")
apt-get "${options[@]}" update
packages=(python"$version"-minimal libpython"$version"-{minimal,stdlib,dev} python3-numpy libblas3 liblapack3 libgfortran5
  libexpat1 zlib1g libffi8 libbz2-1.0 liblzma5 libssl3 libuuid1 libc6 libgcc-s1 libstdc++6)
(cd "$folder/apt/debs" && apt-get "${options[@]}" download "${packages[@]}")
for package in "$folder"/apt/debs/*.deb; do dpkg -x "$package" "$sysroot"; done

# The interpreter that builds is this machine's; what it would say of itself is replaced. pip would believe that too and
# fill an isolated environment with build tools for ARM, so the tools are those of PYTHON. Written in one word, -isystem
# would keep ccache from what the preset aarch64 has compiled.
tag=cpython-${version/./}-aarch64-linux-gnu
_PYTHON_HOST_PLATFORM=linux-aarch64 CMAKE_ARGS="${CMAKE_ARGS:-} -DCMAKE_TOOLCHAIN_FILE=$root/cmake/aarch64-linux-gnu.cmake \
-DPython_INCLUDE_DIR=$sysroot/usr/include/python$version '-DCMAKE_CXX_FLAGS=-isystem $sysroot/usr/include' \
-DPYTHON_MODULE_EXTENSION=.$tag.so -DPYTHON_MODULE_DEBUG_POSTFIX=" \
  "$python" -m pip wheel -q --no-build-isolation --no-deps -w "$folder/dist" "$root"
wheel=$(echo "$folder"/dist/openbpu-*-cp"${version/./}"-cp"${version/./}"-linux_aarch64.whl)
"$python" -m zipfile -e "$wheel" "$folder/site"
aarch64-linux-gnu-readelf -h "$folder/site/openbpu/_native.$tag.so" | grep -q 'Machine: *AArch64'

libraries=$sysroot/usr/lib/aarch64-linux-gnu
PYTHONHOME=$sysroot/usr PYTHONPATH=$folder/site:$root/tests:$sysroot/usr/lib/python3/dist-packages \
  PYTHONDONTWRITEBYTECODE=1 qemu-aarch64 -L "$sysroot" \
  -E LD_LIBRARY_PATH="$libraries:$libraries/blas:$libraries/lapack" "$sysroot/usr/bin/python$version" -m cross.wheel
echo "$wheel"
