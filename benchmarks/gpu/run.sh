#!/usr/bin/env bash
# Everything that waits for a GPU, see README.md beside this. One stage's failure does not stop the next.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-out/gpu}
work=${WORK:-/tmp/triptych-gpu}
export DEVICE=${DEVICE:-cuda} SIZE=${SIZE:-full}
mkdir -p "$out" "$work"
python3 -m pip install -q --no-index --no-deps --no-build-isolation --upgrade --target "$work/site" . || exit 1
export PYTHONPATH=$work/site${PYTHONPATH:+:$PYTHONPATH}
triptych() { python3 -c 'from triptych.runtime.cli import main; main()' "$@"; }

stage_export() {
    [ -d "$work/checkpoint" ] || python3 benchmarks/make_checkpoint.py "$work/checkpoint" --size "$SIZE"
    triptych export "$work/checkpoint" "$work/package" --precision fp16 --force
}
stage_correctness() { python3 benchmarks/gpu/correctness.py "$work/package" "$DEVICE" "$out/correctness.json"; }
stage_latency() { triptych bench "$work/package" --device "$DEVICE" --steps 50 --json "$out/latency.json"; }
stage_peers() { python3 benchmarks/gpu/peers.py "$work/checkpoint" "$work/package" "$DEVICE" "$out/peers.json"; }
stage_noise() { python3 benchmarks/gpu/noise.py "$DEVICE"; }

status=0
for stage in ${*:-export correctness latency peers noise}; do
    echo "== $stage"
    if "stage_$stage" > "$out/$stage.log" 2>&1; then tail -n 20 "$out/$stage.log"; else
        status=1
        echo "failed:"
        tail -n 30 "$out/$stage.log"
    fi
done
exit $status
