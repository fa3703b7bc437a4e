# Compiles the kernel, in the room: see ../README.md. Leaves boot/vmlinuz-VERSION and boot/config-VERSION.
set -eu
. /build/kernel.sh
configure /build/fragment.config
kbuild linux -j"$JOBS" bzImage
keep_kernel
