#!/bin/sh
# SPDX-License-Identifier: MIT
# vectors.sh: generates every committed vector again; fails if a byte differs from before.
set -u
cd "$(dirname "$0")/.." || exit 1
PYTHON=build/venv/bin/python
GGUF=models/SmolLM2-135M-Instruct.Q4_1.gguf
before=$(mktemp)
trap 'rm -f "$before"' EXIT
sums() {
    find vectors -type f ! -path 'vectors/gen/*' ! -name '*.pyc' | sort | xargs sha256sum
}
sums >"$before"
"$PYTHON" vectors/gen/sampler_vectors.py || exit 1
"$PYTHON" vectors/gen/make_files.py || exit 1
if [ -f "$GGUF" ]; then
    if [ -f "${TEXT:-}" ]; then
        "$PYTHON" vectors/gen/tokenizer_vectors.py --model "$GGUF" --text "$TEXT" || exit 1
    else
        echo "vectors: those of the tokenizer need TEXT=, left as they are"
    fi
else
    echo "vectors: those of the tokenizer need the model (make model), left as they are"
fi
"$PYTHON" vectors/gen/make_vectors.py || exit 1
if ! sums | diff "$before" -; then
    echo "vectors: the files above came out differently" >&2
    exit 1
fi
echo "vectors: every file came out bit for bit"
