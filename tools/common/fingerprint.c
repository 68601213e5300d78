/* SPDX-License-Identifier: MIT */
/* Hashing every logit of a fixed prompt and its greedy continuation. */
#include "fingerprint.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"
#include "qorus/sha256.h"

static const char text[] =
    "A lighthouse keeper counts the ships at dusk. There are 17 of them tonight, more than in 1998, and each one\n"
    "carries a lamp of its own: red to port, green to starboard, white at the mast. \"Why do you count them?\" asks\n"
    "the child, who can't sleep. \"Because nobody else does,\" says the keeper, \"and because a thing that is counted\n"
    "every night is missed the night it does not come.\"\n\n"
    "def count(ships):\n    total = 0\n    for ship in ships:\n        total += 1 if ship.lamp else 0\n"
    "    return total\n\n"
    "La mer est calme; das Meer ist ruhig; el mar est\xc3\xa1 en calma; \xe6\xb5\xb7\xe3\x81\xaf\xe9\x9d\x99\xe3\x81\x8b"
    "\xe3\x81\xa0. At 04:30 the fog rolls in and the horn begins,\n"
    "two seconds on and eight seconds off, until the sun has burned the water clean. Then the keeper writes one\n"
    "line in the book: \"17 out, 16 home\", and puts the kettle on.\n";

typedef struct fingerprint_state {
    q_sha256 sha;
    uint32_t best; /* of the last row */
} fingerprint_state;

static q_error_code hash_rows(void *user, uint32_t first, uint32_t n, const q_tensor *rows)
{
    fingerprint_state *s = (fingerprint_state *)user;
    (void)first;
    for (uint32_t r = 0; r < n; r++) {
        const float *row = (const float *)(const void *)((const uint8_t *)rows->data + r * rows->nb[2]);
        q_sha256_update(&s->sha, row, rows->ne[3] * sizeof(float));
        s->best = 0;
        for (uint32_t i = 1; i < rows->ne[3]; i++) {
            s->best = row[i] > row[s->best] ? i : s->best;
        }
    }
    return Q_OK;
}

static void finish(fingerprint_state *s, char hex[65])
{
    uint8_t digest[Q_SHA256_BYTES];
    q_text t;
    q_sha256_final(&s->sha, digest);
    q_text_init(&t, hex, 65);
    for (uint32_t i = 0; i < sizeof(digest); i++) {
        q_text_hex(&t, digest[i], 2);
    }
}

static q_error_code prompt_ids(engine *e, const engine_memory *memory, int32_t **ids, uint32_t n_prompt,
                               q_diag *diag)
{
    size_t n = sizeof(text) - 1;
    size_t work_size = q_tokenizer_encode_work_size(&e->tokenizer, n);
    size_t n_ids = 0;
    void *work = NULL;
    void *all = NULL;
    void *prompt = NULL;
    q_error_code code = memory->take(memory->user, work_size, "tokenizer work", &work, diag);
    if (code == Q_OK) {
        code = memory->take(memory->user, (n + 2) * sizeof(int32_t), "token ids", &all, diag);
    }
    if (code == Q_OK) {
        code = memory->take(memory->user, n_prompt * sizeof(int32_t), "prompt", &prompt, diag);
    }
    if (code == Q_OK) {
        code = q_tokenizer_encode(&e->tokenizer, text, n, 0, work, work_size, (int32_t *)all, n + 2, &n_ids, diag);
    }
    *ids = (int32_t *)prompt;
    for (size_t i = 0; code == Q_OK && i < n_prompt; i++) {
        (*ids)[i] = ((const int32_t *)all)[i % n_ids];
    }
    return code;
}

/* Fixed numbers for an input: eighths from -11/8 to 11/8, or ids below its limit. */
static q_error_code fill_input(const q_file_graph_input *in, const engine_memory *memory, const void **out, q_diag *diag)
{
    size_t n = 1;
    void *base = NULL;
    q_error_code code;
    for (uint32_t d = 0; d < Q_MAX_DIMS; d++) {
        n *= in->dim[d] * (in->sym[d] == Q_SYM_TOKENS ? (uint32_t)FINGERPRINT_ROWS : 1u);
    }
    code = memory->take(memory->user, n * sizeof(float), "input", &base, diag);
    for (size_t i = 0; code == Q_OK && i < n; i++) {
        int32_t id = (int32_t)((i * 7 + 3) % (in->limit != 0 ? in->limit : 1u));
        float real = (float)((int)(i * 37 % 23) - 11) / 8.0f;
        memcpy((uint8_t *)base + i * sizeof(float), in->dtype == Q_I32 ? (const void *)&id : (const void *)&real, sizeof(float));
    }
    *out = base;
    return code;
}

static q_error_code run_graph(engine *e, const engine_memory *memory, char hex[65], q_diag *diag)
{
    const void *inputs[Q_CAP_GRAPH_IO] = {NULL};
    fingerprint_state state;
    q_file_graph_view g;
    q_step step;
    q_error_code code = q_file_graph_arrays(&e->file, &g) ? Q_OK : Q_ERR_NOT_FOUND;
    for (uint32_t i = 0; code == Q_OK && i < g.head->n_inputs; i++) {
        code = fill_input(&g.inputs[i], memory, &inputs[i], diag);
    }
    memset(&step, 0, sizeof(step));
    step.inputs = inputs;
    step.n_tokens = FINGERPRINT_ROWS;
    step.select = Q_SELECT_LAST;
    code = code == Q_OK ? q_model_forward(e->session, &step, diag) : code;
    memset(&state, 0, sizeof(state));
    q_sha256_init(&state.sha);
    for (uint32_t i = 0; code == Q_OK && i < g.head->n_outputs; i++) {
        q_tensor out;
        code = q_session_output(e->session, i, &out, diag);
        if (code == Q_OK) {
            (void)hash_rows(&state, 0, out.ne[0] * out.ne[1] * out.ne[2], &out);
        }
    }
    finish(&state, hex);
    return code;
}

q_error_code fingerprint_run(engine *e, const engine_memory *memory, uint32_t n_prompt, char hex[65], q_diag *diag)
{
    int32_t *ids = NULL;
    int32_t token;
    const void *inputs[1];
    fingerprint_state state;
    q_step step;
    q_error_code code;
    if (!e->has_tokenizer && q_file_get_arch(&e->file) == NULL) {
        return run_graph(e, memory, hex, diag);
    }
    code = prompt_ids(e, memory, &ids, n_prompt, diag);
    memset(&state, 0, sizeof(state));
    q_sha256_init(&state.sha);
    memset(&step, 0, sizeof(step));
    inputs[0] = ids;
    step.inputs = inputs;
    step.n_tokens = n_prompt;
    step.select = Q_SELECT_ALL;
    step.rows = hash_rows;
    step.rows_user = &state;
    for (uint32_t i = 0; i <= FINGERPRINT_DECODED && code == Q_OK; i++) {
        code = q_model_forward(e->session, &step, diag);
        token = (int32_t)state.best;
        inputs[0] = &token;
        step.n_tokens = 1;
    }
    finish(&state, hex);
    return code;
}

void fingerprint_name(bool exact, const char *kv, uint32_t n_prompt, char name[24])
{
    q_text t;
    q_text_init(&t, name, 24);
    q_text_str(&t, exact ? "exact" : "fast");
    if (kv != NULL) {
        q_text_str(&t, "-");
        q_text_str(&t, kv);
    }
    if (n_prompt != FINGERPRINT_PROMPT) {
        q_text_str(&t, "-");
        q_text_u64(&t, n_prompt, 0);
    }
}
