#!/bin/sh
# SPDX-License-Identifier: MIT
# test_install.sh: make install into a folder, and programs built and run with nothing but what lies there.
. "$(dirname "$0")/../gates/gate.sh"

TOP=$(pwd)
OUT=$TOP/build/installed
PREFIX=/opt/qorus
FILE=vectors/files/llama.qorus

rm -rf "$OUT"
mkdir -p "$OUT/app"
make -s install DESTDIR="$OUT" PREFIX="$PREFIX" >"$OUT/log" 2>&1 || fails "make install: $(tail -n 1 "$OUT/log")"
for file in include/qorus.h include/qorus_types.h include/qorus/model.h include/qorus/base/half.h include/port/posix/posix.h \
            lib/libqorus.a lib/pkgconfig/qorus.pc bin/qorus; do
    empty "$file is installed" "$([ -s "$OUT$PREFIX/$file" ] || echo missing)"
done
empty "every public header is installed as it is" "$(diff -r include "$OUT$PREFIX/include" | grep -v '^Only in .*: port$')"
empty "no installed header or text names the tree" "$(grep -rIlF -e "$TOP" -e '../../include/' "$OUT$PREFIX" | head -n 3)"

# value NAME: a line of the .pc file with its variables filled in, under DESTDIR.
value() {
    sed -n "s|^$1: ||p" "$OUT$PREFIX/lib/pkgconfig/qorus.pc" |
        sed -e 's|${includedir}|${prefix}/include|' -e 's|${libdir}|${prefix}/lib|' -e "s|\${prefix}|$OUT$PREFIX|"
}

if have pkg-config; then
    empty "pkg-config reads the file" "$(PKG_CONFIG_PATH=$OUT$PREFIX/lib/pkgconfig pkg-config --define-variable=prefix="$OUT$PREFIX" \
        --cflags --libs qorus 2>&1 | tr -s ' ' | sed 's/ $//' | grep -vxF -e "$(value Cflags) $(value Libs)")"
else
    skips "pkg-config is missing"
fi
empty "the prefix is the one asked for" "$(grep '^prefix=' "$OUT$PREFIX/lib/pkgconfig/qorus.pc" | grep -vxF "prefix=$PREFIX")"
empty "the version is that of the headers" \
    "$(printf '%s\n' '#include <qorus.h>' 'Q_VERSION_MAJOR.Q_VERSION_MINOR.Q_VERSION_PATCH' |
        gcc -E -P -I"$OUT$PREFIX/include" - | tail -n 1 | tr -d ' ' | grep -vxF "$(value Version)")"

cp examples/*.[ch] "$OUT/app/"
cat >"$OUT/app/port.c" <<'EOF'
#include <qorus.h>
#include <port/posix/posix.h>
#include <stdio.h>
int main(void)
{
    static q_posix posix;
    q_diag d;
    if (q_posix_init(&posix, 2, &d) != Q_OK || q_posix_port(&posix)->ticks == 0) {
        return 1;
    }
    q_posix_close(&posix);
    return puts(q_strerror(Q_OK)) < 0;
}
EOF
for cc in gcc clang; do
    have $cc || { skips "$cc is missing"; continue; }
    for name in 01_static_memory port; do
        # shellcheck disable=SC2046
        empty "$name compiles with $cc" \
            "$(cd "$OUT/app" && $cc -std=c11 -Wall -Wextra -Werror $(value Cflags) $name.c $(value Libs) -o $name 2>&1)"
    done
    for source in examples/*.c; do
        # shellcheck disable=SC2046
        empty "$source compiles with $cc from what is installed" \
            "$(cd "$OUT/app" && $cc -std=c11 -Wall -Wextra -Werror $(value Cflags) "${source##*/}" $(value Libs) -o program 2>&1)"
    done
    empty "the example runs ($cc)" "$("$OUT/app/01_static_memory" "$FILE" 'Hello there' >"$OUT/said" 2>&1 || head -n 3 "$OUT/said")"
    full "... and says something ($cc)" "$(head -c 20 "$OUT/said" | tr -d '\000')"
    empty "the port runs ($cc)" "$("$OUT/app/port" >/dev/null 2>&1 || echo failed)"
done
empty "the command runs" "$("$OUT$PREFIX/bin/qorus" inspect "$FILE" >/dev/null 2>&1 || echo failed)"
rm -rf "$OUT"
gate_end
