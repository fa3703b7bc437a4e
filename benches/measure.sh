#!/usr/bin/env bash
# One launch digest of a 10 MB kernel and a 50 MB initrd: `counterfoil measure` beside the `sev` crate
# and, where it is installed, sev-snp-measure, and beside the limit, which is hashing the bytes once and
# nothing else. CPU seconds (user + system) and wall seconds, each the least of several runs, and the
# most resident memory. All digests must be equal.
#
#   benches/measure.sh FIRMWARE [RUNS]        FIRMWARE as of Debian's ovmf-amdsev
#   COUNTERFOIL_TEST_SEV_SNP_MEASURE          names the peer, if it is not in PATH
set -euo pipefail
firmware=$(realpath "${1:?usage: benches/measure.sh FIRMWARE [RUNS]}") runs=${2:-7}
cd "$(dirname "$0")/.."
for tool in /usr/bin/time openssl; do
  command -v "$tool" >/dev/null || { echo "error: \`$tool\` is not installed" >&2; exit 1; }
done
cargo build --release --quiet --bin counterfoil --example measure_by_sev
target=${CARGO_TARGET_DIR:-target}/release
peer=${COUNTERFOIL_TEST_SEV_SNP_MEASURE:-$(command -v sev-snp-measure || true)}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Fixed noise, so that runs compare.
noise() { openssl enc -aes-128-ctr -K "$(printf '%032x' "$1")" -iv 0 -nosalt < /dev/zero 2>/dev/null | head -c "$2" || true; }
noise 1 10000000 > "$scratch/kernel"
noise 2 50000000 > "$scratch/initrd"
cp "$firmware" "$scratch/ovmf"
cd "$scratch"

# Name, CPU seconds, wall seconds, KiB, and the digest, of one command.
least() {
  local TIMEFORMAT='%U %S %R' name=$1 n memory digest
  shift
  : > times
  for ((n = 0; n < runs; n++)); do { time "$@" > out 2>/dev/null; } 2>> times; done
  /usr/bin/time -f '%M' -o memory "$@" > /dev/null 2>&1
  memory=$(cat memory) digest=$(grep -oE '^[0-9a-f]{96}$' out || true)
  awk -v name="$name" -v memory="$memory" -v digest="$digest" '
    { cpu = $1 + $2; if (NR == 1 || cpu < c) c = cpu; if (NR == 1 || $3 < w) w = $3 }
    END { printf "%s|%.3f|%.3f|%d|%s\n", name, c, w, memory, digest }' times >> results
}
: > results
boot=(--kernel kernel --initrd initrd --append console=ttyS0)
flags=(--mode snp --vcpus 4 --vcpu-type EPYC-v4 --ovmf ovmf "${boot[@]}")
ours=("$target/counterfoil" measure)
case $target in /*) ;; *) ours[0]=$OLDPWD/${ours[0]}; target=$OLDPWD/$target ;; esac
least 'hashing once (openssl sha256): the limit' openssl sha256 kernel initrd ovmf
least 'counterfoil measure' "${ours[@]}" "${flags[@]}"
least 'sev 8' "$target/examples/measure_by_sev" ovmf kernel initrd console=ttyS0 4 EPYC-v4
if [ -n "$peer" ]; then least 'sev-snp-measure' "$peer" "${flags[@]}"; fi
many=(--mode snp --vcpus 512 --vcpu-type EPYC-v4 --ovmf ovmf "${boot[@]}")
least 'counterfoil measure, 512 vCPUs' "${ours[@]}" "${many[@]}"
least 'counterfoil measure --examine' "${ours[@]}" "${flags[@]}" --examine

sev=$(awk -F'|' '$1 == "sev 8" { print $2 }' results)
printf '%-42s %6s %6s %8s  %s\n' "10 MB + 50 MB + firmware, least of $runs" CPU wall KiB "CPU of sev's"
awk -F'|' -v sev="$sev" '{ printf "%-42s %6s %6s %8s  %.2f\n", $1, $2, $3, $4, $2 / sev }' results
[ "$(awk -F'|' '$1 !~ /limit|512/ { print $5 }' results | sort -u | wc -l)" = 1 ] \
  || { echo "error: the digests differ" >&2; exit 1; }
