# Compiles llama.cpp's server, in the room: see ../README.md. Leaves bin/llama-server, one static binary.
set -eu
cd /build/llama
mkdir generated

# What upstream's CMake files would generate, without a version control system, a download or a date.
# The commit is not known to the archive that the source comes in; its version is.
number() { sed -n "s/^set($1_VERSION_$2 \([0-9]*\))\$/\1/p" "$3"; }
version() { echo "$(number "$1" MAJOR "$2").$(number "$1" MINOR "$2").$(number "$1" PATCH "$2")"; }
fill() {
    sed -e "s/@LLAMA_VERSION@/$(version LLAMA CMakeLists.txt)-dev/" \
        -e "s/@GGML_VERSION@/$(version GGML ggml/CMakeLists.txt)/" \
        -e 's/@[A-Z]*_BUILD_NUMBER@/0/' -e 's/@[A-Z]*_BUILD_COMMIT@/counterfoil/' \
        -e 's/@BUILD_COMPILER@/GNU 14/' -e 's/@BUILD_TARGET@/Linux x86_64/' \
        -e '/^#cmakedefine/d' -e '/@ASSET_[A-Z]*@/d' -e 's/@N_ASSETS@/0/' -e 's/@USE_GZIP@/false/' \
        "$1" >"generated/$2"
    if grep -n '@[A-Z_]*@' "generated/$2" >&2; then echo "$1 has something new in it" >&2; exit 1; fi
}
fill common/build-info.cpp.in build-info.cpp
fill src/llama-version.h.in llama-version.h
fill ggml/src/ggml-version.h.in ggml-version.h
fill tools/ui/ui.h.in ui.h
fill tools/ui/ui.cpp.in ui.cpp

# Sixteen models are compiled at a time, as upstream does it.
ls src/models/*.cpp | split -d -a 3 -l 16 --additional-suffix=.cpp - generated/models-
sed -i 's,.*,#include "../&",' generated/models-*.cpp

make -s -f ../recipe/Makefile -j"$JOBS"
mkdir -p ../out/bin
cp llama-server ../out/bin/
