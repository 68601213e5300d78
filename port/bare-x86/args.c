/* SPDX-License-Identifier: MIT */
/* args.c: a command line, split into words. */
#include "bare.h"

typedef struct splitter {
    const char *at;
    char *to;
    size_t left; /* bytes of the store */
} splitter;

static bool split_put(splitter *s, char c)
{
    if (s->left == 0) {
        return false;
    }
    *s->to++ = c;
    s->left--;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* True if a backslash before c is an escape; quote is the open one or 0. */
static bool is_escape(char quote, char c)
{
    return c != '\0' && quote != '\'' && (quote == '\0' || c == '"' || c == '\\');
}

/* One word, from its first character to the blank after it. */
static q_error_code split_word(splitter *s)
{
    char quote = '\0';
    while (*s->at != '\0' && (quote != '\0' || !is_blank(*s->at))) {
        char c = *s->at++;
        if (quote != '\0' ? c == quote : c == '"' || c == '\'') {
            quote = quote != '\0' ? '\0' : c;
            continue;
        }
        if (c == '\\' && is_escape(quote, *s->at)) {
            c = *s->at++;
        }
        if (!split_put(s, c)) {
            return Q_ERR_NO_SPACE;
        }
    }
    if (quote != '\0') {
        return Q_ERR_INVALID_ARG;
    }
    return split_put(s, '\0') ? Q_OK : Q_ERR_NO_SPACE;
}

q_error_code q_bare_split(const char *line, char *store, size_t cap, const char **argv,
                          uint32_t max_args, uint32_t *n_args)
{
    splitter s = {line, store, cap};
    uint32_t count = 0;
    for (;;) {
        while (is_blank(*s.at)) {
            s.at++;
        }
        if (*s.at == '\0') {
            *n_args = count;
            return Q_OK;
        }
        if (count == max_args) {
            return Q_ERR_NO_SPACE;
        }
        argv[count++] = s.to;
        const q_error_code e = split_word(&s);
        if (e != Q_OK) {
            return e;
        }
    }
}
