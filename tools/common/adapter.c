/* SPDX-License-Identifier: MIT */
/* Files of adapters. */
#include "adapter.h"

#include "qorus/base/mem.h"
#include "qorus/base/panel.h"
#include "qorus/base/text.h"

static const char part_a[] = ".lora_a";
static const char part_b[] = ".lora_b";
enum { PART_BYTES = sizeof(part_a) - 1, NAME_BYTES = Q_CAP_NAME + PART_BYTES + 1 };

static size_t text_bytes(const char *s)
{
    size_t n = 0;
    while (s[n] != '\0') {
        n++;
    }
    return n;
}

static bool ends_with(const char *name, const char *part)
{
    size_t n = text_bytes(name);
    return n > PART_BYTES && memcmp(name + n - PART_BYTES, part, PART_BYTES) == 0;
}

bool adapter_keeps(void *unused, const char *name)
{
    (void)unused;
    return ends_with(name, part_a) || ends_with(name, part_b);
}

void adapter_note(char *text, uint32_t rank, double alpha)
{
    q_text t;
    q_text_init(&t, text, ADAPTER_NOTE_BYTES);
    q_text_str(&t, "lora_rank: ");
    q_text_u64(&t, rank, 0);
    q_text_str(&t, "\nlora_alpha: ");
    q_text_fixed(&t, alpha, 6, 0);
    q_text_str(&t, "\n");
}

/* A number like -12.5 at p; false if there is none before end. */
static bool read_number(const char *p, const char *end, double *out)
{
    bool negative = p < end && *p == '-';
    double unit = 0;
    double value = 0;
    uint32_t digits = 0;
    for (p += negative ? 1 : 0; p < end && *p != '\n'; p++) {
        if (*p == '.' && unit == 0) {
            unit = 1;
        } else if (*p >= '0' && *p <= '9' && digits < 18) {
            value = value * 10 + (*p - '0');
            unit *= 10;
            digits++;
        } else {
            return false;
        }
    }
    *out = (negative ? -value : value) / (unit != 0 ? unit : 1);
    return digits != 0;
}

q_error_code adapter_alpha(const q_file *adapters, double *alpha, q_diag *diag)
{
    static const char key[] = "lora_alpha: ";
    size_t n = 0;
    const char *text = (const char *)q_file_section_data(adapters, Q_SECTION_META, &n);
    for (size_t i = 0; text != NULL && i + sizeof(key) - 1 < n; i++) {
        if ((i == 0 || text[i - 1] == '\n') && memcmp(text + i, key, sizeof(key) - 1) == 0 &&
            read_number(text + i + sizeof(key) - 1, text + n, alpha)) {
            return Q_OK;
        }
    }
    if (diag != NULL) {
        *diag = (q_diag){.code = Q_ERR_NOT_FOUND, .what = "adapters", .field = "lora_alpha"};
    }
    return Q_ERR_NOT_FOUND;
}

/* ---- Merging ---------------------------------------------------------------------------------------------- */

static const char *tensor_name(const q_file *file, uint32_t tensor)
{
    return q_file_name(file, q_file_record(file, tensor)->name_offset);
}

static bool find_part(const adapter_merge *m, uint32_t tensor, const char *part, q_tensor *out)
{
    const char *name = tensor_name(m->model, tensor);
    char whole[NAME_BYTES];
    uint32_t index;
    q_text t;
    q_text_init(&t, whole, sizeof(whole));
    q_text_str(&t, name);
    q_text_str(&t, part);
    if (!q_text_fits(&t) || q_file_find(m->adapters, whole, text_bytes(whole), &index) != Q_OK) {
        return false;
    }
    q_file_tensor(m->adapters, index, out);
    return true;
}

static bool merge_adjusts(void *user, uint32_t tensor)
{
    q_tensor a;
    return find_part((const adapter_merge *)user, tensor, part_a, &a);
}

static uint32_t merge_type(void *user, uint32_t tensor)
{
    const adapter_merge *m = (const adapter_merge *)user;
    return m->dtype != ADAPTER_KEEP_TYPES ? m->dtype : q_file_record(m->model, tensor)->dtype;
}

/* Element of a matrix of F32 in panels. */
static double panel_element(const q_tensor *t, size_t row, size_t column)
{
    const float *panel = (const float *)t->data + row / Q_PANEL_ROWS * ((size_t)t->ne[3] * Q_PANEL_ROWS);
    return (double)panel[column * Q_PANEL_ROWS + row % Q_PANEL_ROWS];
}

static void merge_adjust(void *user, uint32_t tensor, size_t row, size_t rows, float *values)
{
    const adapter_merge *m = (const adapter_merge *)user;
    q_tensor a;
    q_tensor b;
    double scale;
    if (!find_part(m, tensor, part_a, &a) || !find_part(m, tensor, part_b, &b)) {
        return;
    }
    scale = m->alpha / a.ne[2];
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < a.ne[3]; i++) {
            double sum = 0;
            for (size_t k = 0; k < a.ne[2]; k++) {
                sum += panel_element(&b, row + r, k) * panel_element(&a, k, i);
            }
            values[r * a.ne[3] + i] = (float)((double)values[r * a.ne[3] + i] + scale * sum);
        }
    }
}

static q_error_code refuse(q_diag *diag, q_error_code code, const q_file *file, uint32_t tensor, const char *field)
{
    if (diag != NULL) {
        const char *name = tensor_name(file, tensor);
        size_t n = text_bytes(name);
        memset(diag, 0, sizeof(*diag));
        diag->code = code;
        memcpy(diag->what, name, n < sizeof(diag->what) ? n : sizeof(diag->what) - 1);
        memcpy(diag->field, field, text_bytes(field));
    }
    return code;
}

/* Adapter `tensor` of the file of adapters belongs to a matrix of the model, whose number is *to. */
static bool belongs(const adapter_merge *m, uint32_t tensor, uint32_t *to)
{
    const char *name = tensor_name(m->adapters, tensor);
    size_t n = text_bytes(name);
    return adapter_keeps(NULL, name) && q_file_find(m->model, name, n - PART_BYTES, to) == Q_OK &&
           q_file_record(m->model, *to)->layout == Q_PANEL16;
}

q_error_code adapter_check(adapter_merge *m, q_diag *diag)
{
    m->n_merged = 0;
    for (uint32_t i = 0; i < q_file_n_tensors(m->adapters); i++) {
        const q_file_tensor_record *r = q_file_record(m->adapters, i);
        const q_file_tensor_record *w;
        uint32_t to;
        q_tensor a;
        q_tensor b;
        if (!belongs(m, i, &to)) {
            return refuse(diag, Q_ERR_NOT_FOUND, m->adapters, i, "its matrix in the model");
        }
        if (r->dtype != Q_F32 || r->layout != Q_PANEL16) {
            return refuse(diag, Q_ERR_INVALID_LAYOUT, m->adapters, i, "panels of F32");
        }
        w = q_file_record(m->model, to);
        if (!find_part(m, to, part_a, &a) || !find_part(m, to, part_b, &b) || a.ne[3] != w->ne[3].v ||
            b.ne[2] != w->ne[2].v || a.ne[2] != b.ne[3]) {
            return refuse(diag, Q_ERR_INVALID_SHAPE, m->adapters, i, "shape");
        }
        m->n_merged += ends_with(tensor_name(m->adapters, i), part_a) ? 1u : 0u;
    }
    m->change = (q_rewrite_change){m, merge_type, merge_adjusts, merge_adjust};
    return Q_OK;
}
