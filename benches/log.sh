#!/usr/bin/env bash
# A log of a million entries: appended in batches, then one entry proved, one more appended, all of it verified;
# beside the limits: hashing the same bytes once, and as many files as an append of one writes, each made, written
# and waited for one after another (`dd conv=fsync`) with nothing else done. Wall and CPU seconds, the median and the
# least of several runs. It must be a real disk: say where by TMPDIR.
#
#   benches/log.sh [RUNS]
set -euo pipefail
runs=${1:-9}
cd "$(dirname "$0")/.."
for tool in openssl python3 dd; do
  command -v "$tool" >/dev/null || { echo "error: \`$tool\` is not installed" >&2; exit 1; }
done
cargo build --release --quiet --bin counterfoil
counterfoil=$(realpath "${CARGO_TARGET_DIR:-target}/release/counterfoil")
reader=$(realpath reproducibility/read_log.py)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

"$counterfoil" log key --name bench.example.org --type log --output key > vkey 2>/dev/null
"$counterfoil" log init LOG --key key > /dev/null 2>&1
python3 -c 'for n in range(1_000_000): print(f"{n:064x} entry")' > entries
echo one > one

# Name, median and least wall seconds, CPU seconds of the least, of one command.
measure() {
  local TIMEFORMAT='%R %U %S' name=$1 count=$2 n
  shift 2
  : > times
  for ((n = 0; n < count; n++)); do { time "$@" > /dev/null 2>&1; } 2>> times; done
  sort -n times | awk -v name="$name" '
    { wall[NR] = $1; cpu = $2 + $3; if (NR == 1 || cpu < least) least = cpu }
    END { printf "%-58s %8.3f %8.3f %8.3f\n", name, wall[int((NR + 1) / 2)], wall[1], least }'
}
three_files() {
  local n
  for n in 1 2 3; do dd if=one of="file$n" conv=fsync status=none; done
}
printf '%-58s %8s %8s %8s\n' "a million entries of 70 bytes" median least CPU
measure 'the limit: hashing the entries (openssl sha256)' "$runs" openssl sha256 entries
measure 'log append, a million in 16 batches' 1 "$counterfoil" log append LOG --key key --entries entries
measure 'the limit: a process (counterfoil --version)' "$runs" "$counterfoil" --version
measure 'log prove, one of a million' "$runs" "$counterfoil" log prove LOG --index 777777
measure 'the limit: three files and fsync (dd)' "$runs" three_files
measure 'log append, one to a million' "$runs" "$counterfoil" log append LOG --key key --entries one
measure 'log verify, all of it' 3 "$counterfoil" log verify LOG --log vkey
measure 'read_log.py, all of it' 1 "$reader" LOG --log "$(cat vkey)"
