/* SPDX-License-Identifier: MIT */
/* What a training has learnt, as one hash. */
#include "qorus/base/text.h"
#include "host.h"

void session_hash(const q_session *session, char hex[2 * Q_SHA256_BYTES + 1])
{
    const q_model *model = q_session_model(session);
    uint8_t sum[Q_SHA256_BYTES];
    q_sha256 hash;
    q_text text;
    q_sha256_init(&hash);
    for (q_param p = 0; p < q_model_n_params(model); p++) {
        q_diag d;
        q_tensor t;
        if (q_session_param(session, p, &t, &d) != Q_OK) {
            host_fail(d.what, d.field, d.need, d.have);
        }
        q_sha256_update(&hash, t.data, (size_t)t.ne[2] * t.ne[3] * sizeof(q_real));
    }
    q_sha256_final(&hash, sum);
    q_text_init(&text, hex, 2 * Q_SHA256_BYTES + 1);
    for (uint32_t i = 0; i < Q_SHA256_BYTES; i++) {
        q_text_hex(&text, sum[i], 2);
    }
}
