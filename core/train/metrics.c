/* SPDX-License-Identifier: MIT */
/* Metrics of classifiers from counts of targets and answers. */
#include "../core.h"
#include "qorus/train.h"

void q_confusion_add(q_confusion *c, const q_tensor *logits, const int32_t *targets, uint32_t rows)
{
    for (uint32_t r = 0; r < rows; r++) {
        const q_real *x = (const q_real *)(const void *)((const uint8_t *)logits->data + r * logits->nb[2]);
        uint32_t best = 0;
        for (uint32_t i = 1; i < c->classes; i++) {
            best = x[i] > x[best] ? i : best;
        }
        if (targets[r] >= 0 && (uint32_t)targets[r] < c->classes) {
            c->count[(size_t)targets[r] * c->classes + best]++;
        }
    }
}

static uint64_t row_sum(const q_confusion *c, uint32_t target)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < c->classes; i++) {
        sum += c->count[(size_t)target * c->classes + i];
    }
    return sum;
}

static uint64_t column_sum(const q_confusion *c, uint32_t answer)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < c->classes; i++) {
        sum += c->count[(size_t)i * c->classes + answer];
    }
    return sum;
}

double q_confusion_accuracy(const q_confusion *c)
{
    uint64_t all = 0;
    uint64_t hits = 0;
    for (uint32_t i = 0; i < c->classes; i++) {
        all += row_sum(c, i);
        hits += c->count[(size_t)i * c->classes + i];
    }
    return all != 0 ? (double)hits / (double)all : 0;
}

double q_confusion_f1(const q_confusion *c)
{
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->classes; i++) {
        uint64_t both = row_sum(c, i) + column_sum(c, i);
        if (both != 0) {
            sum = sum + 2.0 * (double)c->count[(size_t)i * c->classes + i] / (double)both;
            n++;
        }
    }
    return n != 0 ? sum / n : 0;
}
