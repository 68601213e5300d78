/* SPDX-License-Identifier: MIT */
/* port.c: the end of a run, and words on the way there: exit, log, panic. */
#include "internal.h"

enum { DEBUG_EXIT = 0xF4, DEBUG_EXIT_BASE = 32 };

/* An exception ends in ring 0, everything else in ring 3. */
static void port_halt(void)
{
    uint32_t selector = 0;
    __asm__ volatile("movl %%cs, %0" : "=r"(selector));
    if ((selector & 3) == 0) {
        __asm__ volatile("cli\n\thlt");
    } else {
        cpu_sleep();
    }
}

Q_NORETURN void q_bare_exit(int code)
{
    const int limited = code < 0 ? 1 : code > Q_BARE_EXIT_MAX ? Q_BARE_EXIT_MAX : code;
    q_bare_serial_drain();
    out32(DEBUG_EXIT, (uint32_t)(DEBUG_EXIT_BASE + limited));
    q_bare_say("qorus: ended with code %lu; halted (no isa-debug-exit device at port 0xf4)\n",
               (uint64_t)limited);
    for (;;) {
        port_halt();
    }
}

void q_bare_log(void *user, q_log_level level, const char *text, size_t n)
{
    static const char *const NAMES[] = {"error: ", "warning: ", "", "debug: "};
    char line[256];
    size_t used = 0;
    (void)user;
    while (used < n && used < sizeof(line) - 1) {
        line[used] = text[used];
        used++;
    }
    line[used] = '\0';
    q_bare_say("%s%s\n", (unsigned)level < 4 ? NAMES[level] : "", line);
}

void q_bare_panic(void *user, const q_diag *diag)
{
    (void)user;
    q_bare_say("qorus: broken contract: error %c%lu, %s, %s, offset %lu, need %lu, have %lu\n",
               diag->code < 0 ? '-' : '+',
               (uint64_t)(diag->code < 0 ? -(int64_t)diag->code : diag->code), diag->what,
               diag->field, diag->offset, diag->need, diag->have);
    q_bare_exit(Q_BARE_EXIT_PANIC);
}
