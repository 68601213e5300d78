/* SPDX-License-Identifier: MIT */
/*
 * The same training on POSIX, and a look at what a file holds:
 *
 *   durable FOLDER FILE NETWORK STEPS EVERY ...   trains
 *   durable FOLDER look NETWORK                   a line for every path that comes in
 */
#include <stdio.h>
#include <string.h>

#include "durable.h"

void durable_say(const char *line)
{
    (void)puts(line);
    (void)fflush(stdout);
}

static int look(const char *name, const trajectory *t)
{
    char path[512];
    bench b;
    durable_open(&b, name, t);
    while (fgets(path, sizeof(path), stdin) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        durable_look(path, &b);
    }
    bench_close(&b);
    return 0;
}

int main(int argc, char **argv)
{
    durable_options o;
    trajectory t;
    int code;
    if (argc == 4 && strcmp(argv[2], "look") == 0) {
        trajectory_open(&t, argv[1], argv[3]);
        code = look(argv[3], &t);
    } else if (argc > 3 && durable_read(&o, (const char *const *)argv + 3, (uint32_t)argc - 3)) {
        o.path = argv[2];
        trajectory_open(&t, argv[1], o.network);
        code = durable_train(&o, &t);
    } else {
        (void)fprintf(stderr, "usage: durable FOLDER FILE NETWORK STEPS EVERY [hold=CALL] [lost=SYNC...] | "
                              "FOLDER look NETWORK\n");
        return 2;
    }
    trajectory_close(&t);
    return code;
}
