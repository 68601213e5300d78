/* SPDX-License-Identifier: MIT */
/* Reading and editing one line. Positions are bytes; the cursor always stands between characters.
 */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include "line.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "terminal.h"

enum { HISTORY = 64, ESCAPE_WAIT_MS = 50, SCREEN = 4096 };

/* Keys beyond the bytes. */
enum {
    KEY_LEFT = 256,
    KEY_RIGHT,
    KEY_UP,
    KEY_DOWN,
    KEY_HOME,
    KEY_END,
    KEY_DELETE,
    KEY_NONE,
    KEY_EOF
};

/* Control characters. */
#define CTRL(letter) ((letter)&31)

typedef struct editor {
    const char *prompt;
    char *text;
    size_t cap;
    size_t n;
    size_t at;      /* cursor */
    size_t shown;   /* first byte on the screen */
    uint32_t index; /* line of the history that is shown; n_history: the new one */
    char *draft;    /* the new line while an old one is shown */
} editor;

static char *history[HISTORY]; /* oldest first */
static uint32_t n_history;

/* ---- Moving -----------------------------------------------------------------------------------
 */

/* The character boundary before and behind a position; combining marks stay with their base. */
static size_t left_of(const editor *e, size_t at)
{
    size_t best = 0;
    for (size_t i = 0; i < at;) {
        uint32_t code;
        size_t length = utf8_character(e->text, i, e->n, &code);
        best = i == 0 || utf8_columns(code) != 0 ? i : best;
        i += length;
    }
    return best;
}

static size_t right_of(const editor *e, size_t at)
{
    uint32_t code;
    if (at == e->n) {
        return at;
    }
    at += utf8_character(e->text, at, e->n, &code);
    while (at < e->n) {
        size_t length = utf8_character(e->text, at, e->n, &code);
        if (utf8_columns(code) != 0) {
            break;
        }
        at += length;
    }
    return at;
}

/* ---- The screen -------------------------------------------------------------------------------
 */

/* Draws prompt and text in one row, scrolled so that the cursor is in it. */
static void draw(editor *e)
{
    static char screen[SCREEN];
    size_t room = terminal_columns() - 1;
    size_t used = strlen(e->prompt);
    size_t end;
    int length;
    room = room > used ? room - used : 1;
    if (e->at < e->shown) {
        e->shown = e->at;
    }
    while (utf8_width(e->text, e->shown, e->at) > room) {
        e->shown = right_of(e, e->shown);
    }
    end = e->at;
    while (end < e->n && utf8_width(e->text, e->shown, right_of(e, end)) <= room &&
           right_of(e, end) - e->shown < SCREEN / 2) {
        end = right_of(e, end);
    }
    length = snprintf(screen, sizeof(screen), "\r%s%.*s\x1b[K\r\x1b[%zuC", e->prompt,
                      (int)(end - e->shown), e->text + e->shown,
                      used + utf8_width(e->text, e->shown, e->at));
    if (length > 0) {
        terminal_write(screen,
                       (size_t)length < sizeof(screen) ? (size_t)length : sizeof(screen) - 1);
    }
}

/* ---- Keys -------------------------------------------------------------------------------------
 */

static int next_byte(void)
{
    unsigned char c;
    ssize_t n;
    do {
        n = read(STDIN_FILENO, &c, 1);
    } while (n < 0 && errno == EINTR);
    return n == 1 ? c : KEY_EOF;
}

static bool more_soon(void)
{
    struct pollfd p = {STDIN_FILENO, POLLIN, 0};
    return poll(&p, 1, ESCAPE_WAIT_MS) == 1;
}

/* Behind an escape: "[A", "OA", "[3~", "[1;5C"; parameters are read over, modifiers ignored. */
static int escape_key(void)
{
    int c;
    int number = 0;
    if (!more_soon()) {
        return KEY_NONE;
    }
    c = next_byte();
    if (c != '[' && c != 'O') {
        return KEY_NONE;
    }
    c = next_byte();
    for (bool first = true; (c >= '0' && c <= '9') || c == ';'; c = next_byte()) {
        first = first && c != ';';
        number = first && number < 100 ? number * 10 + (c - '0') : number;
    }
    switch (c) {
    case 'A':
        return KEY_UP;
    case 'B':
        return KEY_DOWN;
    case 'C':
        return KEY_RIGHT;
    case 'D':
        return KEY_LEFT;
    case 'H':
        return KEY_HOME;
    case 'F':
        return KEY_END;
    case '~':
        return number == 3                  ? KEY_DELETE
               : number == 1 || number == 7 ? KEY_HOME
               : number == 4 || number == 8 ? KEY_END
                                            : KEY_NONE;
    default:
        return KEY_NONE;
    }
}

static int next_key(void)
{
    int c = next_byte();
    switch (c) {
    case 27:
        return escape_key();
    case CTRL('A'):
        return KEY_HOME;
    case CTRL('E'):
        return KEY_END;
    case CTRL('B'):
        return KEY_LEFT;
    case CTRL('F'):
        return KEY_RIGHT;
    case CTRL('P'):
        return KEY_UP;
    case CTRL('N'):
        return KEY_DOWN;
    default:
        return c;
    }
}

/* ---- Editing ----------------------------------------------------------------------------------
 */

static void cut(editor *e, size_t from, size_t to)
{
    memmove(e->text + from, e->text + to, e->n - to);
    e->n -= to - from;
    e->at = from;
}

static void insert(editor *e, const char *bytes, size_t n)
{
    if (n >= e->cap - e->n) {
        terminal_write("\a", 1);
        return;
    }
    memmove(e->text + e->at + n, e->text + e->at, e->n - e->at);
    memcpy(e->text + e->at, bytes, n);
    e->n += n;
    e->at += n;
}

/* A typed character: its first byte has been read, the others follow. */
static void insert_typed(editor *e, int first)
{
    char bytes[4];
    size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    size_t n = 1;
    bytes[0] = (char)first;
    while (n < length) {
        int c = next_byte();
        if (c == KEY_EOF) {
            return;
        }
        bytes[n++] = (char)c;
    }
    insert(e, bytes, n);
}

static void cut_word(editor *e)
{
    size_t from = e->at;
    while (from != 0 && e->text[from - 1] == ' ') {
        from--;
    }
    while (from != 0 && e->text[from - 1] != ' ') {
        from--;
    }
    cut(e, from, e->at);
}

static void show_line(editor *e, const char *line)
{
    size_t n = strlen(line);
    e->n = n < e->cap ? n : e->cap - 1;
    memcpy(e->text, line, e->n);
    e->at = e->n;
    e->shown = 0;
}

/* The line above or below in the history; the new line is kept aside meanwhile. */
static void browse(editor *e, bool up)
{
    if (up ? e->index == 0 : e->index == n_history) {
        return;
    }
    if (e->index == n_history) {
        free(e->draft);
        e->text[e->n] = '\0';
        e->draft = strdup(e->text);
    }
    e->index = up ? e->index - 1 : e->index + 1;
    show_line(e, e->index != n_history ? history[e->index] : e->draft != NULL ? e->draft : "");
}

static void remember(const char *line)
{
    char *copy;
    if (*line == '\0' || (n_history != 0 && strcmp(history[n_history - 1], line) == 0) ||
        (copy = strdup(line)) == NULL) {
        return;
    }
    if (n_history == HISTORY) {
        free(history[0]);
        memmove(history, history + 1, (HISTORY - 1) * sizeof(history[0]));
        n_history--;
    }
    history[n_history++] = copy;
}

static void suspend(void)
{
    terminal_back();
    (void)raise(SIGTSTP);
    terminal_raw();
}

/* A key that moves or changes something within the line. */
static void apply(editor *e, int key)
{
    switch (key) {
    case KEY_LEFT:
        e->at = left_of(e, e->at);
        break;
    case KEY_RIGHT:
        e->at = right_of(e, e->at);
        break;
    case KEY_HOME:
        e->at = 0;
        break;
    case KEY_END:
        e->at = e->n;
        break;
    case KEY_UP:
    case KEY_DOWN:
        browse(e, key == KEY_UP);
        break;
    case 127:
    case CTRL('H'):
        cut(e, left_of(e, e->at), e->at);
        break;
    case KEY_DELETE:
    case CTRL('D'):
        cut(e, e->at, right_of(e, e->at));
        break;
    case CTRL('U'):
        cut(e, 0, e->at);
        break;
    case CTRL('K'):
        e->n = e->at;
        break;
    case CTRL('W'):
        cut_word(e);
        break;
    case CTRL('L'):
        terminal_write("\x1b[H\x1b[2J", 7);
        break;
    case CTRL('Z'):
        suspend();
        break;
    default:
        if (key >= ' ' && key < 256) {
            insert_typed(e, key);
        }
    }
}

/* One key. True: the line is done, *result says how. */
static bool take(editor *e, int key, line_result *result)
{
    if (key == '\r' || key == '\n') {
        *result = LINE_DONE;
    } else if (key == CTRL('C')) {
        *result = LINE_INTERRUPT;
    } else if (key == KEY_EOF || (key == CTRL('D') && e->n == 0)) {
        *result = LINE_END;
    } else {
        apply(e, key);
        return false;
    }
    return true;
}

static line_result edit(const char *prompt, char *to, size_t cap, size_t *n)
{
    editor e;
    line_result result = LINE_DONE;
    memset(&e, 0, sizeof(e));
    e.prompt = prompt;
    e.text = to;
    e.cap = cap;
    e.index = n_history;
    terminal_raw();
    do {
        draw(&e);
    } while (!take(&e, next_key(), &result));
    e.at = e.n;
    draw(&e);
    terminal_back();
    terminal_write("\n", 1);
    free(e.draft);
    to[e.n] = '\0';
    *n = e.n;
    if (result == LINE_DONE) {
        remember(to);
    }
    return result;
}

/* ---- Plain reading ----------------------------------------------------------------------------
 */

static line_result read_plain(char *to, size_t cap, size_t *n)
{
    int c;
    bool fits = true;
    *n = 0;
    errno = 0;
    while ((c = getchar()) != EOF && c != '\n') {
        fits = fits && *n + 1 < cap;
        if (fits) {
            to[(*n)++] = (char)c;
        }
    }
    if (c == EOF && errno == EINTR) {
        clearerr(stdin);
        return LINE_INTERRUPT;
    }
    if (*n != 0 && to[*n - 1] == '\r') {
        (*n)--;
    }
    to[*n] = '\0';
    if (!fits) {
        return LINE_TOO_LONG;
    }
    return c == EOF && *n == 0 ? LINE_END : LINE_DONE;
}

bool line_edits(void)
{
    const char *term = getenv("TERM");
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term != NULL && *term != '\0' &&
           strcmp(term, "dumb") != 0;
}

line_result line_read(const char *prompt, char *to, size_t cap, size_t *n)
{
    if (line_edits()) {
        return edit(prompt, to, cap, n);
    }
    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
        terminal_write(prompt, strlen(prompt));
    }
    return read_plain(to, cap, n);
}
