/* SPDX-License-Identifier: MIT */
/* Files that appear under their name only when they are complete. */
#define _POSIX_C_SOURCE 200809L
#include "output.h"

#include <sys/stat.h>

#include "host.h"

bool output_open(output *out, const char *path)
{
    struct stat facts;
    out->path = path;
    out->in_place = stat(path, &facts) == 0 && !S_ISREG(facts.st_mode);
    out->file = NULL;
    if (snprintf(out->part, sizeof(out->part), "%s%s", path, out->in_place ? "" : ".part") < (int)sizeof(out->part)) {
        out->file = fopen(out->part, "wb");
    }
    if (out->file == NULL) {
        say("%s: cannot be written", path);
    }
    return out->file != NULL;
}

bool output_close(output *out, bool keep)
{
    bool ok = true;
    if (out->file == NULL) {
        return true;
    }
    if (fclose(out->file) != 0 || (keep && !out->in_place && rename(out->part, out->path) != 0)) {
        say("%s: cannot be written", out->path);
        ok = false;
    }
    if (!(ok && keep) && !out->in_place) {
        (void)remove(out->part);
    }
    out->file = NULL;
    return ok;
}
