#!/usr/bin/env bash
# One report with its chain: `counterfoil verify` beside the `sev` crate, which checks less (no policy, no
# certificate against the report, no pinned root, no revocation, no release), and beside the limit: OpenSSL
# checking the same four signatures. Wall milliseconds of a process from start to end, the least of many runs.
#
#   benches/verify.sh DIR [RUNS]      DIR has report.bin, ark.pem, ask.pem and vek.der
set -euo pipefail
directory=$(realpath "${1:?usage: benches/verify.sh DIR [RUNS]}") runs=${2:-50}
cd "$(dirname "$0")/.."
command -v openssl >/dev/null || { echo "error: \`openssl\` is not installed" >&2; exit 1; }
cargo build --release --quiet --bin counterfoil --example verify_by_sev
target=$(realpath "${CARGO_TARGET_DIR:-target}/release")

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
cp "$directory"/{report.bin,ark.pem,ask.pem,vek.der} .
"$target/counterfoil" --quiet collateral pack vek.der ask.pem ark.pem --output collateral.json
printf '%s\n' 'version: 1' 'minimum-tcb: [{product: Milan}, {product: Genoa}, {product: Turin}]' \
  'platform: {require: []}' 'vmpl: [0, 1, 2, 3]' 'freshness: {crl: optional}' > policy.yaml
# What openssl needs: the key, the signed part, and R and S in DER.
openssl x509 -inform der -in vek.der -out vek.pem
openssl x509 -in vek.pem -noout -pubkey > vek.pub
head -c 672 report.bin > signed
number() { # little-endian at $1 -> hex, big-endian
  dd if=report.bin bs=1 skip="$1" count=48 status=none | od -An -v -tx1 -w1 | tac | tr -d ' \n'
}
printf 'asn1=SEQUENCE:s\n[s]\nr=INTEGER:0x%s\ns=INTEGER:0x%s\n' "$(number 672)" "$(number 744)" > signature.conf
openssl asn1parse -genconf signature.conf -noout -out signature

limit() {
  openssl verify -no_check_time -CAfile ark.pem -untrusted ask.pem vek.pem > /dev/null
  openssl dgst -sha384 -verify vek.pub -signature signature signed > /dev/null
}
least() {
  local TIMEFORMAT=%R name=$1 n
  shift
  : > times
  for ((n = 0; n < runs; n++)); do { time "$@" > /dev/null 2>&1; } 2>> times; done
  printf '%s|%s\n' "$name" "$(sort -n times | head -1)" >> results
}
: > results
verify=("$target/counterfoil" verify --report report.bin --collateral collateral.json --policy policy.yaml
  --any-measurement --at 2025-09-01)
"${verify[@]}" > /dev/null
limit
least 'the four signatures (openssl, two processes): the limit' limit
least 'counterfoil verify' "${verify[@]}"
least 'sev 8' "$target/examples/verify_by_sev" report.bin ark.pem ask.pem vek.der
least 'counterfoil --version: starting and ending' "$target/counterfoil" --version
sev=$(awk -F'|' '$1 == "sev 8" { print $2 }' results)
printf '%-58s %8s  %s\n' "least of $runs" ms "of sev's"
awk -F'|' -v sev="$sev" '{ printf "%-58s %8.1f  %.2f\n", $1, $2 * 1000, $2 / sev }' results
