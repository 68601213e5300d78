# SPDX-License-Identifier: MIT
"""Shows that the vectors see every constant: breaks the scalar kernels one place at a time, each must fail.

Usage: python3 test/vectors/mutants.py BUILD_FOLDER [--cc CC]

Every mutant is a textual change of one file of backends/scalar/; a text that no longer occurs is an error, so
that the list follows the sources. A mutant that passes all vectors survives, and the script fails.
"""
import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCALAR = ROOT / "backends/scalar"
FLAGS = ["-std=c11", "-ffreestanding", "-ffp-contract=off", "-fno-math-errno", "-O1", "-w",
         "-I", str(ROOT / "include"), "-I", str(ROOT)]
# The runner chooses among all backends; here there is only the scalar one.
NO_OVERLAYS = """#include "qorus/backend.h"
bool q_backend_avx2(q_backend *out, uint64_t features) { return out == 0 && features == 0; }
bool q_backend_avx512(q_backend *out, uint64_t features) { return out == 0 && features == 0; }
"""

# (file, text, replacement, kernel whose vectors must fail)
MUTANTS = [
    ("rmsnorm.c", "mean + eps", "mean + eps * (q_real)0.5", "rmsnorm"),
    ("rmsnorm.c", "mean + eps", "mean", "rmsnorm"),
    ("rmsnorm.c", "/ (q_real)dim", "/ (q_real)(dim + 1)", "rmsnorm"),
    ("rmsnorm.c", "a->weight[i] + a->offset", "a->weight[i]", "rmsnorm"),
    ("rmsnorm.c", "i < dim; i++", "i + 1 < dim; i++", "rmsnorm"),
    ("softmax.c", "out[i] = q_exp(x[i] * scale - max)", "out[i] = q_exp(x[i] - max)", "softmax"),
    ("softmax.c", "out[i] = out[i] / sum", "out[i] = out[i] / (sum + (q_real)1e-5)", "softmax"),
    ("softmax.c", "if (max == scalar_minus_infinity())", "if (0)", "softmax"),
    ("softmax.c", "max = scalar_max(x[i] * scale, max)", "max = 0", "softmax"),
    ("rope.c", "(double)span.position + (double)(r - span.row)", "(double)span.position", "rope_table"),
    ("rope.c", "(double)span.position + (double)(r - span.row)", "(double)(r - span.row)", "rope_table"),
    ("rope.c", "(double)(r - span.row)", "(double)r", "rope_table"),
    ("rope.c", "(double)span.position", "(double)work->run->position", "rope_table"),
    ("rope.c", "double t = position * a->inv_freq[i]", "double t = (float)(position * a->inv_freq[i])", "rope_table"),
    ("rope.c", "q_cos_f64(t) * a->magnitude", "q_cos_f64(t)", "rope_table"),
    ("rope.c", "q_sin_f64(t) * a->magnitude", "q_sin_f64(t)", "rope_table"),
    ("rope.c", "-(xj * table[i + n])", "xj * table[i + n]", "rope"),
    ("rope.c", "q_real xj = x[i + n]", "q_real xj = x[i + a->head_dim / 2]", "rope"),
    ("rope.c", "out[i] = x[i];", "", "rope"),
    ("kv_store.c", "span.position + (r - span.row)", "span.position", "kv_store_f32"),
    ("kv_store.c", "span.position + (r - span.row)", "span.position + r", "kv_store_f16"),
    ("kv_store.c", "a->k_cache + span.sequence * a->sequence_stride", "a->k_cache", "kv_store_f32"),
    ("kv_store.c", "a->v_cache + span.sequence * a->sequence_stride", "a->v_cache", "kv_store_f16"),
    ("kv_store.c", "(size_t)(t->position / 16u) * t->head_dim * 16u + t->position % 16u",
     "(size_t)t->position * t->head_dim", "kv_store_f32"),
    ("kv_store.c", "+ h * head", "", "kv_store_q8_0"),
    ("kv_store.c", "amax / 127.0f", "amax / 128.0f", "kv_store_q8_0"),
    ("kv_store.c", "(float)q >= 0.5f", "(float)q > 0.5f", "kv_store_q8_0"),
    ("kv_store.c", "v < 0.0f ? -q : q", "q", "kv_store_q8_0"),
    ("kv_store.c", "if (!(v == v)) {\n        return 0;", "if (!(v == v)) {\n        return 1;", "kv_store_q8_0"),
    ("kv_store.c", "inverse = kv_abs(inverse) <= 0x1.fffffep127f ? inverse : 0.0f;", "", "kv_store_q8_0"),
    ("kv_store.c", "*scale = q_f16_from_f32(d);", "*scale = q_f16_from_f32(d); inverse = 1 / q_f32_from_f16(*scale);",
     "kv_store_q8_0"),
    ("kv_store.c", "kq + (size_t)d * Q_KV_GROUP, Q_KV_GROUP", "kq + (size_t)d, 1", "kv_store_q8_0"),
    ("kv_store.c", "q_f16_from_f32((float)t->v[d])", "(uint16_t)(q_f16_from_f32((float)t->v[d]) + 1u)", "kv_store_f16"),
    ("kv_store.c", "q_f16_from_f32((float)t->k[d])", "(uint16_t)(q_f16_from_f32((float)t->k[d] * 1.0005f))",
     "kv_store_f16"),
    ("attention.c", "r - span.row >= span.rows", "false", "attention_f32"),
    ("attention.c", "acc[i] * a->scale", "acc[i]", "attention_f32"),
    ("attention.c", "a->softcap > 0 ? a->softcap * q_tanh(score / a->softcap) : score", "score", "attention_f32"),
    ("attention.c", "span.position + (r - span.row) + 1u", "span.position + 1u", "attention_f32"),
    ("attention.c", "span.position + (r - span.row) + 1u", "r - span.row + 1u", "attention_f16"),
    ("attention.c", "span.position + (r - span.row) + 1u", "span.position + r + 1u", "attention_f16"),
    ("attention.c", "a->k_cache + span.sequence * a->sequence_stride", "a->k_cache", "attention_f32"),
    ("attention.c", "a->v_cache + span.sequence * a->sequence_stride", "a->v_cache", "attention_f32"),
    ("attention.c", "t.hi - a->window : 0", "t.hi - a->window + 1u : 0", "attention_f32"),
    ("attention.c", "t.hi > a->window ?", "false ?", "attention_f32"),
    ("attention.c", "h / (a->heads / a->kv_heads)", "h % a->kv_heads", "attention_f32"),
    ("attention.c", "c->sum = c->sum * c->rescale[block] +", "c->sum = c->sum +", "attention_f32"),
    ("attention.c", "o[i] = o[i] * c->rescale[j % ATTN_CHUNK / ATTN_BLOCK];", "", "attention_f32"),
    ("attention.c", "out[d + i] * old + o[i] * new_factor", "out[d + i] + o[i]", "attention_f32"),
    ("attention.c", "sum = sum * old + c.sum * new_factor", "sum = sum + c.sum", "attention_f16"),
    ("attention.c", "(size_t)(j / ATTN_KEYS * dim + d) * ATTN_KEYS + j % ATTN_KEYS",
     "(size_t)(j / ATTN_KEYS * dim + d) * ATTN_KEYS", "attention_f32"),
    ("attention.c", "(q_real)(int8_t)group[quant]", "(q_real)group[quant]", "attention_q8_0"),
    ("attention.c", "q_kv_q8_0_scale(j + i, d)", "q_kv_q8_0_scale(j, d)", "attention_q8_0"),
    ("attention.c", "q_kv_q8_0_scale(j, d + i)", "q_kv_q8_0_scale(j, 0)", "attention_q8_0"),
    ("attention.c", "dim + (size_t)(j % ATTN_KEYS) * dim + d + i", "dim + (size_t)(j % ATTN_KEYS) + d + i", "attention_q8_0"),
    ("dequantize.h", "(int32_t)q - 8)", "(int32_t)q - 7)", "gather_q4_0"),
    ("dequantize.h", "* (q_real)(int32_t)q + (q_real)q_f32_from_f16(m)", "* (q_real)(int32_t)q", "gather_q4_1"),
    ("dequantize.h", "(int32_t)(q ^ 0x80u) - 128", "(int32_t)q", "gather_q8_0"),
    ("gemm.c", "(int32_t)q - 8)", "(int32_t)q - 7)", "gemm_q4_0"),
    ("gemm.c", "* (q_real)(int32_t)q + s->m[i]", "* (q_real)(int32_t)q", "gemm_q4_1"),
    ("gemm.c", "(int32_t)(q ^ 0x80u) - 128", "(int32_t)q", "gemm_q8_0"),
    ("gemm.c", "k < a->k; k++", "k + 1 < a->k; k++", "gemm_f32"),
    ("gemm.c", "k < a->k; k++", "k + 1 < a->k; k++", "gemm_bf16"),
    ("gemm.c", "lanes = a->m - m0 < Q_PANEL_ROWS ? a->m - m0 :", "lanes =", "gemm_f16"),
    ("gemm.c", "a->epilogue.bias != NULL && i < lanes ?", "0 ?", "gemm_q4_0"),
    ("gemm_a8.c", "dtype == Q_Q4_0 ? -8 : 0", "dtype == Q_Q4_0 ? -7 : 0", "gemm_a8_q4_0"),
    ("gemm_a8.c", "dtype == Q_Q4_0 ? -8 : 0", "-8", "gemm_a8_q4_1"),
    ("gemm_a8.c", "(int16_t)(int8_t)q[", "(int16_t)q[", "gemm_a8_q8_0"),
    ("gemm_a8.c", "(w->m[i] * d) * sum", "w->m[i] * sum", "gemm_a8_q4_1"),
    ("gemm_a8.c", "if (dtype == Q_Q4_1) {", "if (0) {", "gemm_a8_q4_1"),
    ("gemm_a8.c", "(w->d[i] * d)", "w->d[i]", "gemm_a8_q8_0"),
    ("gemm_a8.c", "out->q[c + 16u][i] = (int16_t)((byte >> 4)", "out->q[c + 16u][i] = (int16_t)((byte & 15)", "gemm_a8_q4_0"),
    ("matmul.c", "return scalar_row_out(a->c, a->c_stride, i)[j];", "return 0;", "matmul"),
    ("matmul.c", "return a->transpose_b ?", "return 0 ?", "matmul"),
    ("matmul.c", "return a->transpose_a ?", "return 0 ?", "matmul"),
    ("matmul.c", "acc[j] = q_fma(x, matmul_b(a, p, j0 + j), acc[j])", "acc[j] = x * matmul_b(a, p, j0 + j)", "matmul"),
    ("quantize.c", "12582912.0f", "0.5f", "quantize_a8"),
    ("quantize.c", "amax / 127.0f", "amax / 128.0f", "quantize_a8"),
    ("quantize.c", "127.0f / amax", "126.0f / amax", "quantize_a8"),
    ("quantize.c", "amax > 0 ?", "amax > 1e-38f ?", "quantize_a8"),
    ("quantize.c", "v = v < -127.0f ? -127.0f : v;", "", "quantize_a8"),
    ("quantize.c", "if (!(v == v)) {\n        return 0;\n    }", "", "quantize_a8"),
    ("quantize.c", "total += r", "total += r > 0 ? r : 0", "quantize_a8"),
    ("epilogue.h", "y = y * e->scale[m]", "y = y + e->scale[m]", "matmul"),
    ("epilogue.h", "y = y + e->shift[m]", "y = y - e->shift[m]", "gemm_f32"),
    ("epilogue.h", "y = y * scalar_row(e->gate, e->gate_stride, r)[m]", "y = y * scalar_row(e->gate, e->gate_stride, 0)[m]",
     "gemm_q8_0"),
    ("epilogue.h", "[m] + y;", "[0] + y;", "gemm_f16"),
    ("epilogue.h", "return q_silu(y)", "return q_gelu_tanh(y)", "gemm_a8_q8_0"),
    ("epilogue.h", "return q_gelu_tanh(y)", "return y * q_sigmoid((q_real)1.702 * y)", "matmul"),
    ("epilogue.h", "return q_sigmoid(y)", "return q_tanh(y)", "matmul"),
    ("epilogue.h", "return y <= SCALAR_BELOW_ZERO ? 0 : y", "return y", "matmul"),
    ("gather.c", "w * a->scale", "w", "gather_q4_1"),
    ("gather.c", "i < a->k; i++", "i <= a->k; i++", "gather_f32"),
    ("rmsnorm.c", "uint32_t r = begin; r", "uint32_t r = begin + (work->worker == 2); r", "rmsnorm"),
    ("gather.c", "(uint32_t)a->ids[r]", "r", "gather_f16"),
    ("loss.c", "d < -delta ? -delta :", "d < -delta ? delta :", "pair_loss"),
    ("loss.c", "size - delta * (q_real)0.5", "size - delta", "pair_loss"),
    ("loss.c", "q_fma(w - 1, t, 1)", "(q_real)1", "pair_loss"),
    ("loss.c", "(e - (u - 1)) / u", "0", "pair_loss"),
    ("loss.c", "x >= 0 ? -1 : -w", "-1", "pair_loss"),
    ("loss.c", "a->target[r] != a->ignore", "a->target[r] >= a->ignore", "cross_entropy"),
    ("loss.c", "q_fma(1 - a->smoothing, own,", "q_fma(1, own,", "cross_entropy"),
    ("loss.c", "own + share * all", "own", "cross_entropy_grad"),
    ("loss.c", "i == y ? h + own : h", "h + own", "cross_entropy_grad"),
    ("loss.c", "lse[0]) - lse[1]", "lse[0])", "cross_entropy_grad"),
    ("activate.c", "return v > 0 ? dy : 0;", "return v >= 0 ? dy : 0;", "activate_grad"),
    ("activate.c", "return dy * (v * (1 - v));", "return dy * (v * v);", "activate_grad"),
    ("activate.c", "q_fma(-v, v, 1)", "q_fma(-v, 1, 1)", "activate_grad"),
    ("activate.c", "q_fma(x, 1 - g, 1)", "(1 - g)", "activate_grad"),
    ("activate.c", "0.21406444881478937", "0.07135481627159646", "activate_grad"),
    ("activate.c", "scalar_clamp(v, 12)", "v", "activate_grad"),
    ("activate.c", "scalar_clamp(v, 12)", "scalar_clamp(v, 4)", "activate_grad"),
    ("activate.c", "scalar_clamp(v, 16)", "scalar_clamp(v, 3)", "activate_grad"),
    ("activate.c", "0.3989422804014327", "0.4", "activate_grad"),
    ("activate.c", "dx[i] + d : d", "d : d", "activate_grad"),
    ("scale.c", "x[i] * a->factor", "x[i]", "scale"),
    ("scale.c", "out[i] + y : y", "y : y", "scale"),
    ("scale.c", ">= a->threshold", "> a->threshold", "dropout"),
    ("scale.c", "bits[i % 4u] >> 8", "bits[0] >> 8", "dropout"),
    ("scale.c", "first + i / 4u", "i / 4u", "dropout"),
    ("scale.c", "q_ceil_div_u32(a->dim, 4)", "(a->dim / 4u)", "dropout"),
    ("scale.c", "if (a->whole != 0) {", "if (a->whole == 2) {", "dropout"),
    ("scale.c", "work->run->step, a->node", "0, a->node", "dropout"),
    ("scale.c", "a->node, at.sample", "0, at.sample", "dropout"),
    ("scale.c", "a->node, at.sample", "a->node, 0", "dropout"),
    ("quantize.c", "y[i] + t", "t", "round"),
    ("quantize.c", "a->dtype == Q_A8X2 ? 2 : 1", "1", "round"),
    ("quantize.c", "a->dtype == Q_F16 ?", "a->dtype != Q_F16 ?", "round"),
    ("elementwise.c", "q_silu(x[i]) * y[i]", "x[i] * q_silu(y[i])", "silu_mul"),
    ("elementwise.c", "span.position + 1u", "1u", "causal_mask"),
    ("elementwise.c", "span.position + 1u", "span.position + 2u", "causal_mask"),
    ("elementwise.c", "(uint64_t)(r - span.row)", "(uint64_t)r", "causal_mask"),
    ("elementwise.c", "uint64_t c = (uint64_t)(r - span.row) +", "uint32_t c = (r - span.row) +", None),
    ("elementwise.c", "span.position + 1u; c < a->cols", "(int32_t)span.position + 1; (int64_t)c < a->cols",
     "causal_mask"),
    ("elementwise.c", "work->run->selected[s]", "s", "select_rows"),
    ("reduce.c", "lane[i] = scalar_minus_infinity()", "lane[i] = 0", "reduce_max"),
    ("reduce.c", "lane[i % Q_LANES] = lane[i % Q_LANES] + x[i]", "lane[i % Q_LANES] = x[i]", "reduce_sum"),
    ("conv2d.c", "q_fma(inside ? x[ci] : 0, w[ci], acc)", "(inside ? q_fma(x[ci], w[ci], acc) : acc)", "conv2d"),
    ("conv2d.c", "kh * s->dilation_h - s->pad_h", "kh - s->pad_h", "conv2d"),
    ("conv2d.c", "out.w * s->stride_w + kw", "out.w * s->stride_h + kw", "conv2d"),
    ("conv2d.c", "co / (s->out_c / s->groups) * channels;\n    q_real acc", "0;\n    q_real acc", "conv2d"),
    ("conv2d.c", "at % stride != k * dilation % stride", "false", "conv2d_grad_input"),
    ("conv2d.c", "at >= k * dilation ?", "at > k * dilation ?", "conv2d_grad_input"),
    ("conv2d.c", "group * n + i", "i", "conv2d_grad_input"),
    ("conv2d.c", "a->accumulate ? dx[c] : 0", "0", "conv2d_grad_input"),
    ("conv2d.c", "inside ? x[ci] : 0, grad[ci])", "inside ? x[ci] : 1, grad[ci])", "conv2d_grad_weight"),
    ("conv2d.c", "p++) {\n        conv_place out = conv_place_of(p, s->out_h, s->out_w);\n        for (uint32_t co = begin",
     "p++) {\n        conv_place out = conv_place_of(p, s->out_h, s->in_w);\n        for (uint32_t co = begin", "conv2d_grad_weight"),
    ("pool2d.c", "value > m ||", "value >= m ||", "pool2d_grad"),
    ("pool2d.c", "(value != value && m == m)", "false", "pool2d"),
    ("pool2d.c", "at > pad ? at - pad : 0", "at", "pool2d"),
    ("pool2d.c", "include_pad != 0 ?", "false ?", "pool2d"),
    ("pool2d.c", "dy = dy / pool_count", "dy = dy * pool_count", "pool2d_grad"),
    ("pool2d.c", "&& a->accumulate == 0", "", "pool2d_grad"),
    ("recurrent.c", "at.gates[j] + at.recurrent[j]", "at.gates[j]", "rnn_cell"),
    ("recurrent.c", "? scalar_max(0, x) : q_tanh(x)", "? x : q_tanh(x)", "rnn_cell"),
    ("recurrent.c", "memcpy(at->h_prev + a->begin, at->h + a->begin, bytes);", "", "rnn_cell"),
    ("recurrent.c", "memcpy(at->c_prev + a->begin, at->c + a->begin, bytes);", "", "lstm_cell"),
    ("recurrent.c", "uint32_t r = a->row[i] + a->t;\n    cell_at at;", "uint32_t r = i;\n    cell_at at;", "gru_cell"),
    ("recurrent.c", "q_sigmoid(gate[dim + j] + at.recurrent[dim + j]);\n            q_real g",
     "q_sigmoid(gate[dim + j] + at.recurrent[j]);\n            q_real g", "lstm_cell"),
    ("recurrent.c", "q_fma(f, at.c[j], i * g)", "q_fma(f, at.c[j], i + g)", "lstm_cell"),
    ("recurrent.c", "o * q_tanh(c)", "o * c", "lstm_cell"),
    ("recurrent.c", "q_fma(r, hn, gate[2 * dim + j])", "r * (hn + gate[2 * dim + j])", "gru_cell"),
    ("recurrent.c", "q_fma(z, at.h[j] - n, n)", "q_fma(z, n - at.h[j], at.h[j])", "gru_cell"),
    ("recurrent.c", "gate[3 * dim + j] = hn", "gate[3 * dim + j] = n", "gru_cell"),
    ("recurrent.c", "q_fma(-t, t, 1)", "q_fma(-t, t, 2)", "rnn_cell_grad"),
    ("recurrent.c", "s * (1 - s)", "s * (1 + s)", "lstm_cell_grad"),
    ("recurrent.c", "h > 0 ? g : 0", "g", "rnn_cell_grad"),
    ("recurrent.c", "q_real g = at.dy[j] + at.dh[j]", "q_real g = at.dy[j]", "rnn_cell_grad"),
    ("recurrent.c", "cell_slope_tanh(t), at.dc[j])", "cell_slope_tanh(t), 0)", "lstm_cell_grad"),
    ("recurrent.c", "(dc * c) * cell_slope", "(dc * g) * cell_slope", "lstm_cell_grad"),
    ("recurrent.c", "at.dc[j] = dc * f", "at.dc[j] = dc", "lstm_cell_grad"),
    ("recurrent.c", "(dh * t) * cell_slope", "(dh * o) * cell_slope", "lstm_cell_grad"),
    ("recurrent.c", "(dh * (1 - z))", "dh", "gru_cell_grad"),
    ("recurrent.c", "(at.h_prev[j] - n)", "at.h_prev[j]", "gru_cell_grad"),
    ("recurrent.c", "at.recurrent[2 * dim + j] = dn * r", "at.recurrent[2 * dim + j] = dn", "gru_cell_grad"),
    ("recurrent.c", "at.dh[j] = dh * z", "at.dh[j] = dh", "gru_cell_grad"),
    ("matmul.c", "a->transpose_b == Q_MATMUL_PANELS", "0", "matmul"),
    ("norm.c", "var + eps", "var", "layernorm"),
    ("norm.c", "scalar_lane_sum(lane) / (q_real)dim;\n    return 1", "scalar_lane_sum(lane) / (q_real)(dim + 1);\n    return 1", "layernorm"),
    ("norm.c", "q_real d = x[i] - mean;", "q_real d = x[i];", "layernorm"),
    ("norm.c", "v + a->bias[i]", "v", "layernorm"),
    ("norm.c", "(g - means[0])", "g", "layernorm_grad"),
    ("norm.c", "h * means[1]", "means[1]", "layernorm_grad"),
    ("norm.c", "dx[i] + d : d", "d : d", "layernorm_grad"),
    ("norm.c", "q_fma(dy[i], (x[i] - stats[0]) * stats[1]", "q_fma(dy[i], x[i] * stats[1]", "layernorm_grad_param"),
    ("norm.c", "a->grad_bias[i] = a->grad_bias[i] + dy[i]", "a->grad_bias[i] = dy[i]", "layernorm_grad_param"),
    ("batchnorm.c", "mean[i] / (q_real)n", "mean[i] / (q_real)Q_NORM_BLOCK", "batchnorm_blocks"),
    ("batchnorm.c", "x[i] - mean[i];\n                squares", "x[i];\n                squares", "batchnorm_blocks"),
    ("batchnorm.c", "b * Q_NORM_BLOCK + r", "b + r", "batchnorm_blocks"),
    ("batchnorm.c", "sum + p[a->dim]", "sum", "batchnorm_join"),
    ("batchnorm.c", "(q_real)norm_block_rows(rows, b) * e, e", "Q_NORM_BLOCK * e, e", "batchnorm_join"),
    ("batchnorm.c", "rows > 1u ? rows - 1u : 1u", "rows", "batchnorm_join"),
    ("batchnorm.c", "q_fma(a->momentum, var -", "q_fma(1 - a->momentum, var -", "batchnorm_join"),
    ("batchnorm.c", "sum / (q_real)rows + a->eps", "sum / (q_real)rows", "batchnorm_join"),
    ("batchnorm.c", "a->var[i] + a->eps", "a->var[i]", "batchnorm_fold"),
    ("batchnorm.c", "a->bias[i] - a->mean[i] * scale", "a->bias[i] + a->mean[i] * scale", "batchnorm_fold"),
    ("batchnorm.c", "x[i] - a->mean[i] : x[i]", "x[i] : x[i]", "batchnorm"),
    ("batchnorm.c", "y > 0 ? dy : 0", "y >= 0 ? dy : dy", "batchnorm_grad"),
    ("batchnorm.c", "dy * (y * (1 - y))", "dy * (1 - y)", "batchnorm_grad_blocks"),
    ("batchnorm.c", "q_fma(-y, y, 1)", "(1 - y)", "batchnorm_grad"),
    ("batchnorm.c", "g - a->sums[i] * n", "g", "batchnorm_grad"),
    ("batchnorm.c", "h * (a->sums[a->dim + i] * n)", "h * a->sums[a->dim + i]", "batchnorm_grad"),
    ("batchnorm.c", "dx[i] + d : d", "d : d", "batchnorm_grad"),
    ("batchnorm.c", "q_fma(g, h, sum[a->dim + i])", "q_fma(g, x[i], sum[a->dim + i])", "batchnorm_grad_blocks"),
    ("train.c", "grad[i] = 2 * d", "grad[i] = d", "mse"),
    ("train.c", "(1 / ((q_real)rows * (q_real)a->dim))", "(1 / (q_real)rows)", "mse"),
    ("train.c", "&& !a->accumulate", "", "bias_grad"),
    ("optim.c", "a->grad[i] * a->grad_scale", "a->grad[i]", "sgd"),
    ("optim.c", "g > a->limit ? a->limit : g", "g", "adam"),
    ("optim.c", "a->decay > 0 ? q_fma(a->decay, a->w[i], g) : g", "g", "sgd"),
    ("optim.c", "a->nesterov != 0 ? q_fma(a->beta1, a->m[i], g) : a->m[i]", "a->m[i]", "sgd"),
    ("optim.c", "a->correction, a->eps", "1, a->eps", "adam"),
    ("optim.c", "(a->rest2 * g) * g", "a->rest2 * g", "adam"),
    ("optim.c", "u < 0 ? (q_real)-1 : 0", "(q_real)-1", "lion"),
    ("optim.c", "q_fma(a->beta2, a->m[i], a->rest2 * g)", "q_fma(a->beta2, a->m[i], g)", "lion"),
    ("optim.c", "a->partial[c] = scalar_lane_sum(lane)", "a->partial[c] = lane[0]", "sum_squares"),
    ("optim.c", "a->x[i] * a->factor", "a->x[i] + a->factor", "rescale"),
    ("optim.c", "a->x[i] - a->average[i], a->average[i]", "a->x[i], a->average[i]", "average"),
    ("rope.c", "out[i] = q_fma(xi, table[i], -(xj * table[i + n]))", "out[i] = xi * table[i] - xj * table[i + n]", None),
    ("scalar.h", "half = Q_LANES / 2; half > 0", "half = Q_LANES / 2; half > 1", "softmax"),
]
# Mutants marked None are no defects (the result is the same) and show that the harness can pass.


def compile_one(cc, source, out, *more):
    subprocess.run([cc, *FLAGS, *more, "-c", str(source), "-o", str(out)], check=True)


def build(cc, folder, scalar):
    """Objects of the scalar folder given; returns them."""
    objects = []
    for source in sorted(scalar.glob("*.c")):
        out = folder / f"scalar_{source.stem}.o"
        compile_one(cc, source, out)
        objects.append(out)
    return objects


def failures(folder, runner, objects, cc):
    """Kernels with a failing case, by the runner's own words."""
    program = folder / "mutant"
    subprocess.run([cc, *map(str, runner + objects), "-o", str(program)], check=True)
    packs = sorted(str(p) for p in (ROOT / "vectors/kernels").glob("*.qvec"))
    done = subprocess.run([str(program), "scalar", *packs], stdout=subprocess.PIPE, text=True)
    lines = [line.split()[1].rstrip(":") for line in done.stdout.splitlines() if line.startswith("FAIL ")]
    return set(lines) if done.returncode in (0, 1) else {"stopped"}


def mutate(folder, file, old, new):
    """A copy of backends/scalar/ (beside a link to include/) with one text replaced."""
    copy = folder / "backends/scalar"
    copy.mkdir(parents=True, exist_ok=True)
    link = folder / "include"
    if not link.is_symlink():
        link.symlink_to(ROOT / "include")
    for source in SCALAR.iterdir():
        text = source.read_text()
        if source.name == file:
            if old not in text:
                raise SystemExit(f"mutants: {file} no longer has {old!r}")
            text = text.replace(old, new)
        target = copy / source.name
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
    return copy


def affected(folder, cc, copy, file, base):
    """Objects with the mutated file compiled again; all of them for a header."""
    if file.endswith(".h"):
        return build(cc, folder, copy)
    out = folder / "mutated.o"
    compile_one(cc, copy / file, out)
    return [out if o.name == f"scalar_{file[:-2]}.o" else o for o in base]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="where to build")
    parser.add_argument("--cc", default="cc")
    options = parser.parse_args()
    base_folder, mutant_folder = options.folder / "base", options.folder / "mutant"
    base_folder.mkdir(parents=True, exist_ok=True)
    mutant_folder.mkdir(parents=True, exist_ok=True)
    overlays = base_folder / "no_overlays.c"
    overlays.write_text(NO_OVERLAYS)
    sources = [ROOT / f"test/vectors/{name}.c" for name in
               ("runner", "compare", "drive", "drive_element", "drive_image", "drive_norm", "drive_recurrent", "drive_train", "text",
                "main_posix")]
    runner = []
    for source in [*sources, ROOT / "port/x86/cpu_detect.c", overlays]:
        out = base_folder / f"{source.stem}.o"
        compile_one(options.cc, source, out)
        runner.append(out)
    base = build(options.cc, base_folder, SCALAR)
    before = failures(base_folder, runner, base, options.cc)
    if before:
        print(f"unmutated kernels fail already: {' '.join(sorted(before))}")
    survived = 0
    for file, old, new, kernel in MUTANTS:
        copy = mutate(mutant_folder, file, old, new)
        found = failures(mutant_folder, runner, affected(mutant_folder, options.cc, copy, file, base), options.cc)
        fine = kernel in found or "stopped" in found if kernel else found == before
        if kernel in before:
            fine = False
        survived += not fine
        if not fine:
            print(f"SURVIVED {file}: {old!r} -> {new!r}, expected {kernel}, failing: {' '.join(sorted(found)) or 'none'}")
    print(f"{len(MUTANTS) - survived} passed, {survived + len(before)} failed, 0 skipped")
    return 1 if survived or before else 0


if __name__ == "__main__":
    sys.exit(main())
