/* SPDX-License-Identifier: MIT */
/*
 * quantize_cases.c: q_quantize, q_panel_pack, q_panel_unpack and q_dequantize, byte for byte, and
 * the inputs they must refuse.
 */
#include "quantize_cases.h"

#include "qorus/base/mem.h"
#include "qorus/base/text.h"
#include "qorus/quantize.h"

/* As vectors/gen/make_files.py writes it, 64 bytes. */
typedef struct quantize_head {
    uint32_t dtype;
    uint32_t rows;
    uint32_t k;
    uint32_t reserved;
    uint64_t bytes[4]; /* F32 input, plain rows, panels, F32 back */
    uint8_t padding[16];
} quantize_head;

Q_STATIC_ASSERT(sizeof(quantize_head) == 64, "as the generator writes it");

static void quantize_report(const char *name, uint32_t number, bool good, bad_print print,
                            void *user, bad_counts *counts)
{
    char line[96];
    q_text text;
    q_text_init(&text, line, sizeof(line));
    q_text_str(&text, good ? "ok   " : "FAIL ");
    q_text_str(&text, name);
    q_text_u64(&text, number, 0);
    print(user, line, text.length);
    counts->passed += good ? 1u : 0u;
    counts->failed += good ? 0u : 1u;
}

static bool quantize_case(const quantize_head *h, const uint8_t *const part[4], uint8_t *work)
{
    bool good;
    memset(work, 0xAA, (size_t)h->bytes[1]);
    good = q_quantize(h->dtype, (const float *)(const void *)part[0], h->rows, h->k, work, NULL) ==
               Q_OK &&
           memcmp(work, part[1], (size_t)h->bytes[1]) == 0;
    memset(work, 0xAA, (size_t)h->bytes[2]);
    good = good && q_panel_pack(h->dtype, part[1], h->rows, h->k, work, NULL) == Q_OK &&
           memcmp(work, part[2], (size_t)h->bytes[2]) == 0;
    memset(work, 0xAA, (size_t)h->bytes[1]);
    good = good && q_panel_unpack(h->dtype, part[2], h->rows, h->k, work, NULL) == Q_OK &&
           memcmp(work, part[1], (size_t)h->bytes[1]) == 0;
    memset(work, 0xAA, (size_t)h->bytes[3]);
    return good &&
           q_dequantize(h->dtype, part[1], h->rows, h->k, (float *)(void *)work, NULL) == Q_OK &&
           memcmp(work, part[3], (size_t)h->bytes[3]) == 0;
}

/* Values that no scale can hold, in element 40 of 64. */
static bool quantize_refuses(uint32_t dtype, uint32_t bits, uint8_t *work)
{
    float x[64];
    q_diag diag;
    memset(x, 0, sizeof(x));
    memcpy(&x[40], &bits, sizeof(bits));
    return q_quantize(dtype, x, 1, 64, work, &diag) == Q_ERR_NON_FINITE &&
           diag.offset == (dtype >= Q_Q8_0 && dtype <= Q_Q4_1 ? 32u : 40u);
}

static bool quantize_refuses_all(uint8_t *work)
{
    bool good = true;
    for (uint32_t dtype = Q_F32; dtype <= Q_BF16; dtype++) {
        good = good && quantize_refuses(dtype, 0x7f800000u, work) &&
               quantize_refuses(dtype, 0x7fc00000u, work);
        good = good && quantize_refuses(dtype, 0xff800001u, work);
        if (dtype != Q_F32 && dtype != Q_BF16) {
            good = good && quantize_refuses(dtype, 0x7f7fffffu, work);
        }
    }
    return good && quantize_refuses(Q_BF16, 0x7f7fffffu, work);
}

static bool quantize_arguments(uint8_t *work)
{
    float x[64];
    memset(x, 0, sizeof(x));
    return q_quantize(Q_I32, x, 1, 64, work, NULL) == Q_ERR_INVALID_DTYPE &&
           q_quantize(Q_Q8_0, x, 1, 63, work, NULL) == Q_ERR_INVALID_SIZE &&
           q_quantize(Q_Q8_0, x, 0, 64, work, NULL) == Q_ERR_INVALID_SIZE &&
           q_quantize(Q_Q8_0, x, SIZE_MAX, 64, work, NULL) == Q_ERR_INVALID_SIZE &&
           q_quantize(Q_Q8_0, NULL, 1, 64, work, NULL) == Q_ERR_INVALID_ARG &&
           q_dequantize(Q_Q8_0, work, 1, 64, NULL, NULL) == Q_ERR_INVALID_ARG &&
           q_quantize(Q_F16, x, 1, 64, x, NULL) == Q_ERR_ALIASING &&
           q_panel_pack(Q_F16, work, 1, 64, work + 64, NULL) == Q_ERR_ALIASING;
}

void quantize_cases_run(const void *vectors, size_t size, void *work, size_t work_size,
                        bad_print print, void *user, bad_counts *counts)
{
    const uint8_t *base = (const uint8_t *)vectors;
    size_t at = 64;
    uint32_t n = 0;
    bool good = size >= 64 && memcmp(base, "QVQZ", 4) == 0 && work_size >= 65536;
    if (good) {
        memcpy(&n, base + 4, sizeof(n));
    }
    quantize_report("quantize vectors, cases ", n, good && n != 0, print, user, counts);
    for (uint32_t i = 0; good && i < n && at < size; i++) {
        quantize_head head;
        const uint8_t *part[4];
        memcpy(&head, base + at, sizeof(head));
        at += sizeof(head);
        for (size_t p = 0; p < 4; p++) {
            part[p] = base + at;
            at += (size_t)((head.bytes[p] + 63u) / 64u * 64u);
        }
        quantize_report("quantize case ", i, quantize_case(&head, part, (uint8_t *)work), print,
                        user, counts);
    }
    if (good) {
        quantize_report("N15_quantize_non_finite ", 0, quantize_refuses_all((uint8_t *)work), print,
                        user, counts);
        quantize_report("A20_quantize_arguments ", 0, quantize_arguments((uint8_t *)work), print,
                        user, counts);
    }
}
