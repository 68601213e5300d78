/* SPDX-License-Identifier: MIT */
/* A training that saves itself to the machine's disk, with no operating system. Module 0: the trajectory's file. */
#include "../../port/bare-x86/bare.h"
#include "durable.h"

enum { WORDS = 16, BAD_WORDS = 2 };

void durable_say(const char *line)
{
    q_bare_print("%s\n", line);
}

int q_bare_main(const q_bare_boot *boot)
{
    static char store[1024];
    static q_port port;
    const char *words[WORDS];
    uint32_t n = 0;
    durable_options o;
    trajectory t;
    if (q_bare_split(boot->cmdline, store, sizeof(store), words, WORDS, &n) != Q_OK || !durable_read(&o, words, n) ||
        boot->n_modules != 1) {
        durable_say("usage: NETWORK STEPS EVERY [hold=CALL] [lost=SYNC...], and a module");
        return BAD_WORDS;
    }
    port = *boot->port;
    q_bare_disk_files(&port);
    host_begin(&port);
    trajectory_use(&t, o.network, boot->modules[0].base, boot->modules[0].size);
    o.path = "disk";
    return durable_train(&o, &t);
}
