#!/usr/bin/env bash
# Everything that waits for a GPU, see README.md beside this. Each stage stands alone, ends in time, and writes its
# figures as they come; one stage's failure does not stop the next.
set -uo pipefail
cd "$(dirname "$0")/../.."
export OUT=${OUT:-out/gpu} WORK=${WORK:-/tmp/triptych-gpu} DEVICE=${DEVICE:-cuda} SIZE=${SIZE:-full} MODEL=${MODEL:-sd15}
if [ "$MODEL" != sd15 ]; then OUT=$OUT/$MODEL WORK=$WORK/$MODEL; fi
export TORCHINDUCTOR_CACHE_DIR=$WORK/inductor HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
python=${PYTHON:-python3}
mkdir -p "$OUT" "$WORK"

# The folders under their import names, and a version for those who ask: nothing is installed
site=$WORK/site
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
mkdir -p "$site/triptych" "$site/triptych-$version.dist-info"
for name in runtime export benchmarks; do ln -sfn "$PWD/$name" "$site/triptych/$name"; done
printf 'Metadata-Version: 2.1\nName: triptych\nVersion: %s\n' "$version" > "$site/triptych-$version.dist-info/METADATA"
export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}

all="environment export-demo demo attention export-cuda threads export-others components options images peers where"
# Stages and their seconds, the most important first; "&" starts a stage beside the next ones, until "wait": an export
# needs no GPU
quick="environment:35 export-cuda:195& export-demo:65 demo:50 attention:50 threads:30 wait peers:180 components:60"
stages=${*:-$all}
if [ "$stages" = quick ]; then stages=$quick; fi

run_stage() { # stage, seconds
    local stage=$1 seconds=$2 module=${1%%-*} argument= code
    if [ "$module" != "$stage" ]; then argument=${stage#*-}; fi
    echo "== $stage $(date +%T)"
    # Exports do without the GPU: an image that is wrong on it would end them, and leave nothing to measure
    if [ "$module" = export ]; then local -x CUDA_VISIBLE_DEVICES=; fi
    # shellcheck disable=SC2086
    STAGE_SECONDS=$((seconds - 5)) timeout -k 5 "$((seconds - 5))" \
        "$python" -m "triptych.benchmarks.gpu.$module" $argument > "$OUT/$stage.log" 2>&1
    code=$?
    if [ $code -ne 0 ]; then
        echo "$stage failed with status $code; the end of $OUT/$stage.log:"
        tail -n 12 "$OUT/$stage.log" | cut -c 1-400
    fi
    return $code
}

status=0
beside=
for entry in $stages; do
    stage=${entry%%:*} seconds=480
    if [ "$stage" != "$entry" ]; then seconds=${entry#*:}; fi
    seconds=${STAGE_SECONDS:-${seconds%&}}
    case $entry in
        table) ;;
        wait)
            wait "$beside" || status=1
            ;;
        *\&)
            run_stage "$stage" "$seconds" &
            beside=$!
            ;;
        *) run_stage "$stage" "$seconds" || status=1 ;;
    esac
done
"$python" -m triptych.benchmarks.gpu.table 2>&1 | tee "$OUT/table.txt" | cut -c 1-200
exit $status
