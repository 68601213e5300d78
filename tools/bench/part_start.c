/* SPDX-License-Identifier: MIT */
/* part_start.c: `parts start`: how long a command takes to its first byte on stdout, and to its end. */
#define _POSIX_C_SOURCE 200809L
#include "parts.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MAX_REPETITIONS = 1000 };

/* One run; false if the command failed or wrote nothing. stderr goes to nowhere. */
static bool one_start(char *const *command, series *first, series *all)
{
    posix_spawn_file_actions_t actions;
    int ends[2];
    char byte[4096];
    double begin, seen;
    pid_t pid;
    int status;
    ssize_t n;
    if (pipe(ends) != 0 || posix_spawn_file_actions_init(&actions) != 0) {
        parts_fail("start: no pipe");
    }
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    (void)posix_spawn_file_actions_addclose(&actions, ends[0]);
    (void)posix_spawn_file_actions_addclose(&actions, ends[1]);
    (void)posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    begin = parts_seconds();
    if (posix_spawnp(&pid, command[0], &actions, NULL, command, environ) != 0) {
        parts_fail("start: the command cannot be run");
    }
    (void)close(ends[1]);
    n = read(ends[0], byte, 1);
    seen = parts_seconds();
    while (read(ends[0], byte, sizeof(byte)) > 0) {
    }
    (void)close(ends[0]);
    (void)waitpid(pid, &status, 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    series_add(first, (seen - begin) * 1e3);
    series_add(all, (parts_seconds() - begin) * 1e3);
    return n == 1 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int part_start(const char *const *words, int n)
{
    static series first, all;
    uint32_t repetitions = parts_number(words[0], MAX_REPETITIONS);
    (void)n;
    for (uint32_t i = 0; i <= repetitions; i++) {
        if (i == 1) {
            first.n = 0;
            all.n = 0;
        }
        if (!one_start((char *const *)(words + 1), &first, &all)) {
            parts_fail("start: the command failed or wrote nothing");
        }
    }
    series_sort(&first);
    series_sort(&all);
    (void)printf("{\"part\":\"start\",\"command\":\"%s\"", words[1]);
    series_print(&first, "first_ms");
    series_print(&all, "end_ms");
    (void)printf("}\n");
    return 0;
}
