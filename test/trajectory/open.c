/* SPDX-License-Identifier: MIT */
/* Trajectories in files. */
#include <stdio.h>

#include "trajectory.h"

void trajectory_open(trajectory *t, const char *folder, const char *name)
{
    char path[512];
    size_t size = 0;
    (void)snprintf(path, sizeof(path), "%s/%s.qtrj", folder, name);
    t->bytes = host_read(path, &size);
    trajectory_use(t, name, t->bytes, size);
}

void trajectory_close(trajectory *t)
{
    host_give((void *)(uintptr_t)t->bytes);
    t->bytes = NULL;
}
