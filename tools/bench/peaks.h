/* SPDX-License-Identifier: MIT */
/*
 * peaks.h: loops that do nothing but one thing: read bytes, multiply and add floats, multiply and add bytes. What they
 * reach is what "share of the peak" is a share of. Those of an instruction set are in a file of their own.
 */
#ifndef QORUS_TOOLS_BENCH_PEAKS_H
#define QORUS_TOOLS_BENCH_PEAKS_H

#include <stddef.h>
#include <stdint.h>

/* Reads n bytes (a multiple of 4096) at a 64-byte aligned address; the result keeps the loads alive. */
uint64_t peak_read_words(const void *base, size_t n);
uint64_t peak_read_lines(const void *base, size_t n);
uint64_t peak_read_m256(const void *base, size_t n);
uint64_t peak_read_m256_streams(const void *base, size_t n);
uint64_t peak_read_m512(const void *base, size_t n);

/* n rounds; a round is PEAK_CHAINS vectors of multiply-adds, one each in chains that do not wait for one another. Written
   as single instructions, since compilers put copies between intrinsics. */
enum { PEAK_CHAINS = 12 };
#define PEAK_EACH(step) \
    step(s0) step(s1) step(s2) step(s3) step(s4) step(s5) step(s6) step(s7) step(s8) step(s9) step(s10) step(s11)
#define PEAK_DECLARE(type, from)                                                                                    \
    type s0 = from, s1 = from, s2 = from, s3 = from, s4 = from, s5 = from, s6 = from, s7 = from, s8 = from, s9 = from, \
         s10 = from, s11 = from;

uint64_t peak_fma_m256(uint64_t n);  /* 8 multiply-adds a vector */
uint64_t peak_fma_m512(uint64_t n);  /* 16 */
uint64_t peak_int8_m256(uint64_t n); /* vpmaddubsw, vpmaddwd, vpaddd: 32 */
uint64_t peak_int8_vnni256(uint64_t n);
uint64_t peak_int8_vnni512(uint64_t n); /* 64 */

#endif /* QORUS_TOOLS_BENCH_PEAKS_H */
