/* SPDX-License-Identifier: MIT */
/* 03: text -> tokens -> the same text, with the byte tokenizer that needs no file. */
#include <stdio.h>
#include <string.h>

#include "qorus.h"

int main(void)
{
    const char *text = "Hello World";
    q_tokenizer tokenizer;
    q_diag d = {Q_OK, "", "", 0, 0, 0};
    int32_t ids[32];
    char back[64];
    size_t n_ids = 0;
    size_t n = 0;

    if (q_tokenizer_init_byte(&tokenizer) != Q_OK ||
        q_tokenizer_encode(&tokenizer, text, strlen(text), Q_ENCODE_ADD_BOS | Q_ENCODE_ADD_EOS, NULL, 0, ids, 32, &n_ids,
                           &d) != Q_OK) {
        printf("%s: %s\n", q_strerror(d.code), d.field);
        return 1;
    }
    for (size_t i = 0; i < n_ids; i++) {
        printf("%d ", ids[i]);
    }
    if (q_tokenizer_decode(&tokenizer, ids, n_ids, Q_DECODE_SKIP_SPECIAL, back, sizeof(back) - 1, &n, &d) != Q_OK) {
        printf("%s: %s\n", q_strerror(d.code), d.field);
        return 1;
    }
    back[n] = '\0';
    printf("\n%s\n", back);
    return strcmp(text, back) != 0;
}
