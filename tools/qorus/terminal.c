/* SPDX-License-Identifier: MIT */
/* Raw mode that is always given back, and how many columns text takes. */
#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE
#include "terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before; /* the terminal as it was found */
static volatile sig_atomic_t raw;

/* ---- The terminal -----------------------------------------------------------------------------
 */

void terminal_back(void)
{
    if (raw) {
        raw = 0;
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    }
}

static void on_end(int signal_number)
{
    terminal_back();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

void terminal_raw(void)
{
    struct termios t;
    static bool prepared;
    if (!prepared) {
        static const int ends[] = {SIGTERM, SIGHUP, SIGQUIT, SIGABRT};
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
            if (signal(ends[i], on_end) == SIG_IGN) {
                (void)signal(ends[i], SIG_IGN);
            }
        }
        (void)atexit(terminal_back);
        prepared = true;
    }
    if (tcgetattr(STDIN_FILENO, &before) != 0) {
        return;
    }
    t = before;
    t.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    t.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN | ISIG);
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    raw = 1;
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &t) != 0) {
        raw = 0;
    }
}

size_t terminal_columns(void)
{
    struct winsize w;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 || ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0;
    return known && w.ws_col > 20 ? w.ws_col : 80;
}

void terminal_write(const char *bytes, size_t n)
{
    while (n != 0) {
        ssize_t done = write(STDOUT_FILENO, bytes, n);
        if (done <= 0) {
            return;
        }
        bytes += done;
        n -= (size_t)done;
    }
}

/* ---- Characters -------------------------------------------------------------------------------
 */

size_t utf8_character(const char *text, size_t at, size_t n, uint32_t *code)
{
    const unsigned char *s = (const unsigned char *)text + at;
    size_t length = s[0] < 0x80   ? 1
                    : s[0] < 0xC2 ? 0
                    : s[0] < 0xE0 ? 2
                    : s[0] < 0xF0 ? 3
                    : s[0] < 0xF5 ? 4
                                  : 0;
    *code = length < 2 ? s[0] : s[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (at + i >= n || (s[i] & 0xC0) != 0x80) {
            length = 0;
            break;
        }
        *code = *code << 6 | (s[i] & 0x3Fu);
    }
    if (length == 0) {
        *code = 0xFFFD;
        return 1;
    }
    return length;
}

static bool within(uint32_t code, const uint32_t (*ranges)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1]) {
            return true;
        }
    }
    return false;
}

size_t utf8_columns(uint32_t code)
{
    static const uint32_t none[][2] = {
        {0x300, 0x36F},   {0x483, 0x489},   {0x591, 0x5BD},   {0x610, 0x61A},   {0x64B, 0x65F},
        {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0x1F3FB, 0x1F3FF}};
    static const uint32_t wide[][2] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0xA4CF},
                                       {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},
                                       {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F},
                                       {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
    if (within(code, none, sizeof(none) / sizeof(none[0]))) {
        return 0;
    }
    return within(code, wide, sizeof(wide) / sizeof(wide[0])) ? 2 : 1;
}

size_t utf8_width(const char *text, size_t from, size_t to)
{
    size_t w = 0;
    while (from < to) {
        uint32_t code;
        from += utf8_character(text, from, to, &code);
        w += utf8_columns(code);
    }
    return w;
}
