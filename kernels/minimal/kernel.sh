# What compiling a kernel here always takes; a recipe's build.sh reads it, in the room.
set -eu
cd /build
mkdir linux
tar -xf linux.tar.xz --strip-components=1 -C linux

# make, in a directory, without what would let this machine, or this minute, into the result: see the
# kernel's Documentation/kbuild/reproducible-builds.rst.
kbuild() {
    make -s -C "$@" \
        ARCH=x86_64 CC=x86_64-linux-gnu-gcc-14 HOSTCC=x86_64-linux-gnu-gcc-14 \
        KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_VERSION=1 \
        KBUILD_BUILD_USER=counterfoil KBUILD_BUILD_HOST=room LOCALVERSION=
}

# Every line of a fragment is a wish: what it sets must be set so, what it says "is not set" must not
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
    ' "$2" "$3" >&2
}

# The configuration that a fragment makes of nothing.
configure() {
    # A fragment that forbids what it wants would pass whichever comes last.
    check "the fragment" "$1" "$1"
    kbuild linux KCONFIG_ALLCONFIG="$1" allnoconfig
    check "Kconfig" linux/.config "$1"
    if grep -n '=m$' linux/.config >&2; then echo "no module may be left" >&2; exit 1; fi
}

# boot/vmlinuz-VERSION and boot/config-VERSION, where Debian's packages have them.
keep_kernel() {
    release=$(kbuild linux kernelrelease)
    mkdir -p out/boot
    cp linux/arch/x86/boot/bzImage "out/boot/vmlinuz-$release"
    cp linux/.config "out/boot/config-$release"
}
