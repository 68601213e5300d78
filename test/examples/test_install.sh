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
            lib/libqorus.a lib/pkgconfig/qorus.pc lib/cmake/qorus/qorusConfig.cmake lib/cmake/qorus/qorusConfigVersion.cmake \
            bin/qorus; do
    empty "$file is installed" "$([ -s "$OUT$PREFIX/$file" ] || echo missing)"
done
empty "every public header is installed as it is" "$(diff -r include "$OUT$PREFIX/include" | grep -v '^Only in .*: port$')"
empty "no installed header or text names the tree" "$(grep -rIlF -e "$TOP" -e '../../include/' "$OUT$PREFIX" | head -n 3)"

# value NAME: a line of the .pc file with its variables filled in, under DESTDIR.
value() {
    sed -n "s|^$1: ||p" "$OUT$PREFIX/lib/pkgconfig/qorus.pc" |
        sed -e 's|${includedir}|${prefix}/include|' -e 's|${libdir}|${prefix}/lib|' -e "s|\${prefix}|$OUT$PREFIX|"
}

# of_pkg_config ARGUMENTS: what pkg-config says of the library under DESTDIR.
of_pkg_config() {
    PKG_CONFIG_PATH=$OUT$PREFIX/lib/pkgconfig pkg-config --define-variable=prefix="$OUT$PREFIX" "$@" qorus
}

if have pkg-config; then
    empty "pkg-config reads the file" "$(of_pkg_config --cflags --libs 2>&1 | tr -s ' ' | sed 's/ $//' | grep -vxF -e "$(value Cflags) $(value Libs)")"
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

# ---- Somebody's projects ------------------------------------------------------------------------------------

# in_project NAME COMMAND: runs it in a new folder that holds the first example as app.c.
in_project() {
    mkdir -p "$OUT/$1"
    cp examples/01_static_memory.c "$OUT/$1/app.c"
    (cd "$OUT/$1" && shift && "$@" 2>&1)
}

cc_and_pkg_config() {
    # shellcheck disable=SC2046
    cc app.c $(of_pkg_config --cflags --libs) -o app && ./app "$TOP/$FILE" 'Hello there' >/dev/null
}

# cmake_project VERSION: finds that version of the package, builds and runs.
cmake_project() {
    printf '%s\n' 'cmake_minimum_required(VERSION 3.13)' 'project(app C)' "find_package(qorus $1 REQUIRED)" \
        'add_executable(app app.c)' 'target_link_libraries(app PRIVATE qorus::qorus)' >CMakeLists.txt
    rm -rf out
    { cmake -S . -B out -DCMAKE_PREFIX_PATH="$OUT$PREFIX" && cmake --build out; } >log 2>&1 || { tail -n 20 log; return 1; }
    out/app "$TOP/$FILE" 'Hello there' >/dev/null
}

if have pkg-config; then
    empty "a project with pkg-config" "$(in_project consumer cc_and_pkg_config || echo failed)"
fi
if have cmake; then
    version=$(value Version)
    major=${version%%.*}
    empty "a project with CMake" "$(in_project consumer cmake_project "$version" || echo failed)"
    empty "CMake: any version" "$(in_project consumer cmake_project '' || echo failed)"
    for wrong in $((major + 1)) $((major - 1)) "$major.999"; do
        full "CMake: version $wrong of $version" "$(in_project consumer cmake_project "$wrong" | grep 'version: ')"
    done
else
    skips "cmake is missing"
fi
full "a path with a space" "$(make -s install DESTDIR="$OUT/a b" PREFIX="$PREFIX" 2>&1 | grep 'holds a space')"
empty "... and nothing was written there" "$(ls -d "$OUT/a" "$OUT/a b" b 2>/dev/null)"
empty "the command runs" "$("$OUT$PREFIX/bin/qorus" inspect "$FILE" >/dev/null 2>&1 || echo failed)"
rm -rf "$OUT"
gate_end
