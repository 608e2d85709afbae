#!/usr/bin/env bash
# Everything that waits for a GPU, see README.md beside this. Each stage stands alone, ends in time, and writes its
# figures as they come; one stage's failure does not stop the next.
set -uo pipefail
cd "$(dirname "$0")/../.."
export OUT=${OUT:-out/gpu} WORK=${WORK:-/tmp/triptych-gpu} DEVICE=${DEVICE:-cuda} SIZE=${SIZE:-full} MODEL=${MODEL:-sd15}
if [ "$MODEL" != sd15 ]; then OUT=$OUT/$MODEL WORK=$WORK/$MODEL; fi
export STAGE_SECONDS=${STAGE_SECONDS:-460} TORCHINDUCTOR_CACHE_DIR=$WORK/inductor HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
python=${PYTHON:-python3}
mkdir -p "$OUT" "$WORK"

# The folders under their import names, and a version for those who ask: nothing is installed
site=$WORK/site
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
mkdir -p "$site/triptych" "$site/triptych-$version.dist-info"
for name in runtime export benchmarks; do ln -sfn "$PWD/$name" "$site/triptych/$name"; done
printf 'Metadata-Version: 2.1\nName: triptych\nVersion: %s\n' "$version" > "$site/triptych-$version.dist-info/METADATA"
export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}

module_of() {
    case $1 in
        export-*) echo "export ${1#export-}" ;;
        peers-*) echo "peers ${1#peers-}" ;;
        *) echo "$1" ;;
    esac
}

stages=${*:-environment export-cuda export-portable export-variants export-batches correctness latency options pictures
    where peers-eager peers-compile noise}
status=0
for stage in $stages; do
    [ "$stage" = table ] && continue
    echo "== $stage $(date +%T)"
    # shellcheck disable=SC2046
    timeout -k 10 "$((STAGE_SECONDS + 20))" "$python" -m triptych.benchmarks.gpu.$(module_of "$stage") \
        > "$OUT/$stage.log" 2>&1
    code=$?
    if [ $code -ne 0 ]; then
        status=1
        echo "failed with status $code; the end of $OUT/$stage.log:"
        tail -n 12 "$OUT/$stage.log" | cut -c 1-400
    fi
done
"$python" -m triptych.benchmarks.gpu.table 2>&1 | tee "$OUT/table.txt" | cut -c 1-200
exit $status
