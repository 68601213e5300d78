# SPDX-License-Identifier: MIT
"""Vectors of convolution and pooling of images and of their gradients."""
import numpy as np

import exact
from bits import Bits
from kernel_gemm import add_epilogue, bias_of, finish, make_epilogue
from qvec import ACTIVATIONS, BATCH, ONE, ROWS, T0, TOKENS, Case, t2

MAX, AVERAGE = 0, 1


class Shape:
    """Sizes of a convolution or of pooling, and which input pixel each tap of each output sees."""

    def __init__(self, image, out_c, kernel, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1):
        self.height, self.width, self.channels = image
        self.out_c = out_c
        self.kernel, self.stride, self.pad, self.dilation, self.groups = kernel, stride, pad, dilation, groups
        self.out = tuple((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, p, d, k, s in
                         zip(image, pad, dilation, kernel, stride))
        self.group_in, self.group_out = self.channels // groups, out_c // groups

    def scalars(self, samples, sym):
        n, run = (samples, {}) if sym == ONE else (1, {{BATCH: "n_batch", TOKENS: "n_tokens",
                                                       ROWS: "n_batch"}[sym]: samples})
        return [n, sym, self.height, self.width, self.channels, *self.out, self.out_c, *self.kernel, *self.stride,
                *self.pad, *self.dilation, self.groups], run

    def taps(self):
        return [(kh, kw) for kh in range(self.kernel[0]) for kw in range(self.kernel[1])]

    def place(self, oh, ow, kh, kw):
        """Input place of a tap, which may lie outside the image."""
        return (oh * self.stride[0] + kh * self.dilation[0] - self.pad[0],
                ow * self.stride[1] + kw * self.dilation[1] - self.pad[1])

    def inside(self, h, w):
        return 0 <= h < self.height and 0 <= w < self.width

    def outputs(self, samples):
        return [(b, oh, ow) for b in range(samples) for oh in range(self.out[0]) for ow in range(self.out[1])]

    def unfold(self, x):
        """[pixels of the output][group][taps * channels of the group], zeros for padding."""
        samples = len(x)
        rows = np.zeros((samples * self.out[0] * self.out[1], self.groups, len(self.taps()), self.group_in))
        for p, (b, oh, ow) in enumerate(self.outputs(samples)):
            for t, tap in enumerate(self.taps()):
                h, w = self.place(oh, ow, *tap)
                if self.inside(h, w):
                    rows[p, :, t] = x[b, h, w].astype(np.float64).reshape(self.groups, self.group_in)
        return rows.reshape(len(rows), self.groups, len(self.taps()) * self.group_in)


def total(start, terms):
    """Exact start + sum of terms along the last axis, and the sum of magnitudes."""
    with np.errstate(invalid="ignore"):
        both = np.concatenate([start[..., None], terms], axis=-1)
    return exact.row_sums(both), exact.row_sums(np.abs(both))


def rows_of(images):
    return images.reshape(-1, images.shape[-1])


# ---- Convolution -----------------------------------------------------------------------------------------

def conv_case(name, shape, samples=2, parts=(), activation="none", sym=BATCH, gap=0, x=None, w=None, size=1.0):
    bits = Bits(f"conv2d/{name}")
    x = bits.real((samples, shape.height, shape.width, shape.channels), size) if x is None else x
    k = len(shape.taps()) * shape.group_in
    w = bits.real((shape.out_c, k), 1.0 / np.sqrt(k)) if w is None else w
    unfolded = shape.unfold(x)
    rows = len(unfolded)
    e = make_epilogue(bits, parts, rows, shape.out_c, activation)
    weights = w.astype(np.float64).reshape(shape.groups, shape.group_out, k)
    with np.errstate(invalid="ignore", over="ignore"):
        products = (unfolded[:, :, None, :] * weights[None]).reshape(rows, shape.out_c, k)
    y, s = total(np.broadcast_to(bias_of(e, shape.out_c), (rows, shape.out_c)), products)
    y, s, extra = finish(y, s, e)
    scalars, run = shape.scalars(samples, sym)
    case = Case(name, [*scalars, ACTIVATIONS.index(activation)], **run)
    case.input("x", rows_of(x), gap=gap, shift=4 if gap else 0).input("weights", w, gap=gap)
    add_epilogue(case, e, gap)
    return case.output("y", exact.f32(y), t2(k + extra, s), gap=gap, shift=4 if gap else 0)


def shapes():
    """Shapes every kernel of convolution is asked for: (name, shape, samples)."""
    out = [(f"{c} to {n}", Shape((3, 3, c), n, (3, 3), pad=(1, 1)), 1)
           for c, n in ((1, 1), (1, 16), (2, 7), (3, 8), (7, 9), (8, 15), (9, 17), (15, 3), (16, 16), (3, 33), (17, 18))]
    out += [(f"image {h}x{w}", Shape((h, w, 3), 5, (3, 3), pad=(1, 1)), 2)
            for h, w in ((1, 1), (1, 13), (13, 1), (2, 2), (3, 17), (5, 12))]
    out += [(f"kernel {a}x{b}", Shape((7, 8, 2), 3, (a, b)), 1)
            for a, b in ((1, 1), (1, 3), (3, 1), (2, 2), (5, 5), (7, 8), (4, 3))]
    out += [(f"stride {a}x{b}", Shape((8, 7, 3), 4, (3, 3), stride=(a, b), pad=(1, 1)), 1)
            for a, b in ((2, 2), (1, 2), (3, 1), (4, 5), (8, 8))]
    out += [(f"padding {a}x{b}", Shape((4, 3, 2), 3, (3, 3), pad=(a, b)), 1) for a, b in ((0, 1), (1, 0), (2, 2), (5, 4))]
    out += [(f"dilation {a}x{b}", Shape((9, 9, 2), 3, (3, 3), pad=(2, 1), dilation=(a, b)), 1)
            for a, b in ((2, 2), (1, 3), (3, 4))]
    out += [(f"stride {s} dilation {d}", Shape((11, 10, 2), 3, (3, 2), stride=(s, s), pad=(2, 1), dilation=(d, d)), 1)
            for s, d in ((2, 2), (2, 3), (3, 2), (4, 2), (4, 3), (6, 4))]
    out += [(f"{g} groups {c} to {n}", Shape((4, 3, c), n, (3, 3), pad=(1, 1), groups=g), 1)
            for g, c, n in ((2, 4, 6), (3, 9, 3), (4, 4, 8), (2, 6, 36), (5, 10, 10))]
    out += [(f"depthwise {c}", Shape((3, 5, c), c, (3, 3), pad=(1, 1), groups=c), 1)
            for c in (2, 7, 8, 9, 15, 16, 17, 33)]
    out += [("depthwise stride 2", Shape((7, 8, 5), 5, (3, 3), stride=(2, 2), pad=(1, 1), groups=5), 2),
            ("depthwise dilation 2", Shape((5, 20, 3), 3, (3, 3), pad=(2, 2), dilation=(2, 2), groups=3), 1),
            ("depthwise 5x4", Shape((6, 5, 17), 17, (5, 4), pad=(2, 1), groups=17), 1),
            ("pointwise stride 2", Shape((5, 5, 9), 10, (1, 1), stride=(2, 2)), 1),
            ("pointwise padded", Shape((3, 4, 5), 6, (1, 1), pad=(1, 1)), 2),
            ("many taps", Shape((6, 6, 20), 2, (5, 6), pad=(2, 2)), 1),
            ("one sample", Shape((6, 6, 4), 5, (3, 3), pad=(1, 1)), 1),
            ("no samples", Shape((4, 4, 4), 5, (3, 3), pad=(1, 1)), 0)]
    return out


PLAIN = Shape((4, 5, 3), 7, (3, 3), pad=(1, 1))
DEPTHWISE = Shape((4, 11, 3), 3, (3, 3), pad=(1, 1), groups=3)


def special_image(name, shape, samples=2):
    x = Bits(f"image/{name}").real((samples, shape.height, shape.width, shape.channels))
    x[0, 1, 2, 1], x[1, 0, 0, 0], x[1, 2, 3, 2], x[0, 3, 3, 0] = np.inf, np.nan, -np.inf, -0.0
    if name == "pool":
        x[0, 4, 4, 3] = x[0, 5, 4, 3] = x[1, 6, 5, 4] = np.nan
    return x


def conv_cases():
    cases = [conv_case(name, shape, samples) for name, shape, samples in shapes()]
    parts = ("bias", "scale", "shift", "gate", "residual")
    cases += [conv_case(f"epilogue {p}", PLAIN, parts=(p,)) for p in parts]
    cases += [conv_case(f"epilogue {a}", PLAIN, parts=("bias",), activation=a) for a in ACTIVATIONS[1:]]
    cases += [conv_case("epilogue all", PLAIN, parts=parts, activation="relu"),
              conv_case("depthwise epilogue all", DEPTHWISE, parts=parts, activation="silu"),
              conv_case("2 groups, epilogue all", Shape((4, 5, 6), 8, (3, 3), pad=(1, 1), groups=2), parts=parts,
                        activation="relu"),
              conv_case("strided", PLAIN, parts=parts, gap=12),
              conv_case("depthwise strided", DEPTHWISE, parts=parts, gap=20)]
    cases += [conv_case(f"count {label}", PLAIN, 3, sym=s) for label, s in (("one", ONE), ("tokens", TOKENS), ("rows", ROWS))]
    cases += [conv_case(f"specials {n}", s, x=special_image(n, s)) for n, s in (("plain", PLAIN), ("depthwise", DEPTHWISE))]
    w = Bits("conv2d weights").real((7, 27))
    w[0, 0], w[1, 26], w[2, 13] = np.inf, np.nan, -np.inf
    cases.append(conv_case("infinite weights meet padding", PLAIN, w=w))
    cases += [conv_case(f"size {v}", PLAIN, size=v) for v in (1e-20, 1e15)]
    cases.append(conv_case("large", Shape((7, 8, 16), 18, (3, 3), pad=(1, 1)), 1, parts=("bias",), activation="relu"))
    cases.append(conv_case("large, many channels", Shape((3, 3, 70), 8, (3, 3), pad=(1, 1)), 1))
    return cases


def grad_input_case(name, shape, samples=2, accumulate=0, sym=BATCH, gap=0, dy=None, w=None):
    bits = Bits(f"conv2d_grad_input/{name}")
    dy = bits.real((samples, *shape.out, shape.out_c)) if dy is None else dy
    k = len(shape.taps()) * shape.group_in
    w = bits.real((shape.out_c, k)) if w is None else w
    init = bits.real((samples, shape.height, shape.width, shape.channels)) if accumulate else None
    weights = w.astype(np.float64).reshape(shape.groups, shape.group_out, len(shape.taps()), shape.group_in)
    terms = [[[] for _ in range(shape.channels)] for _ in range(samples * shape.height * shape.width)]
    for b, oh, ow in shape.outputs(samples):
        value = dy[b, oh, ow].astype(np.float64).reshape(shape.groups, shape.group_out)
        for t, tap in enumerate(shape.taps()):
            h, v = shape.place(oh, ow, *tap)
            if not shape.inside(h, v):
                continue
            with np.errstate(invalid="ignore"):
                products = (value[:, :, None] * weights[:, :, t]).transpose(0, 2, 1).reshape(shape.channels, -1)
            for c in range(shape.channels):
                terms[(b * shape.height + h) * shape.width + v][c].extend(products[c].tolist())
    start = np.zeros((len(terms), shape.channels)) if init is None else rows_of(init).astype(np.float64)
    out = np.array([[exact.fsum([start[p, c]] + list_) for c, list_ in enumerate(row)] for p, row in enumerate(terms)])
    s = np.array([[exact.fsum([abs(start[p, c])] + [abs(v) for v in list_]) for c, list_ in enumerate(row)]
                  for p, row in enumerate(terms)])
    out, s = out.reshape(start.shape), s.reshape(start.shape)
    scalars, run = shape.scalars(samples, sym)
    case = Case(name, [*scalars, accumulate], **run)
    case.input("dy", rows_of(dy), gap=gap, shift=4 if gap else 0).input("weights", w, gap=gap)
    return case.output("dx", exact.f32(out), t2(len(shape.taps()) * shape.group_out, s), gap=gap,
                       init=None if init is None else rows_of(init))


def grad_input_cases():
    cases = [grad_input_case(name, shape, samples) for name, shape, samples in shapes()]
    cases += [grad_input_case(f"accumulate, {name}", shape, samples, accumulate=1)
              for name, shape, samples in shapes()[3::6]]
    cases += [grad_input_case("strided", PLAIN, gap=12), grad_input_case("depthwise strided", DEPTHWISE, gap=20),
              grad_input_case("accumulate depthwise", DEPTHWISE, accumulate=1)]
    cases += [grad_input_case(f"count {label}", PLAIN, 3, sym=s)
              for label, s in (("one", ONE), ("tokens", TOKENS), ("rows", ROWS))]
    dy = Bits("conv2d dy").real((2, 4, 5, 7))
    dy[0, 1, 2, 1], dy[1, 2, 3, 2], dy[1, 3, 1, 0] = np.inf, np.nan, -np.inf
    cases.append(grad_input_case("specials", PLAIN, dy=dy))
    cases.append(grad_input_case("large", Shape((7, 8, 16), 18, (3, 3), pad=(1, 1)), 1))
    return cases


def grad_weight_case(name, shape, samples=2, sym=BATCH, gap=0, x=None, dy=None):
    bits = Bits(f"conv2d_grad_weight/{name}")
    x = bits.real((samples, shape.height, shape.width, shape.channels)) if x is None else x
    dy = bits.real((samples, *shape.out, shape.out_c)) if dy is None else dy
    k = len(shape.taps()) * shape.group_in
    start = bits.real((shape.out_c, k))
    unfolded = shape.unfold(x)
    value = rows_of(dy).astype(np.float64).reshape(len(unfolded), shape.groups, shape.group_out)
    with np.errstate(invalid="ignore"):
        terms = np.einsum("pgo,pgk->gokp", value, unfolded).reshape(shape.out_c, k, len(unfolded))
    out, s = total(start.astype(np.float64), terms)
    scalars, run = shape.scalars(samples, sym)
    case = Case(name, scalars, **run)
    case.input("x", rows_of(x), gap=gap, shift=4 if gap else 0).input("dy", rows_of(dy), gap=gap)
    return case.output("grad", exact.f32(out), t2(len(unfolded) + 1, s), gap=gap, init=start)


def grad_weight_cases():
    cases = [grad_weight_case(name, shape, samples) for name, shape, samples in shapes()]
    cases += [grad_weight_case("strided", PLAIN, gap=12), grad_weight_case("depthwise strided", DEPTHWISE, gap=20)]
    cases += [grad_weight_case(f"count {label}", PLAIN, 3, sym=s)
              for label, s in (("one", ONE), ("tokens", TOKENS), ("rows", ROWS))]
    cases += [grad_weight_case(f"specials {n}", s, x=special_image(n, s))
              for n, s in (("plain", PLAIN), ("depthwise", DEPTHWISE))]
    dy = Bits("conv2d dy").real((2, 4, 5, 7))
    dy[0, 0, 0, 1], dy[1, 2, 3, 2] = np.inf, np.nan
    cases.append(grad_weight_case("infinite gradients meet padding", PLAIN, dy=dy))
    cases.append(grad_weight_case("large", Shape((7, 8, 16), 18, (3, 3), pad=(1, 1)), 1))
    cases.append(grad_weight_case("many pixels", Shape((28, 28, 1), 8, (3, 3), pad=(1, 1)), 1))
    return cases


# ---- Pooling ---------------------------------------------------------------------------------------------

def windows(shape, samples):
    """Per output: the pixels of its window that lie in the image, in order."""
    out = []
    for b, oh, ow in shape.outputs(samples):
        places = [shape.place(oh, ow, *tap) for tap in shape.taps()]
        out.append([(b * shape.height + h) * shape.width + w for h, w in places if shape.inside(h, w)])
    return out


def largest(column):
    """Place of the first of the largest values; a NaN is larger than all numbers."""
    nan = np.isnan(column)
    return int(np.argmax(nan)) if nan.any() else int(np.argmax(column))


def pool_shapes():
    out = [(f"{c} channels", Shape((4, 4, c), c, (2, 2), stride=(2, 2)), 1)
           for c in (1, 2, 3, 7, 8, 9, 15, 16, 17, 33)]
    out += [(f"kernel {a}x{b}", Shape((7, 8, 3), 3, (a, b), stride=(a, b)), 2)
            for a, b in ((1, 1), (1, 2), (3, 1), (3, 3), (5, 4))]
    out += [(f"stride {a}x{b}", Shape((7, 8, 3), 3, (3, 3), stride=(a, b)), 2) for a, b in ((1, 1), (2, 1), (4, 3), (5, 7))]
    out += [(f"padding {a}x{b}", Shape((5, 6, 3), 3, (4, 3), stride=(2, 1), pad=(a, b)), 2)
            for a, b in ((1, 0), (0, 1), (2, 1))]
    out += [("padded 3x3", Shape((5, 5, 18), 18, (3, 3), stride=(2, 2), pad=(1, 1)), 2),
            ("global", Shape((5, 4, 9), 9, (5, 4), stride=(5, 4)), 3), ("a pixel", Shape((1, 1, 3), 3, (1, 1)), 4),
            ("a row", Shape((1, 9, 2), 2, (1, 3), stride=(1, 3)), 2), ("no samples", Shape((4, 4, 3), 3, (2, 2)), 0)]
    return out


def pool_case(name, shape, kind, samples=2, include_pad=0, sym=BATCH, gap=0, x=None):
    bits = Bits(f"pool2d/{name}")
    x = bits.real((samples, shape.height, shape.width, shape.channels)) if x is None else x
    flat = rows_of(x)
    y = np.zeros((len(shape.outputs(samples)), shape.channels))
    s = np.zeros_like(y)
    for p, pixels in enumerate(windows(shape, samples)):
        inside = flat[pixels]
        if kind == MAX:
            y[p] = [inside[largest(inside[:, c]), c] for c in range(shape.channels)]
        else:
            n = len(shape.taps()) if include_pad else len(pixels)
            y[p], s[p] = (v / n for v in total(np.zeros(shape.channels), inside.T.astype(np.float64)))
    scalars, run = shape.scalars(samples, sym)
    case = Case(name, [*scalars, kind, include_pad], **run).input("x", flat, gap=gap, shift=4 if gap else 0)
    return case.output("y", exact.f32(y), T0 if kind == MAX else t2(len(shape.taps()) + 1, s), gap=gap)


def ties(shape, samples=2):
    """Small integers: windows with several largest values."""
    return Bits("pool2d ties").ints((samples, shape.height, shape.width, shape.channels), -1, 2).astype(np.float32)


PADDED = Shape((7, 6, 5), 5, (3, 3), stride=(2, 2), pad=(1, 1))


def pool_cases():
    cases = []
    for kind, label in ((MAX, "max"), (AVERAGE, "average")):
        cases += [pool_case(f"{label} {name}", shape, kind, samples) for name, shape, samples in pool_shapes()]
        cases += [pool_case(f"{label} specials", PADDED, kind, x=special_image("pool", PADDED)),
                  pool_case(f"{label} strided", PADDED, kind, gap=12),
                  pool_case(f"{label} ties", PADDED, kind, x=ties(PADDED)),
                  pool_case(f"{label} count one", PADDED, kind, 3, sym=ONE),
                  pool_case(f"{label} count tokens", PADDED, kind, 3, sym=TOKENS),
                  pool_case(f"{label} large", Shape((8, 12, 16), 16, (2, 2), stride=(2, 2)), kind, 1)]
    cases += [pool_case(f"padding counted {name}", shape, AVERAGE, samples, include_pad=1)
              for name, shape, samples in pool_shapes()[15:]]
    lowest = np.full((1, 3, 3, 2), -np.inf, dtype=np.float32)
    cases.append(pool_case("max of -infinity", Shape((3, 3, 2), 2, (2, 2), pad=(1, 1)), MAX, 1, x=lowest))
    return cases


def pool_grad_case(name, shape, kind, samples=2, include_pad=0, accumulate=0, sym=BATCH, gap=0, x=None):
    bits = Bits(f"pool2d_grad/{name}")
    x = bits.real((samples, shape.height, shape.width, shape.channels)) if x is None else x
    dy = bits.real((len(shape.outputs(samples)), shape.channels))
    flat = rows_of(x)
    init = bits.real(flat.shape) if accumulate else None
    terms = [[[0.0 if init is None else float(init[p, c])] for c in range(shape.channels)] for p in range(len(flat))]
    for p, pixels in enumerate(windows(shape, samples)):
        for c in range(shape.channels):
            if kind == MAX:
                terms[pixels[largest(flat[pixels, c])]][c].append(float(dy[p, c]))
                continue
            for pixel in pixels:
                terms[pixel][c].append(float(dy[p, c]) / (len(shape.taps()) if include_pad else len(pixels)))
    out = np.array([[exact.fsum(t) for t in row] for row in terms]).reshape(flat.shape)
    s = np.array([[exact.fsum([abs(v) for v in t]) for t in row] for row in terms]).reshape(flat.shape)
    scalars, run = shape.scalars(samples, sym)
    case = Case(name, [*scalars, kind, include_pad, accumulate], **run)
    case.input("x", flat, gap=gap, shift=4 if gap else 0).input("dy", dy, gap=gap)
    return case.output("dx", exact.f32(out), t2(2 * len(shape.taps()), s), gap=gap, init=init)


def pool_grad_cases():
    cases = []
    for kind, label in ((MAX, "max"), (AVERAGE, "average")):
        cases += [pool_grad_case(f"{label} {name}", shape, kind, samples) for name, shape, samples in pool_shapes()]
        cases += [pool_grad_case(f"{label} accumulate {name}", shape, kind, samples, accumulate=1)
                  for name, shape, samples in pool_shapes()[1::4]]
        cases += [pool_grad_case(f"{label} strided", PADDED, kind, gap=12),
                  pool_grad_case(f"{label} ties", PADDED, kind, x=ties(PADDED)),
                  pool_grad_case(f"{label} count one", PADDED, kind, 3, sym=ONE)]
    cases += [pool_grad_case(f"padding counted {name}", shape, AVERAGE, samples, include_pad=1)
              for name, shape, samples in pool_shapes()[15:]]
    cases.append(pool_grad_case("max specials", PADDED, MAX, x=special_image("pool", PADDED)))
    cases.append(pool_grad_case("max large", Shape((8, 12, 16), 16, (2, 2), stride=(2, 2)), MAX, 1))
    return cases


KERNELS = {"conv2d": conv_cases, "conv2d_grad_input": grad_input_cases, "conv2d_grad_weight": grad_weight_cases,
           "pool2d": pool_cases, "pool2d_grad": pool_grad_cases}
