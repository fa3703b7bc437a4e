#!/usr/bin/env bash
# Builds a QEMU that starts from IGVM files, which Debian's do not: DIR/qemu-system-x86_64.
#
#   tests/igvm-qemu.sh [DIR]      target/tmp/igvm-qemu unless said, where the tests look for it
#
# From the source package of QEMU 10.2 or newer that the machine's own Debian mirror still has, and
# from the C library of the igvm crate (IGVM_SOURCE, a git repository). Ten minutes on two cores. The
# packages it builds with are installed when it runs as root.
set -euo pipefail
dir=$(realpath -m "${1:-$(dirname "$0")/../target/tmp/igvm-qemu}")
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial" "$dir/lib/pkgconfig" "$dir/include/igvm"
cd "$dir"

if [ "$(id -u)" = 0 ]; then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
    gcc libc6-dev git dpkg-dev ninja-build pkg-config flex bison python3-venv python3-pip \
    libglib2.0-dev libpixman-1-dev libslirp-dev libfdt-dev
fi

# The source package: sid's index, from the machine's mirror, by apt in a directory of its own.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | head -1)
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no] $mirror sid main" > apt/sources.list
apt=(-o "Dir::Etc::SourceList=$dir/apt/sources.list" -o "Dir::Etc::SourceParts=/nonexistent"
  -o "Dir::State::Lists=$dir/apt/lists" -o "Dir::Cache=$dir/apt/cache" -o "APT::Sandbox::User=root")
apt-get "${apt[@]}" -q update
for version in $(apt-cache "${apt[@]}" showsrc --only-source qemu | sed -n 's/^Version: //p' | sort -rV); do
  # Those that have been replaced may be gone from the pool.
  dpkg --compare-versions "$version" ge 1:10.2 && apt-get "${apt[@]}" -q source --download-only "qemu=$version" && break
done
rm -rf qemu
dpkg-source --extract qemu_*.dsc qemu

# The library and its headers.
[ -d igvm ] || git clone --quiet --depth 1 "${IGVM_SOURCE:-https://github.com/microsoft/igvm}" igvm
cargo install --quiet --locked --root tools cbindgen
(cd igvm && cargo build --quiet --release --manifest-path igvm/Cargo.toml --features igvm-c --target-dir "$dir/libigvm")
tools/bin/cbindgen -q -c igvm/igvm_c/cbindgen_igvm.toml igvm/igvm -o include/igvm/igvm.h
tools/bin/cbindgen -q -c igvm/igvm_c/cbindgen_igvm_defs.toml igvm/igvm_defs -o include/igvm/igvm_defs.h
bash igvm/igvm_c/scripts/post_process.sh include/igvm
cp libigvm/release/libigvm.a lib/
cat > lib/pkgconfig/igvm.pc <<EOF
Name: igvm
Description: IGVM files
Version: 0.5.0
Libs: -L$dir/lib -ligvm -lm -lpthread -ldl
Cflags: -I$dir/include
EOF

# What its build system is written in, in the versions that it asks for.
wheels=$(sed -n 's/^\(meson\|pycotap\) = .*installed = "\([^"]*\)".*/\1==\2/p' qemu/pythondeps.toml)
mkdir -p qemu/python/wheels
# shellcheck disable=SC2086
python3 -m pip download --quiet --no-deps --dest qemu/python/wheels $wheels

rm -rf build && mkdir build && cd build
PKG_CONFIG_PATH=$dir/lib/pkgconfig ../qemu/configure --python=/usr/bin/python3 \
  --target-list=x86_64-softmmu --without-default-features --enable-system --enable-tcg --enable-kvm \
  --enable-igvm --enable-slirp --disable-docs --disable-werror --disable-install-blobs
ninja qemu-system-x86_64
ln -sf build/qemu-system-x86_64 "$dir/qemu-system-x86_64"
"$dir/qemu-system-x86_64" -object help | grep igvm-cfg
