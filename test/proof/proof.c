/* SPDX-License-Identifier: MIT */
/* Running each kind of case wherever there is memory. */
#include "proof.h"

#include "../format/bad_files.h"
#include "../format/quantize_cases.h"
#include "../sampler/sampler_cases.h"
#include "../../tools/common/backends.h"
#include "../vectors/runner.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"
#include "qorus/tokenizer.h"

static void print_text(proof_host *h, const char *a, const char *b)
{
    char line[96];
    q_text t;
    q_text_init(&t, line, sizeof(line));
    q_text_str(&t, a);
    q_text_str(&t, b);
    h->print(h->user, line, t.length);
}

static void run_vectors(proof_host *h, const q_backend *backend, const void *pack, size_t size)
{
    q_vectors_result *result = (q_vectors_result *)h->work;
    uint8_t *work = (uint8_t *)h->work + 4096;
    memset(result, 0, sizeof(*result));
    print_text(h, "vectors on ", backend->name);
    q_vectors_run(backend, pack, size, work, PROOF_WORK - 4096, h->print, h->user, result);
    (void)q_vectors_finish(h->print, h->user, result);
    h->passed += result->passed;
    h->failed += result->failed;
    h->skipped += result->skipped;
}

static void run_packs(proof_host *h, const void *pack, size_t size)
{
    const q_port *port = h->port;
    uint64_t features = port != NULL && port->cpu_features != NULL ? port->cpu_features(port->user) : 0;
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        q_backend backend;
        if (backend_make(&backend, backend_name(i), features)) {
            run_vectors(h, &backend, pack, size);
        } else {
            print_text(h, backend_name(i), ": vectors UNAVAILABLE");
            h->skipped++;
        }
    }
}

static void run_bad_files(proof_host *h, const void *twin, size_t size)
{
    bad_counts counts = {0, 0, 0, 0};
    print_text(h, "bad files", "");
    bad_files_run(twin, size, h->work, PROOF_WORK, h->print, h->user, &counts);
    bad_files_arguments(twin, size, h->work, PROOF_WORK, h->print, h->user, &counts);
    h->passed += counts.passed;
    h->failed += counts.failed;
    h->skipped += counts.skipped;
}

static void run_quantizers(proof_host *h, const void *vectors, size_t size)
{
    bad_counts counts = {0, 0, 0, 0};
    print_text(h, "weight quantisers", "");
    quantize_cases_run(vectors, size, h->work, PROOF_WORK, h->print, h->user, &counts);
    h->passed += counts.passed;
    h->failed += counts.failed;
    h->skipped += counts.skipped;
}

/* True if a file is a language model with a tokenizer of subwords and a chat format. */
static bool is_chat_model(const void *blob, size_t size)
{
    q_file file;
    size_t n = 0;
    q_tokenizer t;
    const void *section;
    if (q_file_open(&file, blob, size, NULL, 0, NULL) != Q_OK || q_file_get_arch(&file) == NULL) {
        return false;
    }
    section = q_file_section_data(&file, Q_SECTION_TOKENIZER, &n);
    return q_tokenizer_open(&t, section, n, NULL) == Q_OK && q_tokenizer_chat_format(&t) == Q_CHAT_CHATML;
}

void proof_blob(proof_host *h, const void *blob, size_t size)
{
    if (size >= 8 && memcmp(blob, Q_FILE_MAGIC, 8) == 0) {
        if (is_chat_model(blob, size)) {
            print_text(h, "bad calls and memory", "");
            proof_sessions(h, blob, size);
        } else {
            run_bad_files(h, blob, size);
        }
    } else if (size >= 4 && memcmp(blob, "QTOK", 4) == 0) {
        print_text(h, "bad tokenizer sections", "");
        proof_tokens(h, blob, size);
    } else if (size >= 4 && memcmp(blob, "QVQZ", 4) == 0) {
        run_quantizers(h, blob, size);
    } else {
        run_packs(h, blob, size);
    }
}

bool proof_finish(proof_host *h)
{
    static const uint8_t fills[] = {0x00, 0xff};
    char line[96];
    q_text t;
    double worst = 0;
    print_text(h, "bad calls of ops", "");
    proof_ops(h);
    for (uint32_t i = 0; i < sizeof(fills); i++) {
        sampler_cases_run(h->work, fills[i], h->print, h->user, &h->passed, &h->failed, &worst);
    }
    q_text_init(&t, line, sizeof(line));
    q_text_u64(&t, h->passed, 0);
    q_text_str(&t, " passed, ");
    q_text_u64(&t, h->failed, 0);
    q_text_str(&t, " failed, ");
    q_text_u64(&t, h->skipped, 0);
    q_text_str(&t, " skipped");
    h->print(h->user, line, t.length);
    return h->failed == 0 && h->passed != 0;
}
