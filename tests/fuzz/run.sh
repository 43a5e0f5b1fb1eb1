#!/usr/bin/env bash
# Runs every fuzz target for so many seconds (120), or those that are named: tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# It needs the nightly compiler and cargo-fuzz, and says so when it does not find them. New inputs that reach code
# that none reached before go to target/fuzz/corpus; those in tests/fuzz/corpus are a small choice of them (see --keep).
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! cargo +nightly --version >/dev/null 2>&1; then echo 'SKIPPED: no nightly compiler here'; exit 0; fi
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo 'SKIPPED: cargo-fuzz is not installed (cargo install cargo-fuzz)'; exit 0
fi
export CARGO_TARGET_DIR="$PWD/target/fuzz"
targets=(ring wheel wait_queue channel codec builder)

# Chooses from all inputs found so far as few as reach the same code, and leaves them in tests/fuzz/corpus.
if [ "${1-}" = --keep ]; then
  for target in "${targets[@]}"; do
    mkdir -p "tests/fuzz/corpus/$target" "target/fuzz/small/$target"
    cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" "target/fuzz/small/$target" \
      "target/fuzz/corpus/$target" "tests/fuzz/corpus/$target" -- -merge=1 -max_len=256
    find "target/fuzz/small/$target" -type f -size -2k -print0 | sort -z | head -z -n 40 \
      | xargs -0 -r cp -t "tests/fuzz/corpus/$target"
  done
  exit 0
fi

seconds=${1-120}
shift || true
if [ $# -gt 0 ]; then targets=("$@"); fi
for target in "${targets[@]}"; do
  printf '\n==> %s, %d s\n' "$target" "$seconds"
  mkdir -p "target/fuzz/corpus/$target" "tests/fuzz/corpus/$target"
  cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" "target/fuzz/corpus/$target" "tests/fuzz/corpus/$target" \
    -- -max_total_time="$seconds" -max_len=512 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
echo 'All targets ended without a finding.'
