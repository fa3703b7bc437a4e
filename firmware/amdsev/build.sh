# Compiles the firmware, in the room: see ../README.md. Leaves OVMF.fd.
set -eu
cd /build
mkdir edk2
tar -xJf orig.tar.xz --strip-components=1 -C edk2
cd edk2
tar -xJf ../debian.tar.xz
for patch in $(sed 's/#.*//' debian/patches/series); do
    patch -p1 -s -i "debian/patches/$patch"
done
# Upstream's lines end in CR LF and our patches' do not: what they touch is made like them first.
for patch in ../patches/*.patch; do
    sed -i 's/\r$//' $(sed -n 's,^--- a/,,p' "$patch")
    patch -p1 -s -i "$patch"
done

export WORKSPACE=$PWD EDK_TOOLS_PATH=$PWD/BaseTools CONF_PATH=$PWD/Conf PACKAGES_PATH=$PWD
export PATH=$PWD/BaseTools/BinWrappers/PosixLike:$PATH
export PYTHON_COMMAND=python3 PYTHON3_ENABLE=TRUE PYTHONHASHSEED=0 GCC5_BIN=
mkdir -p Conf
for name in build_rule target tools_def; do
    cp "BaseTools/Conf/$name.template" "Conf/$name.txt"
done
make -s -C BaseTools/Source/C -j"$JOBS" ARCH=X64
# The strings are for SMBIOS, which is left out: no version, no date.
build -q -n "$JOBS" -a X64 -t GCC5 -b RELEASE -p OvmfPkg/AmdSev/AmdSevX64.dsc \
    --pcd PcdFirmwareVendor=L"counterfoil\\0" \
    --pcd PcdFirmwareVersionString=L"0\\0" \
    --pcd PcdFirmwareReleaseDateString=L"01/01/1970\\0"
cp Build/AmdSev/RELEASE_GCC5/FV/OVMF.fd ../out/
