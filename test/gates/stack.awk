# SPDX-License-Identifier: MIT
# stack.awk: worst case of the stack from gcc's call graphs (-fcallgraph-info=su); run by stack.sh.
#
# With -v limit=N also "WAY" lines for functions above it: the frames of the deepest way down.
# Input: the table of indirect calls, then any number of .ci files. A function's need is its own frame plus the
# largest need among those it calls. Prints "FUNCTION BYTES" for every function with external linkage, and lines
# beginning with "!" for recursion and for indirect calls that the table does not list.

function quoted(text, key,    at, rest) {
    at = index(text, key ": \"")
    if (at == 0) return ""
    rest = substr(text, at + length(key) + 3)
    return substr(rest, 1, index(rest, "\"") - 1)
}

function add_edge(from, to) {
    if (!((from, to) in edge)) {
        edge[from, to] = 1
        calls[from] = calls[from] "\n" to
    }
}

function ends_with(text, end) {
    return substr(text, length(text) - length(end) + 1) == end
}

# The source text of "file:line:column", from a few columns before it on.
function source_line(place,    part, i, text) {
    split(place, part, ":")
    if (!(part[1] in loaded)) {
        loaded[part[1]] = 1
        i = 0
        while ((getline text < part[1]) > 0) source[part[1], ++i] = text
        close(part[1])
    }
    return source[part[1], part[2] + 0]
}

function add_indirect(from, place,    text, i, k, n, list) {
    text = source_line(place)
    if (match(text, /kernels(->|\.)[a-z0-9_]+\(/)) { # a slot by its name: that kernel of every backend
        text = substr(text, RSTART, RLENGTH - 1)
        sub(/^kernels(->|\.)/, "", text)
        add_edge(from, "q_" text "_scalar")
        add_edge(from, "q_" text "_avx2")
        add_edge(from, "q_" text "_avx2vnni")
        add_edge(from, "q_" text "_avx512")
        return
    }
    for (i = 1; i <= n_rules; i++) {
        if (index(text, rule_word[i])) {
            n = split(rule_to[i] == "-" ? "" : rule_to[i], list, ",")
            for (k = 1; k <= n; k++) add_edge(from, list[k])
            return
        }
    }
    print "! unlisted call through a pointer: " place ": " text
}

# Depth-first; the list of callees is split into an array that belongs to this level.
function need(f,    list, n, i, deepest, d) {
    if (f in known) return known[f]
    if (f in open_now) {
        print "! recursion through " f
        return 0
    }
    open_now[f] = 1
    deepest = 0
    n = split(calls[f], list, "\n")
    for (i = 2; i <= n; i++) {
        d = need(resolve(list[i]))
        if (d > deepest) {
            deepest = d
            below[f] = resolve(list[i])
        }
    }
    delete open_now[f]
    known[f] = frame[f] + deepest
    return known[f]
}

# The deepest way down from f, "name frame > name frame": groups of functions that a pointer may reach have no frame.
function way(f,    text) {
    text = ""
    for (; f != ""; f = below[f]) {
        if (f in frame) text = text (text == "" ? "" : " > ") f " " frame[f]
    }
    gsub(/[^ ]*:/, "", text)
    return text
}

# A rule may name a static function, whose title carries its file.
function resolve(name) {
    return (name in frame) || !(name in static_title) ? name : static_title[name]
}

FILENAME == ARGV[1] {
    if ($0 !~ /^#/ && NF >= 2) {
        rule_word[++n_rules] = $0
        rule_to[n_rules] = $NF
        sub(/[ \t]+[^ \t]+$/, "", rule_word[n_rules])
    }
    next
}

/^node:/ {
    title = quoted($0, "title")
    label = quoted($0, "label")
    if (match(label, /[0-9]+ bytes/)) {
        frame[title] = substr(label, RSTART, RLENGTH) + 0
        split(label, part, "\\\\n")
        where[title] = part[2]
        short = title
        if (sub(/^.*:/, "", short)) static_title[short] = title
    }
}

/^edge:/ {
    from = quoted($0, "sourcename")
    to = quoted($0, "targetname")
    if (to == "__indirect_call") {
        add_indirect(from, quoted($0, "label"))
    } else {
        add_edge(from, to)
    }
}

END {
    for (i = 1; i <= n_rules; i++) {
        if (rule_to[i] ~ /^@/) {
            split(substr(rule_to[i], 2), part, "*")
            for (f in frame) {
                if (index(where[f], part[1]) == 1 && ends_with(f, part[2])) add_edge(rule_to[i], f)
            }
        } else if (rule_to[i] != "-") {
            found = 0
            n = split(rule_to[i], list, ",")
            for (k = 1; k <= n; k++) found += resolve(list[k]) in frame
            if (!found) print "! no function " rule_to[i] " (test/gates/indirect_calls.txt)"
        }
    }
    for (f in frame) {
        d = need(f)
        if (f ~ /^q_/) print f, d
        if (f ~ /^q_/ && limit && d > limit) print "WAY", way(f)
    }
}
