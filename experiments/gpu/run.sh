#!/usr/bin/env bash
# Trains the paper's full configuration on one GPU without network, BASE and CMN, then runs benchmarks.gpu.
#
#   DATA=data/iu_xray_224 bash experiments/gpu/run.sh
#
# Everything has a time limit and a log in OUT. A second call with the same variables skips what is done and resumes a
# training from its last checkpoint. The exit status is 1 if a step failed or ran out of time. Relative paths are relative
# to the checkout. Variables:
#
#   DATA       folder with annotation.json and images/ (required); shrink_images.py makes a small one
#   OUT        folder of the results, outputs/gpu; results.tar.gz in it has all of them but the checkpoints
#   MINUTES    of each training, 3; it ends by itself then, mid-epoch, and is tested
#   GRACE      seconds that a training may take beyond MINUTES to start, to cache the images and for its test, 120
#   BENCHMARK_SECONDS  limit of benchmarks.gpu, 240; its tables are kept as far as it came
#   WEIGHTS    weights of TRUNK (.pth); then BASE and CMN are trained with that trunk, too
#   TRUNK      timm name of the trunk of WEIGHTS, tf_efficientnet_lite0
#   WHEELS     folder of wheels of what this Python lacks; they are installed into OUT/site without their dependencies
#   FRACTION   dry run on the CPU: one epoch of this share of the training batches, such as 0.01, one batch of
#              validation and test, and benchmarks.gpu with tiny sizes
#   OPTIONS    more overrides of every training, separated by spaces
#   PYTHON     python3
#
# With the defaults two trainings and the benchmark take 14 minutes at most, four trainings 24.
set -u
cd "$(dirname "$0")/../.."
: "${DATA:?set DATA to a folder with annotation.json and images/}"
OUT=${OUT:-outputs/gpu} MINUTES=${MINUTES:-3} GRACE=${GRACE:-120} BENCHMARK_SECONDS=${BENCHMARK_SECONDS:-240}
WEIGHTS=${WEIGHTS:-} TRUNK=${TRUNK:-tf_efficientnet_lite0} WHEELS=${WHEELS:-} FRACTION=${FRACTION:-}
OPTIONS=${OPTIONS:-} PYTHON=${PYTHON:-python3}
mkdir -p "$OUT" || exit 1
OUT=$(cd "$OUT" && pwd) && DATA=$(cd "$DATA" && pwd) || exit 1
export PYTHONPATH="$PWD/src:$OUT/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
export R2CMN_CACHE=${R2CMN_CACHE:-$OUT/cache}
failed=0

step() { # NAME SECONDS COMMAND...: run a command once, within its time
    local name=$1 seconds=$2 status=0
    shift 2
    if [ -e "$OUT/$name.done" ]; then
        echo "$name: done before"
        return
    fi
    SECONDS=0
    timeout -k 20 "$seconds" "$@" >>"$OUT/$name.log" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        touch "$OUT/$name.done"
        echo "$name: done in $SECONDS s"
    else
        failed=1
        echo "$name: exit status $status after $SECONDS s of at most $seconds"
        tail -n 5 "$OUT/$name.log"
    fi
}

train() { # NAME OVERRIDES...: train and test, or resume; Lightning exits with 0 after a SIGTERM, so the result counts
    local name=$1 resume=()
    shift
    compgen -G "$OUT/$name/checkpoints/*.ckpt" >/dev/null && resume=(checkpoint=last)
    step "$name" "$training_seconds" sh -c '"$@" && test -e "$0/result.json"' "$OUT/$name" \
        "$PYTHON" -m r2cmn train experiment=iu_xray_paper data.dir="$DATA" run_dir="$OUT/$name" "${common[@]}" "$@" \
        $OPTIONS "${resume[@]}"
}

training_seconds=$(awk "BEGIN { print int(60 * $MINUTES + $GRACE) }")
workers=$(nproc)
common=(
    trainer.precision=bf16-mixed "+trainer.max_time={minutes: $MINUTES}" trainer.enable_progress_bar=false
    trainer.check_val_every_n_epoch=5 metrics.meteor=false baselines=false print_reports=false
    data.num_workers=$((workers < 8 ? workers : 8))
)
benchmark=(--dir "$DATA" --out "$OUT/benchmark.json")
if [ -n "$FRACTION" ]; then
    common+=(trainer.limit_train_batches="$FRACTION" trainer.limit_val_batches=1 trainer.limit_test_batches=1)
    common+=(trainer.max_epochs=1 trainer.check_val_every_n_epoch=1 trainer.accelerator=cpu)
    benchmark+=(--device cpu --tiny --rounds 1)
fi

if [ -n "$WHEELS" ]; then
    step wheels 120 "$PYTHON" -m pip install --no-index --no-deps --no-compile --upgrade --target "$OUT/site" "$WHEELS"/*.whl
fi
step imports 120 "$PYTHON" -c "import r2cmn.cli, hydra, pycocoevalcap, pytorch_lightning, timm, torchmetrics, wandb"
if [ ! -e "$OUT/imports.done" ]; then
    echo "r2cmn cannot be imported: put wheels of what is missing into a folder, WHEELS=FOLDER"
    exit 1
fi
for model in base cmn; do
    train "$model" model="$model" backbone.pretrained=false
done
if [ -n "$WEIGHTS" ]; then
    for model in base cmn; do
        train "${model}_$TRUNK" model="$model" backbone.name="$TRUNK" backbone.pretrained="$WEIGHTS"
    done
fi
step benchmark "$BENCHMARK_SECONDS" "$PYTHON" -m benchmarks.gpu "${benchmark[@]}"
for result in "$OUT"/*/result.json; do
    [ -e "$result" ] && "$PYTHON" -c '
import json, pathlib, sys
path = pathlib.Path(sys.argv[1])
result = json.loads(path.read_text(encoding="utf-8"))
print(path.parent.name, "epochs", result.get("epochs"), {k: round(v, 4) for k, v in result["scores"].items()})' "$result"
done
tar -czf "$OUT/results.tar.gz" -C "$OUT" --exclude=checkpoints --exclude=site --exclude=cache --exclude=results.tar.gz .
exit "$failed"
