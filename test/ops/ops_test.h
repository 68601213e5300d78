/* SPDX-License-Identifier: MIT */
/* ops_test.h: what the files of the ops test share. */
#ifndef QORUS_TEST_OPS_TEST_H
#define QORUS_TEST_OPS_TEST_H

#include "qorus/ops.h"

#include "../port/check.h"

/* One buffer of the tests. */
enum { OPS_BUFFER = 1 << 20 };

/* Ops on one backend with a number of workers; false: not on this machine. */
bool ops_use(const char *backend, uint32_t n_workers);

/* What ops_use() set up. */
extern q_op_context ops_ctx;
extern const q_port *ops_port;

/* Buffers, multiples of Q_ALIGN. */
uint8_t *ops_buffer(uint32_t i);

/* Next of a sequence of 64-bit numbers (SplitMix64; Steele, Lea and Flood 2014). */
uint64_t ops_random(void);

/* Tests of values, on what ops_use() set up. */
void ops_values_rows(void);
void ops_values_products(void);
void ops_values_weights(void);
void ops_values_attention(void);

/* Tests of single calls. */
void ops_init_refuses(void);
void ops_tensor_init_refuses(void);
void ops_tensor_heads_splits(void);
void ops_kv_bytes_refuses(void);
void ops_neighbours_are_accepted(void);
void ops_one_shared_element_is_refused(void);
void ops_huge_counts_are_refused(void);
void ops_device_errors_are_returned(void);
void ops_device_ids_are_downloaded(void);
void ops_callers_control_word_is_ignored(void);
void ops_strerror_knows_every_code(void);

/* Prints what an op costs beyond its kernel. */
void ops_bench(void);

#endif /* QORUS_TEST_OPS_TEST_H */
