/* SPDX-License-Identifier: MIT */
/* Values of nodes as .npy files (NumPy's format, version 1.0): a header of fixed length, filled in at the end, then rows. */
#include "dump.h"

#include <string.h>

enum { HEADER = 128 };

bool dump_open(dump *d, options *o)
{
    o->no_fuse = o->no_fuse || o->n_dumps != 0;
    for (d->n = 0; d->n < o->n_dumps; d->n++) {
        static const char zeros[HEADER];
        dump_file *f = &d->file[d->n];
        const char *word = o->dumps[d->n];
        size_t n = strcspn(word, "=");
        if (n > Q_CAP_NAME) {
            say("--dump: no node has a name of %zu bytes", n);
            return false;
        }
        memcpy(f->node, word, n);
        if (!output_open(&f->out, word + n + 1)) {
            return false;
        }
        (void)fwrite(zeros, 1, HEADER, f->out.file);
    }
    return true;
}

bool dump_knows(const dump *d, const q_model *model)
{
    for (uint32_t i = 0; i < d->n; i++) {
        bool found = false;
        for (uint32_t k = 0; k < q_model_n_nodes(model) && !found; k++) {
            found = strcmp(q_model_node_name(model, k), d->file[i].node) == 0;
        }
        if (!found) {
            say("--dump: the model has no node '%s': qorus plan MODEL --no-fuse lists them", d->file[i].node);
            return false;
        }
    }
    return true;
}

/* Steps that the plan puts beside a node have its name, but no values of its own. */
static bool is_node(const q_layer *l)
{
    return (l->out[0]->dtype == Q_F32 || l->out[0]->dtype == Q_I32) && l->type != Q_LAYER_FOLD;
}

q_error_code dump_see(dump *d, const q_observation *seen)
{
    const q_layer *l = seen->layer;
    for (uint32_t i = 0; i < d->n; i++) {
        dump_file *f = &d->file[i];
        const q_tensor *t = l->out[0];
        uint32_t rows = q_count_value(seen->run, l->out_rows[0]);
        if (strcmp(f->node, l->name) != 0 || !is_node(l)) {
            continue;
        }
        f->dtype = t->dtype;
        f->columns = t->ne[3];
        f->rows += rows;
        for (uint32_t r = 0; r < rows; r++) {
            if (fwrite((const char *)t->data + (size_t)r * t->nb[2], 4, f->columns, f->out.file) != f->columns) {
                return Q_ERR_IO;
            }
        }
    }
    return Q_OK;
}

/* Magic, version 1.0, bytes of the text, the text padded with spaces to a line of its own. */
static bool write_header(dump_file *f)
{
    char text[HEADER + 1];
    int n;
    memset(text, ' ', sizeof(text));
    memcpy(text, "\x93NUMPY\x01\x00", 8);
    text[8] = HEADER - 10;
    text[9] = 0;
    n = snprintf(text + 10, HEADER - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (%llu, %u), }",
                 f->dtype == Q_F32 ? "<f4" : "<i4", (unsigned long long)f->rows, f->columns);
    text[10 + n] = ' ';
    text[HEADER - 1] = '\n';
    return fseek(f->out.file, 0, SEEK_SET) == 0 && fwrite(text, 1, HEADER, f->out.file) == HEADER;
}

int dump_close(dump *d, int status)
{
    for (uint32_t i = 0; i < d->n && status == EXIT_DONE; i++) {
        dump_file *f = &d->file[i];
        if (f->rows == 0) {
            say("--dump: the plan leaves node '%s' out: it feeds no output, or changes nothing when a model runs", f->node);
            status = EXIT_FAILED;
        } else if (!write_header(f)) {
            say("%s: cannot be written: .npy needs a file that can be sought", f->out.path);
            status = EXIT_FAILED;
        }
    }
    for (uint32_t i = 0; i < OPTIONS_MAX_DUMPS; i++) {
        dump_file *f = &d->file[i];
        bool open = f->out.file != NULL;
        if (!output_close(&f->out, status == EXIT_DONE)) {
            status = EXIT_FAILED;
        } else if (open && status == EXIT_DONE) {
            (void)fprintf(stderr, "[%s: %llu rows of %u in %s]\n", f->node, (unsigned long long)f->rows, f->columns,
                          f->out.path);
        }
    }
    return status;
}
