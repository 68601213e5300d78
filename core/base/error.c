/* SPDX-License-Identifier: MIT */
/*
 * error.c: the library's version and the words for its error codes.
 */
#include "../core.h"

uint32_t q_version(void)
{
    return (uint32_t)Q_VERSION_MAJOR << 16 | (uint32_t)Q_VERSION_MINOR << 8 | (uint32_t)Q_VERSION_PATCH;
}

/* Indexed by the code's distance from 0; codes nobody has yet are NULL. */
static const char *const error_words[] = {
    [-Q_OK] = "ok",
    [-Q_ERR_INVALID_ARG] = "invalid argument: NULL, out of range, or a struct of another version",
    [-Q_ERR_ALIASING] = "aliasing: two buffers overlap where they may not",
    [-Q_ERR_OVERFLOW] = "overflow: a size does not fit its type",
    [-Q_ERR_MISALIGNED] = "misaligned: an address or stride is not a multiple of what is required",
    [-Q_ERR_INVALID_DTYPE] = "invalid dtype: unknown, or not one this operation takes",
    [-Q_ERR_INVALID_SIZE] = "invalid size: zero, too large, or not a multiple of what is required",
    [-Q_ERR_INVALID_SHAPE] = "invalid shape: shapes of operands do not fit each other",
    [-Q_ERR_INVALID_LAYOUT] = "invalid layout: not contiguous, or a layout this operation does not take",
    [-Q_ERR_INVALID_DEVICE] = "invalid device: a buffer lies on a device this backend cannot reach",
    [-Q_ERR_INVALID_STATE] = "invalid state: call out of order; not initialised, closed or busy",
    [-Q_ERR_NO_SPACE] = "no space: a region or buffer is too small",
    [-Q_ERR_NOT_QORUS] = "not a .qorus file: the magic number is another one",
    [-Q_ERR_VERSION] = "version: one this build does not read",
    [-Q_ERR_TRUNCATED] = "truncated: the file is shorter than its header says",
    [-Q_ERR_CORRUPT] = "corrupt: a field contradicts another or breaks a rule of the format",
    [-Q_ERR_UNSUPPORTED] = "unsupported: well formed, but of a kind this build does not implement",
    [-Q_ERR_HASH] = "hash: SHA-256 differs from the recorded one",
    [-Q_ERR_NOT_FOUND] = "not found: nothing of that name",
    [-Q_ERR_LIMIT] = "limit: a count exceeds the hard cap of the format",
    [-Q_ERR_MISMATCH] = "mismatch: belongs to another model or configuration",
    [-Q_ERR_CONTEXT_FULL] = "context full: no position left in the KV cache",
    [-Q_ERR_CANCELLED] = "cancelled: the caller asked to stop",
    [-Q_ERR_DEADLINE] = "deadline: the caller's deadline passed",
    [-Q_ERR_NON_FINITE] = "non-finite: NaN or infinity where it may not be",
    [-Q_ERR_INVALID_TOKEN] = "invalid token: an id is not in the vocabulary",
    [-Q_ERR_IO] = "input/output: reading or writing failed",
    [-Q_ERR_NO_DEVICE] = "no device: this machine lacks the device or CPU features",
    [-Q_ERR_NOT_SUPPORTED] = "not supported: the port leaves out this optional member",
    [-Q_ERR_INTERRUPTED] = "interrupted: nothing happened, call again",
};

const char *q_strerror(q_error_code code)
{
    int distance = (int)code;
    if (distance > 0 || distance <= -(int)(sizeof(error_words) / sizeof(error_words[0]))) {
        return "unknown error code";
    }
    return error_words[-distance] != NULL ? error_words[-distance] : "unknown error code";
}
