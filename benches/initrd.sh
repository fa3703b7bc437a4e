#!/usr/bin/env bash
# An initrd of 300 MB: our writer beside `find | sort | cpio` + `openssl sha256`, and beside the limit,
# which is hashing the bytes once and nothing else. CPU seconds (user + system), least of several runs.
#
#   benches/initrd.sh [MEGABYTES] [RUNS]
set -euo pipefail
cd "$(dirname "$0")/.."
megabytes=${1:-300} runs=${2:-5}
for tool in cpio openssl; do
  command -v "$tool" >/dev/null || { echo "error: \`$tool\` is not installed" >&2; exit 1; }
done
cargo build --release --quiet --example write_initrd
writer=${CARGO_TARGET_DIR:-target}/release/examples/write_initrd

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/tree"
# Like a real initrd: a few large files and many small ones. Fixed noise, so that runs compare.
noise() { openssl enc -aes-128-ctr -K "$(printf '%032x' "$1")" -iv 0 -nosalt < /dev/zero 2>/dev/null | head -c "$2" || true; }
large=$((megabytes / 4))
for n in 1 2 3; do noise "$n" $((large * 1000000)) > "$scratch/tree/large$n"; done
mkdir "$scratch/tree/small"
noise 4 $(((megabytes - 3 * large) * 1000000)) | split -b 100000 -a 4 - "$scratch/tree/small/f"

# The least CPU seconds of so many runs of a command, and its output in $scratch/out.
least() {
  local TIMEFORMAT='%U %S' best='' n
  for ((n = 0; n < runs; n++)); do
    local seconds
    seconds=$({ time "$@" > "$scratch/out" 2>/dev/null; } 2>&1 | awk '{ printf "%.3f", $1 + $2 }')
    if [ -z "$best" ] || awk "BEGIN { exit !($seconds < $best) }"; then best=$seconds; fi
  done
  echo "$best"
}
peer() {
  (cd "$scratch/tree" && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet -o -H newc) > "$scratch/peer.cpio"
  openssl sha256 "$scratch/peer.cpio"
}
hash_once() { openssl sha256 "$scratch/ours.cpio"; }
copy_once() { cat "$scratch/ours.cpio" > "$scratch/copy"; }

ours=$(least "$writer" "$scratch/tree" "$scratch/ours.cpio")
memory=$(cat "$scratch/out")
peers=$(least peer)
limit=$(least hash_once)
copying=$(least copy_once)
ratio() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; }
printf '%-44s %8s  %s\n' "$megabytes MB, CPU seconds, least of $runs" seconds 'of the limit'
printf '%-44s %8s  %s\n' 'hashing once (openssl sha256): the limit' "$limit" 1.00
printf '%-44s %8s  %s\n' 'copying once (cat)' "$copying" "$(ratio "$copying" "$limit")"
printf '%-44s %8s  %s\n' 'counterfoil: write and hash' "$ours" "$(ratio "$ours" "$limit")"
printf '%-44s %8s  %s\n' 'find | sort | cpio, then openssl sha256' "$peers" "$(ratio "$peers" "$limit")"
echo "counterfoil wrote ${memory} kB"
