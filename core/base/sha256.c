/* SPDX-License-Identifier: MIT */
/*
 * sha256.c: SHA-256 as FIPS 180-4 defines it, section 6.2, over a ring of 16 schedule words.
 */
#include "../core.h"

/* First 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS
 * 180-4, 4.2.2). */
static const uint32_t sha256_k[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u,
    0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu,
    0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu,
    0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau, 0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u,
    0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu,
    0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u, 0x19a4c116u,
    0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u,
    0xc67178f2u,
};

static uint32_t sha256_rotr(uint32_t x, uint32_t n)
{
    return x >> n | x << (32u - n);
}

static uint32_t sha256_load(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static void sha256_store(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

/* Word t of the message schedule, t >= 16; w holds words t-16 .. t-1 at their number modulo 16. */
static uint32_t sha256_extend(uint32_t w[16], uint32_t t)
{
    uint32_t w2 = w[(t - 2u) % 16u];
    uint32_t w15 = w[(t - 15u) % 16u];
    uint32_t s0 = sha256_rotr(w15, 7) ^ sha256_rotr(w15, 18) ^ w15 >> 3;
    uint32_t s1 = sha256_rotr(w2, 17) ^ sha256_rotr(w2, 19) ^ w2 >> 10;
    w[t % 16u] += s0 + w[(t - 7u) % 16u] + s1;
    return w[t % 16u];
}

static void sha256_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[16];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (uint32_t t = 0; t < 16u; t++) {
        w[t] = sha256_load(block + (size_t)4 * t);
    }
    for (uint32_t t = 0; t < 64u; t++) {
        uint32_t s1 = sha256_rotr(e, 6) ^ sha256_rotr(e, 11) ^ sha256_rotr(e, 25);
        uint32_t t1 =
            h + s1 + ((e & f) ^ (~e & g)) + sha256_k[t] + (t < 16u ? w[t] : sha256_extend(w, t));
        uint32_t s0 = sha256_rotr(a, 2) ^ sha256_rotr(a, 13) ^ sha256_rotr(a, 22);
        uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
}

void q_sha256_init(q_sha256 *hash)
{
    static const uint32_t first[8] = {
        0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
        0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
    };
    memset(hash, 0, sizeof(*hash));
    memcpy(hash->state, first, sizeof(first));
}

void q_sha256_update(q_sha256 *hash, const void *data, size_t n)
{
    const uint8_t *p = (const uint8_t *)data;
    size_t used = (size_t)(hash->length % 64u);
    hash->length += n;
    if (used != 0 && n >= 64u - used) {
        memcpy(hash->block + used, p, 64u - used);
        sha256_block(hash->state, hash->block);
        p += 64u - used;
        n -= 64u - used;
        used = 0;
    }
    if (used == 0) {
        for (; n >= 64u; n -= 64u, p += 64) {
            sha256_block(hash->state, p);
        }
    }
    if (n != 0) {
        memcpy(hash->block + used, p, n);
    }
}

void q_sha256_final(q_sha256 *hash, uint8_t out[Q_SHA256_BYTES])
{
    uint64_t bits = hash->length * 8u;
    size_t used = (size_t)(hash->length % 64u);
    hash->block[used++] = 0x80;
    if (used > 56u) {
        memset(hash->block + used, 0, 64u - used);
        sha256_block(hash->state, hash->block);
        used = 0;
    }
    memset(hash->block + used, 0, 56u - used);
    sha256_store(hash->block + 56, (uint32_t)(bits >> 32));
    sha256_store(hash->block + 60, (uint32_t)bits);
    sha256_block(hash->state, hash->block);
    for (size_t i = 0; i < 8u; i++) {
        sha256_store(out + 4u * i, hash->state[i]);
    }
}

void q_sha256_of(const void *data, size_t n, uint8_t out[Q_SHA256_BYTES])
{
    q_sha256 hash;
    q_sha256_init(&hash);
    q_sha256_update(&hash, data, n);
    q_sha256_final(&hash, out);
}
