# The few things a contributor does.

# Everything, the end-to-end boots included.
test:
    cargo test --workspace

# What must pass before a change lands.
ci:
    .ci/run

# Format and lint.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# Benchmarks beside their peers.
bench:
    benches/initrd.sh
    benches/volume.sh
    benches/log.sh
    benches/measure.sh "${FIRMWARE:?an OVMF image, as of the package ovmf-amdsev}"
    benches/verify.sh "${REPORT:?a directory with report.bin, ark.pem, ask.pem and vek.der}"

# The fuzz targets, a minute each (needs nightly and cargo-fuzz).
fuzz:
    for target in $(cargo +nightly fuzz list --fuzz-dir fuzz); do cargo +nightly fuzz run --fuzz-dir fuzz $target -- -max_total_time=60 || exit 1; done
