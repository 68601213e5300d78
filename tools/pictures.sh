#!/bin/sh
# SPDX-License-Identifier: MIT
# pictures.sh [FOLDER]: makes the pictures of the README again, from scratch, into FOLDER (docs/pictures). Needs the command, the
# model (make model), the digits (make digits), build/venv, and Graphviz for the graph.
set -eu
OUT=${1:-docs/pictures}
MODEL=${MODEL:-models/smollm2-135m-instruct.qorus}
QORUS=${BUILD:-build}/qorus
PYTHON=build/venv/bin/python
WORK=build/pictures
mkdir -p "$OUT" $WORK

# A training: loss and accuracy, then which digit was taken for which among those held out.
"$QORUS" train examples/train/digits-cnn.train --out $WORK/digits-cnn.qorus \
    --metrics $WORK/digits-cnn.csv --log-every 5
"$QORUS" run $WORK/digits-cnn.qorus --input build/digits/test-images.idx --targets build/digits/test-labels.idx \
    --confusion $WORK/confusion.csv >/dev/null
$PYTHON tools/plot_metrics.py $WORK/digits-cnn.csv --only loss accuracy --log-loss \
    --title "digits-cnn: 1,438 digits train, 359 are held out" -o "$OUT/training.png"
$PYTHON tools/plot_confusion.py $WORK/confusion.csv --title "digits-cnn, held out" -o "$OUT/confusion.png"

# Its plans: what lies where in a training step of 32, and the steps of a run. One worker and the scalar backend: the same everywhere.
"$QORUS" plan $WORK/digits-cnn.qorus --train adamw --batch 32 -t 1 --backend scalar --svg >"$OUT/memory.svg"
"$QORUS" plan $WORK/digits-cnn.qorus --batch 32 -t 1 --backend scalar --dot >$WORK/graph.dot
if command -v dot >/dev/null; then
    dot -Tsvg $WORK/graph.dot >"$OUT/graph.svg"
else
    echo "pictures: Graphviz is missing: $OUT/graph.svg is not made (apt-get install graphviz)" >&2
fi

# Where the tokens of a prompt look.
$PYTHON tools/plot_attention.py "$MODEL" -p "The trophy does not fit in the suitcase because it is too big." \
    --layer 12 --heads 1 3 5 --command "$QORUS" -o "$OUT/attention.png"
