/* SPDX-License-Identifier: MIT */
/* serial.c: polled 16550 lines, COM1 for results and input, COM2 for diagnostics. */
#include "internal.h"

#include <stdarg.h>

enum {
    COM1 = 0x3F8,
    COM2 = 0x2F8,
    REG_DATA = 0,
    REG_INTERRUPTS = 1,
    REG_FIFO = 2,
    REG_LINE = 3,
    REG_MODEM = 4,
    REG_STATUS = 5,
    REG_SCRATCH = 7,
    STATUS_READY = 0x01,
    STATUS_FIFO_EMPTY = 0x20,
    STATUS_IDLE = 0x40,
    FIFO_BYTES = 16,
    POLL_LIMIT = 100000000, /* a line that never drains must not hang the machine */
    INPUT_BYTES = 4096,     /* a power of two */
    CTRL_C = 3,
    CTRL_D = 4,
    BACKSPACE = 8,
    DELETE = 127
};

static uint16_t diagnostic_line = COM1;
/* Bytes an idle COM1 takes at once. */
static size_t com1_burst = FIFO_BYTES;
static uint32_t serial_lock;
static bool serial_lock_broken;
/* A ring of bytes read ahead by q_bare_interrupted(). */
static char input_ring[INPUT_BYTES];
static uint32_t input_head;
static uint32_t input_tail;
static bool input_saw_cr;
static bool input_ended; /* Ctrl-D came behind a last line without an end */

static bool serial_setup(uint16_t line)
{
    out8((uint16_t)(line + REG_SCRATCH), 0x5A);
    if (in8((uint16_t)(line + REG_SCRATCH)) != 0x5A) {
        return false;
    }
    out8((uint16_t)(line + REG_INTERRUPTS), 0);
    out8((uint16_t)(line + REG_LINE), 0x80); /* divisor of 115200 baud */
    out8((uint16_t)(line + REG_DATA), 1);
    out8((uint16_t)(line + REG_INTERRUPTS), 0);
    out8((uint16_t)(line + REG_LINE), 0x03); /* 8 bits, no parity, 1 stop bit */
    out8((uint16_t)(line + REG_MODEM), 0x03);
    /* Switching the FIFOs on loses a byte that has already arrived. */
    const bool waiting = line == COM1 && (in8((uint16_t)(line + REG_STATUS)) & STATUS_READY) != 0;
    if (waiting) {
        com1_burst = 1;
    } else {
        out8((uint16_t)(line + REG_FIFO), 0x07);
    }
    return true;
}

void q_bare_serial_init(void)
{
    (void)serial_setup(COM1);
    if (serial_setup(COM2)) {
        diagnostic_line = COM2;
    }
}

static void serial_await(uint16_t line, uint8_t status)
{
    for (uint32_t i = 0; i < POLL_LIMIT; i++) {
        if ((in8((uint16_t)(line + REG_STATUS)) & status) != 0) {
            return;
        }
        cpu_pause();
    }
}

void q_bare_serial_drain(void)
{
    serial_await(COM1, STATUS_IDLE);
    serial_await(diagnostic_line, STATUS_IDLE);
}

void q_bare_serial_break_lock(void)
{
    __atomic_store_n(&serial_lock_broken, true, __ATOMIC_SEQ_CST);
}

static void serial_acquire(void)
{
    while (__atomic_exchange_n(&serial_lock, 1u, __ATOMIC_ACQUIRE) != 0) {
        if (__atomic_load_n(&serial_lock_broken, __ATOMIC_RELAXED)) {
            return;
        }
        cpu_pause();
    }
}

static void serial_release(void)
{
    __atomic_store_n(&serial_lock, 0u, __ATOMIC_RELEASE);
}

/* An empty FIFO takes 16 bytes at once: one status read and one string instruction for each 16. */
static void serial_send(uint16_t line, const char *text, size_t n)
{
    const size_t burst = line == COM1 ? com1_burst : FIFO_BYTES;
    while (n != 0) {
        size_t part = n < burst ? n : burst;
        n -= part;
        serial_await(line, STATUS_FIFO_EMPTY);
        __asm__ volatile("rep outsb" : "+S"(text), "+c"(part) : "d"(line) : "memory");
    }
}

void q_bare_write(const char *text, size_t n)
{
    serial_acquire();
    serial_send(COM1, text, n);
    serial_release();
}

/* ---- Formatting ------------------------------------------------------------------------------ */

static void serial_send_number(uint16_t line, uint64_t value, uint32_t base)
{
    char digits[20]; /* 2^64 has 20 decimal digits */
    size_t at = sizeof(digits);
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    serial_send(line, digits + at, sizeof(digits) - at);
}

static void serial_send_text(uint16_t line, const char *text)
{
    size_t n = 0;
    while (text[n] != '\0') {
        n++;
    }
    serial_send(line, text, n);
}

/* *format points behind a '%'; on return, at the last character of the conversion. */
static void serial_convert(uint16_t line, const char **format, va_list *args)
{
    if (**format == 's') {
        serial_send_text(line, va_arg(*args, const char *));
    } else if (**format == 'c') {
        const char c = (char)va_arg(*args, int);
        serial_send(line, &c, 1);
    } else if (**format == 'l' && ((*format)[1] == 'u' || (*format)[1] == 'x')) {
        ++*format;
        serial_send_number(line, va_arg(*args, uint64_t), **format == 'u' ? 10 : 16);
    } else {
        serial_send(line, *format, 1);
    }
}

static void serial_format(uint16_t line, const char *format, va_list *args)
{
    serial_acquire();
    while (*format != '\0') {
        size_t n = 0;
        while (format[n] != '\0' && format[n] != '%') {
            n++;
        }
        serial_send(line, format, n);
        format += n;
        if (format[0] == '%' && format[1] != '\0') {
            format++;
            serial_convert(line, &format, args);
        }
        format += *format != '\0' ? 1 : 0;
    }
    serial_release();
}

void q_bare_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    serial_format(diagnostic_line, format, &args);
    va_end(args);
}

void q_bare_print(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    serial_format(COM1, format, &args);
    va_end(args);
}

/* ---- Input ----------------------------------------------------------------------------------- */

static bool serial_ready(void)
{
    const uint8_t status = in8(COM1 + REG_STATUS);
    return status != 0xFF && (status & STATUS_READY) != 0;
}

/* Next byte, or -1 if none has arrived. */
static int serial_take(void)
{
    if (input_head != input_tail) {
        return (unsigned char)input_ring[input_tail++ % INPUT_BYTES];
    }
    return serial_ready() ? in8(COM1 + REG_DATA) : -1;
}

size_t q_bare_serial_read(char *to, size_t n)
{
    size_t got = 0;
    while (got < n) {
        const int c = serial_take();
        if (c < 0) {
            break;
        }
        to[got++] = (char)c;
    }
    return got;
}

bool q_bare_interrupted(void)
{
    bool hit = false;
    while (input_head - input_tail < INPUT_BYTES && serial_ready()) {
        const uint8_t c = in8(COM1 + REG_DATA);
        if (c == CTRL_C) {
            hit = true;
        } else {
            input_ring[input_head++ % INPUT_BYTES] = (char)c;
        }
    }
    return hit;
}

static int serial_await_byte(void)
{
    int c = serial_take();
    while (c < 0) {
        q_bare_apic_nap();
        c = serial_take();
    }
    return c;
}

/* Length of `text` without its last UTF-8 character. */
static size_t line_less_one(const char *text, size_t n)
{
    while (n != 0 && ((unsigned char)text[n - 1] & 0xC0u) == 0x80u) {
        n--;
    }
    return n != 0 ? n - 1 : 0;
}

/* The next byte that is not the LF of a CR LF. */
static int line_next_byte(void)
{
    for (;;) {
        const int c = serial_await_byte();
        const bool after_cr = input_saw_cr;
        input_saw_cr = c == '\r';
        if (c != '\n' || !after_cr) {
            return c;
        }
    }
}

/* Takes c into the line of *used bytes; false if there is no room for it. */
static bool line_take(char *to, size_t cap, size_t *used, char c, bool echo)
{
    if (c == BACKSPACE || c == DELETE) {
        const bool erased = *used != 0;
        *used = line_less_one(to, *used);
        if (echo && erased) {
            q_bare_write("\b \b", 3);
        }
        return true;
    }
    if (cap - *used <= 1) {
        return false;
    }
    to[(*used)++] = c;
    if (echo) {
        q_bare_write(&c, 1);
    }
    return true;
}

q_error_code q_bare_read_line(char *to, size_t cap, bool echo, size_t *n)
{
    size_t used = 0;
    bool fits = cap != 0;
    bool more = true;
    while (more) {
        const int c = input_ended ? CTRL_D : line_next_byte();
        if (c == CTRL_D && used == 0 && fits) {
            input_ended = false;
            return Q_ERR_CANCELLED;
        }
        input_ended = c == CTRL_D;
        more = c != '\n' && c != '\r' && c != CTRL_D;
        if (more) {
            fits = fits && line_take(to, cap, &used, (char)c, echo);
        }
    }
    if (echo) {
        q_bare_write("\r\n", 2);
    }
    if (!fits) {
        return Q_ERR_NO_SPACE;
    }
    to[used] = '\0';
    *n = used;
    return Q_OK;
}
