/* SPDX-License-Identifier: MIT */
/* main.c: runs every CMocka suite and prints the line scripts look for. */
#include <stdio.h>

#include "host.h"

int main(void)
{
    static int (*const suites[])(unsigned *) = {host_base, host_mem, host_memory, host_pool, host_text};
    unsigned total = 0;
    unsigned failed = 0;
    for (size_t i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
        int now = suites[i](&total);
        failed += now < 0 ? 1u : (unsigned)now;
    }
    printf("%u passed, %u failed, 0 skipped\n", total - failed, failed);
    return failed == 0 ? 0 : 1;
}
