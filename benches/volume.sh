#!/usr/bin/env bash
# A model of 3 GiB of noise into a volume: `counterfoil volume build` beside the programs that it
# stands for (mkfs.erofs, veritysetup format, sha256sum or openssl sha256, one after another), and beside
# the limit, which is reading the bytes and hashing them once (openssl sha256; its wall time divided by
# the cores), and nothing else. CPU seconds
# (user + system) and wall seconds, each the least of several runs taken in turn, and the most resident
# memory, also for a tenth of the size. The root hashes must be equal.
#
#   benches/volume.sh [MEBIBYTES] [RUNS]      needs erofs-utils and cryptsetup-bin
set -euo pipefail
cd "$(dirname "$0")/.."
size=${1:-3072} runs=${2:-3}
for tool in /usr/bin/time openssl mkfs.erofs veritysetup sha256sum python3; do
  command -v "$tool" >/dev/null || { echo "error: \`$tool\` is not installed" >&2; exit 1; }
done
cargo build --release --quiet --bin counterfoil
target=${CARGO_TARGET_DIR:-target}/release
case $target in /*) ;; *) target=$PWD/$target ;; esac
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/volume.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
mkdir tree small
noise() { openssl enc -aes-128-ctr -K "$(printf '%032x' "$1")" -iv 0 -nosalt < /dev/zero 2>/dev/null | head -c "$2" || true; }
noise 1 $((size * 1024 * 1024)) > tree/model
noise 1 $((size * 1024 * 1024 / 10)) > small/model
cores=$(nproc)

ours() { "$target/counterfoil" volume build -q tree --output ours.img; }
less() { "$target/counterfoil" volume build -q small --output less.img; }
check() { "$target/counterfoil" volume verify -q ours.img; }
mkfs() { rm -f peer.img; mkfs.erofs --quiet -T0 -U00000000-0000-0000-0000-000000000000 --all-root peer.img tree; }
verity() {
  local bytes
  bytes=$(($(stat -c %s peer.img) / 4096 * 4096))
  veritysetup format --no-superblock --format=1 --hash=sha256 --salt=00 --hash-offset="$bytes" --data-blocks=$((bytes / 4096)) peer.img peer.img
}
hash_openssl() { openssl sha256 tree/model; }
hash_coreutils() { sha256sum tree/model; }
copy() { cp --reflink=never tree/model copy; rm copy; }
export -f ours less check mkfs verity hash_openssl hash_coreutils copy
export target

names=(copy ours less check mkfs verity hash_openssl hash_coreutils)
for ((n = 0; n < runs; n++)); do
  for name in "${names[@]}"; do
    /usr/bin/time -a -o "$name.times" -f '%U %S %e %M' bash -c "$name" > "$name.out" 2>/dev/null
  done
done
# Memory of the process itself, not of the shell around it.
/usr/bin/time -o ours.memory -f %M "$target/counterfoil" volume build -q tree --output ours.img > ours.out
/usr/bin/time -o less.memory -f %M "$target/counterfoil" volume build -q small --output less.img > /dev/null

python3 - "$size" "$runs" "$cores" <<'PYTHON'
import sys
size, runs, cores = sys.argv[1:]
def least(name):
    rows = [list(map(float, line.split())) for line in open(name + ".times") if line[0].isdigit()]
    return min(r[0] + r[1] for r in rows), min(r[2] for r in rows), max(r[3] for r in rows)
found = {n: least(n) for n in "copy ours less check mkfs verity hash_openssl hash_coreutils".split()}
peers = ["mkfs", "verity", "hash_openssl"]
c, w, m = found["hash_openssl"]
found = {"limit": (c, w / int(cores), m)} | found
found["peers"] = tuple(sum(found[n][i] for n in peers) for i in (0, 1)) + (max(found[n][2] for n in peers),)
slow = ["mkfs", "verity", "hash_coreutils"]
found["slow"] = tuple(sum(found[n][i] for n in slow) for i in (0, 1)) + (max(found[n][2] for n in slow),)
for n in ("ours", "less"):
    found[n] = found[n][:2] + (float(open(n + ".memory").read().split()[-1]),)
labels = {
    "limit": "the limit: reading and hashing once, on all cores", "copy": "copying once (cp)",
    "ours": "counterfoil volume build", "less": "the same, a tenth of the size", "check": "counterfoil volume verify",
    "mkfs": "mkfs.erofs", "verity": "veritysetup format", "hash_openssl": "openssl sha256",
    "hash_coreutils": "sha256sum", "peers": "the three, with openssl", "slow": "the three, with sha256sum",
}
print(f"{size} MiB, least of {runs}".ljust(52), "CPU s  wall s      KiB  CPU/three  wall/three")
for n, label in labels.items():
    c, w, m = found[n]
    print(f"{label:52} {c:5.2f} {w:7.2f} {m:8.0f} {c/found['peers'][0]:10.2f} {w/found['peers'][1]:11.2f}")
PYTHON

# Ours, by veritysetup.
python3 - <<'PYTHON' > parameters
import json
v = json.load(open("ours.json"))["verity"]
print(f"--hash-offset={v['hash_start_block'] * 4096} --data-blocks={v['data_blocks']} --salt={v['salt']}")
PYTHON
# shellcheck disable=SC2046
veritysetup verify --no-superblock --format=1 --hash=sha256 $(cat parameters) ours.img ours.img "$(cat ours.out)"
echo "veritysetup accepts ours"
