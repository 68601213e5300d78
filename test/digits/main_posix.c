/* SPDX-License-Identifier: MIT */
/*
 * digits PACK MODEL: trains on the fastest backend, with one worker and with three; then looks at MODEL, which `qorus train`
 * made. Each time a line: hash of the parameters, images that are right, of how many, backend or "command", workers.
 */
#include <stdio.h>

#include "../../tools/common/backends.h"
#include "digits.h"

static void print(const digits_outcome *o, const char *who)
{
    printf("%s %u %u %s %u\n", o->hex, o->right, o->images, who, o->workers);
}

int main(int argc, char **argv)
{
    const q_port *port = host_port();
    size_t size = 0;
    size_t model_size = 0;
    const void *pack;
    const void *model;
    digits_outcome o;
    q_backend backend;
    q_file file;
    q_diag d;
    if (argc != 3) {
        printf("usage: digits PACK MODEL\n");
        return 2;
    }
    pack = host_read(argv[1], &size);
    backend_best(&backend, port->cpu_features(port->user));
    for (uint32_t workers = 1; workers <= 3; workers += 2) {
        o = digits_train(pack, size, &backend, workers, NULL);
        print(&o, backend.name);
    }
    model = host_read(argv[2], &model_size);
    if (q_file_open(&file, model, model_size, NULL, 0, &d) != Q_OK) {
        host_fail(d.what, d.field, d.need, d.have);
    }
    o = digits_train(pack, size, &backend, 1, &file);
    print(&o, "command");
    return 0;
}
