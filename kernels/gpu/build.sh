# Compiles the kernel and NVIDIA's modules for it, in the room: see ../README.md. Leaves
# boot/vmlinuz-VERSION, boot/config-VERSION, lib/modules/VERSION/nvidia.ko and …/nvidia-uvm.ko.
set -eu
. /build/kernel.sh

# Drivers select it, and none of those is for a guest; `configure` sees whether it worked.
sed -i '/^config MMU_NOTIFIER$/,/^$/ s/^\tbool$/\tdef_bool y/' linux/mm/Kconfig

# The minimal fragment, without the lines that ours stands in the place of.
awk '
    function option() { return match($0, /^(# )?CONFIG_[A-Z0-9_]+(=| is not set$)/) }
    { name = ""; if (option()) { name = $0; gsub(/^# |[= ].*/, "", name) } }
    FILENAME ~ /gpu/ { if (name) ours[name]; next }
    !(name in ours)
' gpu.config minimal.config > both.config
cat gpu.config >> both.config
configure /build/both.config

# Without the second, modpost knows no symbol of the kernel's.
kbuild linux -j"$JOBS" bzImage modules
keep_kernel

tar -xf nvidia.tar.xz
# The kernel's stable releases have given this function an argument: the BARs to leave alone. It is
# called only if one asks for resizable BARs (NVreg_EnableResizableBar).
sed -i 's/pci_resize_resource(pci_dev, NV_GPU_BAR1, requested_size)/pci_resize_resource(pci_dev, NV_GPU_BAR1, requested_size, 0)/' \
    modules/nvidia-open-kernel/nvidia/nv-pci.c
kbuild modules/nvidia-open-kernel -j"$JOBS" \
    SYSSRC=/build/linux NV_KERNEL_MODULES="nvidia nvidia-uvm" modules
mkdir -p "out/lib/modules/$release"
for name in nvidia nvidia-uvm; do
    # Of 220 MB, nearly all is debug information of the part that Debian compiled.
    x86_64-linux-gnu-strip --strip-debug -o "out/lib/modules/$release/$name.ko" \
        "modules/nvidia-open-kernel/$name.ko"
done
cd "out/lib/modules/$release"

# Without one of the kernel's options nvidia.ko is built without its cryptography, and says so in front
# of a GPU only.
if ! x86_64-linux-gnu-nm -u nvidia.ko | grep -q 'crypto_alloc_aead$'; then
    echo "nvidia.ko has been built without SPDM" >&2
    exit 1
fi

# The GPU's firmware and its driver are of one version, or the driver refuses it.
x86_64-linux-gnu-objcopy -O binary -j .modinfo nvidia.ko /build/modinfo
version=$(tr '\0' '\n' < /build/modinfo | sed -n 's/^version=//p')
if ! [ -e "/build/firmware/$version" ]; then
    echo "nvidia.ko is version $version, the firmware is" /build/firmware/* >&2
    exit 1
fi
