# Compiles the kernel, in the room: see ../README.md. Leaves boot/vmlinuz-VERSION and boot/config-VERSION.
set -eu
cd /build
mkdir linux
tar -xf linux.tar.xz --strip-components=1 -C linux
cd linux

# Every line of the fragment is a wish: what it sets must be set so, what it says "is not set" must not
# be. Kconfig drops what it cannot have without a word, so it is asked before and after.
check() {
    awk -v when="$1" '
        NR == FNR { if (match($0, /^CONFIG_[A-Z0-9_]+/)) has[substr($0, 1, RLENGTH)] = $0; next }
        /^CONFIG_/ {
            split($0, part, "=")
            if (has[part[1]] != $0) { print when ": wanted " $0 ", got " has[part[1]]; bad = 1 }
        }
        /^# CONFIG_[A-Z0-9_]+ is not set$/ && $2 in has { print when ": forbidden, got " has[$2]; bad = 1 }
        END { exit bad }
    ' "$2" /build/fragment.config >&2
}

# What would let this machine, or this minute, into the image: see the kernel's
# Documentation/kbuild/reproducible-builds.rst.
set -- \
    ARCH=x86_64 CC=x86_64-linux-gnu-gcc-14 HOSTCC=x86_64-linux-gnu-gcc-14 \
    KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_VERSION=1 \
    KBUILD_BUILD_USER=counterfoil KBUILD_BUILD_HOST=room LOCALVERSION=

# A fragment that forbids what it wants would pass whichever comes last.
check "the fragment" /build/fragment.config
make -s "$@" KCONFIG_ALLCONFIG=/build/fragment.config allnoconfig
check "Kconfig" .config
if grep -n '=m$' .config >&2; then echo "no module may be left" >&2; exit 1; fi

make -s -j"$JOBS" "$@" bzImage
release=$(make -s "$@" kernelrelease)
mkdir /build/out/boot
cp arch/x86/boot/bzImage "/build/out/boot/vmlinuz-$release"
cp .config "/build/out/boot/config-$release"
