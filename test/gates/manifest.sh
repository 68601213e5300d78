#!/bin/sh
# SPDX-License-Identifier: MIT
# manifest.sh: the committed vectors are those of vectors/MANIFEST, all of them, and committed data stays under 21 MB.
. "$(dirname "$0")/gate.sh"

empty "every file of the manifest has its SHA-256" "$(sha256sum -c --quiet vectors/MANIFEST 2>&1)"
cut -c 67- vectors/MANIFEST | sort >"$GATES/listed"
find vectors -type f ! -path 'vectors/gen/*' ! -name MANIFEST ! -name README.md ! -name '*.py' ! -name '*.pyc' | sort >"$GATES/found"
empty "every data file is in the manifest" "$(comm -3 "$GATES/listed" "$GATES/found")"
if git rev-parse --git-dir >/dev/null 2>&1; then
    empty "committed data stays under 21 MB" \
        "$(git ls-files -z vectors test models | xargs -0 cat 2>/dev/null | wc -c | awk '$1 > 21000000 { print $1 " bytes" }')"
else
    skips "no git here"
fi
rm -f "$GATES/listed" "$GATES/found"
gate_end
