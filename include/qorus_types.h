/* SPDX-License-Identifier: MIT */
/*
 * qorus_types.h: the types every other header of Qorus-IA speaks.
 *
 * Needs only the freestanding headers of C11. Conventions of the whole API:
 *
 *   memory     the library never allocates; every buffer belongs to the caller, and every size comes
 *              from a query that runs the same code as the function which uses the memory
 *   alignment  addresses of tensors and regions are multiples of Q_ALIGN (64) unless stated otherwise
 *   shapes     ne[0..3] is [batch, head, row, column]; the column (ne[3]) is contiguous
 *   errors     a fallible function returns q_error_code; on failure its outputs are untouched and, where
 *              it takes a q_diag, that says what was wrong and where
 *   strings    UTF-8; a length is given in bytes and a terminator is never required unless stated
 */
#ifndef QORUS_TYPES_H
#define QORUS_TYPES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#define Q_STATIC_ASSERT(cond, text) static_assert(cond, text)
#define Q_RESTRICT
#else
#define Q_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#define Q_RESTRICT restrict
#endif

/* ---- Compiler attributes: the only place in the public headers that knows a compiler ------------------- */

#if defined(__GNUC__) || defined(__clang__)
#define Q_NODISCARD __attribute__((warn_unused_result))
#define Q_ALIGNED(n) __attribute__((aligned(n)))
#define Q_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define Q_NORETURN __attribute__((noreturn))
#define Q_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define Q_NODISCARD
#define Q_ALIGNED(n)
#define Q_UNLIKELY(x) (x)
#define Q_NORETURN
#define Q_PRINTF(fmt, args)
#endif

/* ---- Version ------------------------------------------------------------------------------------------ */

#define Q_VERSION_MAJOR 3
#define Q_VERSION_MINOR 0
#define Q_VERSION_PATCH 0

/* Alignment of every tensor and region, in bytes: a cache line and an AVX-512 register. */
#define Q_ALIGN 64

/* ---- Limits ------------------------------------------------------------------------------------------- */

enum {
    Q_MAX_DIMS = 4,
    Q_MAX_NAME = 32,      /* bytes of a name kept in a q_tensor, terminator included */
    Q_MAX_INPUTS = 8,     /* tensors a layer reads */
    Q_MAX_OUTPUTS = 4,    /* tensors a layer writes */
    Q_MAX_PARAMS = 8,     /* parameters of a layer */
    Q_MAX_TAGS = 4,       /* memories of the host that one kind of region may be split over */
    Q_MAX_DEVICES = 4,    /* devices one plan may use beside the CPU */
    Q_MAX_PLACES = 8,     /* Q_MAX_TAGS + Q_MAX_DEVICES: tags of regions, those of devices behind the host's */
    Q_MAX_WORKERS = 64    /* workers of one parallel region */
};

/* ---- The real type ------------------------------------------------------------------------------------ */

/*
 * Core and scalar backend are compiled a second time with Q_REAL_DOUBLE: every F32 activation, parameter and
 * gradient is then a double (dtype Q_F64), so that gradient checks have digits to spare. Files, ports and the
 * other backends exist only in the float build.
 */
#ifdef Q_REAL_DOUBLE
typedef double q_real;
#define Q_REAL Q_F64
#else
typedef float q_real;
#define Q_REAL Q_F32
#endif

/* ---- Enumerations ------------------------------------------------------------------------------------- */

/* Type of the elements of a tensor. The numbers are those of the .qorus file and never change. */
typedef enum q_dtype {
    Q_F32 = 0,
    Q_Q8_0 = 1,  /* blocks of 32: f16 scale d, 32 signed bytes q; value d*q */
    Q_Q4_0 = 2,  /* blocks of 32: f16 scale d, 32 nibbles q; value d*(q-8) */
    Q_Q4_1 = 3,  /* blocks of 32: f16 scale d and minimum m, 32 nibbles q; value d*q + m */
    Q_F16 = 4,   /* IEEE binary16 */
    Q_BF16 = 5,  /* the upper half of binary32 */
    Q_I32 = 6,   /* token ids, labels */
    Q_F64 = 7,   /* the real type of the double build; never in a file */
    Q_A8 = 8,    /* activations of fast mode: per row K signed bytes, then f32 scales [K/32], then i32 sums
                    of the bytes [K/32]; rows padded to 64 bytes; never in a file */
    Q_A8X2 = 9,  /* two such planes, one behind the other before the padding: the second holds what the first
                    leaves of each value; never in a file */
    Q_DTYPE_COUNT = 10
} q_dtype;

/* Order of a matrix's elements in memory. */
typedef enum q_layout {
    Q_PLAIN = 0,   /* row-major, rows contiguous */
    Q_PANEL16 = 1, /* panels of 16 rows, see qorus/base/panel.h */
    Q_LAYOUT_COUNT = 2
} q_layout;

typedef enum q_device_type { Q_DEVICE_CPU = 0, Q_DEVICE_CUDA = 1, Q_DEVICE_MOCK = 2 } q_device_type;

/* Result of every fallible function. Numbers are stable; q_strerror() names them. */
typedef enum q_error_code {
    Q_OK = 0,

    /* arguments */
    Q_ERR_INVALID_ARG = -10,   /* NULL, out of range, or a struct_size this build does not know */
    Q_ERR_ALIASING = -11,      /* two buffers overlap where they may not */
    Q_ERR_OVERFLOW = -12,      /* a size does not fit its type */
    Q_ERR_MISALIGNED = -13,    /* an address or stride is not a multiple of what is required */
    Q_ERR_INVALID_DTYPE = -14, /* dtype unknown, or not one this op takes */
    Q_ERR_INVALID_SIZE = -15,  /* zero, too large, or not a multiple of what is required */
    Q_ERR_INVALID_SHAPE = -16, /* shapes of operands do not fit each other */
    Q_ERR_INVALID_LAYOUT = -17,/* not contiguous, or a layout this op does not take */
    Q_ERR_INVALID_DEVICE = -18,/* buffer lives on a device this backend cannot reach */
    Q_ERR_INVALID_STATE = -19, /* call out of order: not initialised, closed, busy */

    /* memory */
    Q_ERR_NO_SPACE = -20,      /* a region or buffer is too small; q_diag.need and .have say by how much */

    /* files */
    Q_ERR_NOT_QORUS = -30,     /* the magic number is another one */
    Q_ERR_VERSION = -31,       /* a version this build does not read */
    Q_ERR_TRUNCATED = -32,     /* the file is shorter than its header says */
    Q_ERR_CORRUPT = -33,       /* a field contradicts another or breaks a rule of the format */
    Q_ERR_UNSUPPORTED = -34,   /* well formed, but of a kind this build does not implement */
    Q_ERR_HASH = -35,          /* SHA-256 differs from the recorded one */
    Q_ERR_NOT_FOUND = -36,     /* no tensor, file, layer class or token of that name */
    Q_ERR_LIMIT = -37,         /* a count exceeds the hard cap of the format */
    Q_ERR_MISMATCH = -38,      /* belongs to another model or configuration */

    /* running */
    Q_ERR_CONTEXT_FULL = -40,  /* no position left in the KV cache */
    Q_ERR_CANCELLED = -41,     /* the caller asked to stop */
    Q_ERR_DEADLINE = -42,      /* the caller's deadline passed */
    Q_ERR_NON_FINITE = -43,    /* NaN or infinity where it may not be; q_diag.what names the node */
    Q_ERR_INVALID_TOKEN = -44, /* a token id is not in the vocabulary */

    /* ports */
    Q_ERR_IO = -50,            /* reading or writing failed */
    Q_ERR_NO_DEVICE = -51,     /* this machine lacks the device or CPU features */
    Q_ERR_NOT_SUPPORTED = -52, /* the port leaves out this optional member */
    Q_ERR_INTERRUPTED = -53    /* the port was interrupted; nothing happened, call again */
} q_error_code;

/* ---- Diagnostics -------------------------------------------------------------------------------------- */

/*
 * Details of the last failure, in the caller's memory. Wherever a function takes a q_diag pointer, NULL is
 * allowed and means that only the code is wanted. Strings are terminated and cut to fit.
 */
typedef struct q_diag {
    q_error_code code;
    char what[52];   /* node, tensor, section or argument concerned */
    char field[40];  /* field or property that is wrong */
    uint64_t offset; /* byte offset in the file, or index of the element concerned */
    uint64_t need;   /* value that would have been right, or bytes needed */
    uint64_t have;   /* value found, or bytes given */
} q_diag;

/* ---- Tensor view -------------------------------------------------------------------------------------- */

/*
 * A view: owns nothing. ne[] is [batch, head, row, column] in elements, nb[] the stride in bytes of each of
 * those axes. A quantised axis is always the column; nb[3] is then the bytes of one block of 32.
 * For layout Q_PANEL16, nb[2] is the stride from one panel of 16 rows to the next and `scales` points at the
 * scales of the first panel.
 */
typedef struct Q_ALIGNED(Q_ALIGN) q_tensor {
    void *data;
    void *scales;
    uint32_t ne[Q_MAX_DIMS];
    size_t nb[Q_MAX_DIMS];
    uint8_t dtype;    /* q_dtype */
    uint8_t layout;   /* q_layout */
    uint8_t device;   /* q_device_type */
    uint8_t reserved[5];
    char name[Q_MAX_NAME];
} q_tensor;

Q_STATIC_ASSERT(sizeof(q_tensor) == 128, "q_tensor is two cache lines on every target");

/* ---- Public functions of this header ------------------------------------------------------------------ */

/* Version as (major << 16 | minor << 8 | patch). O(1). */
uint32_t q_version(void);

/* Name of an error code, as static text ("no space: a region or buffer is too small"). O(1); never NULL. */
const char *q_strerror(q_error_code code);

#ifdef __cplusplus
}
#endif

#endif /* QORUS_TYPES_H */
