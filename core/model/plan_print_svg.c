/* SPDX-License-Identifier: MIT */
/*
 * A plan's SCRATCH as a picture. Along x goes time: forward group by group, then backward event by event; along y the bytes
 * of the region. Each piece is a rectangle from the first to the last time it is alive, where it lies; rectangles of
 * different pieces never overlap. They stand in a drawing of its own whose units are times and bytes, so that the
 * numbers in the file are those of the plan.
 */
#include "plan_print.h"

enum {
    SVG_LEGEND = 26,
    SVG_LEFT = 84,
    SVG_TOP = 60,
    SVG_WIDTH = 860,
    SVG_HEIGHT = 360,
    SVG_PANEL = SVG_TOP + SVG_HEIGHT + 130, /* of one memory */
    SVG_MOST_TIMES = 56,  /* that get a name */
    SVG_MOST_CHARS = 22,  /* of one */
    SVG_MOST_TITLE = 48,  /* of a piece's */
    SVG_CHAR = 6,         /* width of one, in a piece */
    SVG_LINE = 12         /* height of a name in a piece */
};

/* ---- Pieces ----------------------------------------------------------------------------------------------- */

typedef enum svg_kind {
    SVG_INPUT, SVG_VALUE, SVG_QUANTISED, SVG_AGAIN, SVG_GRADIENT, SVG_WORK, SVG_OUTPUT, SVG_KINDS
} svg_kind;

/* Class in the picture, and colour. */
static const char *const svg_kinds[SVG_KINDS][2] = {
    {"input", "#8f8f8f"},    {"value", "#5b84b1"},   {"quantised", "#a9c4de"}, {"again", "#8d6cab"},
    {"gradient", "#d98a3d"}, {"scratch", "#c9bfae"}, {"output", "#5d9e5f"},
};

typedef struct svg_piece {
    const plan_piece *at;
    svg_kind kind;
    const char *letter; /* with the number, its id: v value, g gradient, s scratch of a step, b of its backward */
    const char *name;
    uint32_t number;
} svg_piece;

static svg_kind value_kind(const plan_value *v, uint32_t number)
{
    return v->producer == Q_NONE         ? SVG_INPUT
           : v->output                   ? SVG_OUTPUT
           : v->origin != number         ? SVG_AGAIN
           : q_dtype_is_a8(v->type.dtype) ? SVG_QUANTISED
                                         : SVG_VALUE;
}

/* The next piece of a tag from *at on, which counts values, gradients, scratch of steps and of backward; false: no more. */
static bool next_piece(const q_plan *p, uint32_t tag, uint32_t *at, svg_piece *out)
{
    uint32_t steps = p->n_steps + p->n_again;
    uint32_t all = 2 * p->n_values + 2 * steps;
    while (*at < all) {
        uint32_t i = (*at)++;
        bool there;
        if (i < 2 * p->n_values) {
            const plan_value *v = &p->values[i / 2];
            *out = i % 2 == 0 ? (svg_piece){&v->data, value_kind(v, i / 2), "v", v->name, i / 2}
                              : (svg_piece){&v->grad, SVG_GRADIENT, "g", v->name, i / 2};
            there = i % 2 == 0 ? v->used && v->root == i / 2 : v->grad.first <= v->grad.last;
        } else {
            uint32_t k = i / 2 - p->n_values;
            const plan_step *s = &p->steps[k];
            *out = i % 2 == 0 ? (svg_piece){&s->scratch, SVG_WORK, "s", s->name, k}
                              : (svg_piece){&s->scratch_back, SVG_WORK, "b", s->name, k};
            there = i % 2 != 0 || s->twin == Q_NONE || s->runs;
        }
        if (there && out->at->bytes != 0 && out->at->tag == tag) {
            return true;
        }
    }
    return false;
}

/* What the pieces of a tag take; behind them lie the workspaces of workers. */
static size_t drawn_bytes(const q_plan *p, uint32_t tag)
{
    return tag == 0 ? p->workspace_offset : p->needs.bytes[Q_REGION_SCRATCH][tag];
}

/* Most bytes alive at one time; *when: the first such time. */
static size_t most_alive(const q_plan *p, uint32_t tag, uint32_t times, uint32_t *when)
{
    size_t most = 0;
    *when = 0;
    for (uint32_t time = 0; time < times; time++) {
        size_t alive = 0;
        svg_piece piece;
        for (uint32_t at = 0; next_piece(p, tag, &at, &piece);) {
            alive += piece.at->first <= time && time <= piece.at->last ? piece.at->bytes : 0;
        }
        if (alive > most) {
            most = alive;
            *when = time;
        }
    }
    return most;
}

/* The step that something happens to at a time: the first of its group, or of an event of backward. */
static uint32_t step_at(const q_plan *p, uint32_t time)
{
    uint32_t k = 0;
    if (time >= p->n_groups) {
        return p->events[time - p->n_groups].step;
    }
    while (p->steps[k].group < time) {
        k++;
    }
    return k;
}

/* ---- Words ------------------------------------------------------------------------------------------------ */

/* At most so many bytes of a name, whole characters, as XML wants it. */
static void svg_name(plan_out *out, const char *name, uint32_t most)
{
    uint32_t n = 0;
    uint32_t whole = 0;
    while (name[n] != '\0' && n < most) {
        whole = ((uint8_t)name[n] & 0xc0u) != 0x80u ? n : whole;
        n++;
    }
    whole = ((uint8_t)name[n] & 0xc0u) != 0x80u ? n : whole;
    for (uint32_t i = 0; i < whole; i++) {
        char one[2] = {name[i], '\0'};
        q_print_str(out, name[i] == '<' ? "&lt;" : name[i] == '&' ? "&amp;" : (uint8_t)name[i] < 0x20 ? "?" : one);
    }
    q_print_str(out, name[n] != '\0' ? "\xe2\x80\xa6" : "");
}

static void svg_bytes(plan_out *out, uint64_t n)
{
    uint32_t shift = n < 10240 ? 0 : n < 10240 * 1024 ? 10 : 20;
    q_print_count(out, "", (n + ((uint64_t)1 << shift >> 1)) >> shift, shift == 0 ? " B" : shift == 10 ? " KiB" : " MiB");
}

static void svg_head(plan_out *out, uint32_t tag, uint32_t y, uint32_t times)
{
    const q_plan *p = out->plan;
    const q_maxima *max = &p->config.max;
    uint32_t when;
    size_t alive = most_alive(p, tag, times, &when);
    q_print_count(out, "<text class=\"head\" x=\"12\" y=\"", y + 22, "\">scratch memory");
    if (tag != 0) {
        q_print_count(out, " of tag ", tag, "");
    }
    q_print_count(out, ": ", drawn_bytes(p, tag), " bytes");
    q_print_count(out, ", most alive at once ", alive, " at ");
    svg_name(out, p->steps[step_at(p, when)].name, SVG_MOST_TITLE);
    if (p->needs.bytes[Q_REGION_SCRATCH][tag] != drawn_bytes(p, tag)) {
        q_print_count(out, "; behind them ", p->needs.bytes[Q_REGION_SCRATCH][tag] - drawn_bytes(p, tag), " of workspaces");
    }
    q_print_str(out, "</text>\n");
    q_print_count(out, "<text x=\"12\" y=\"", y + 39, "\">");
    q_print_str(out, q_print_mode(p));
    q_print_str(out, ", ");
    q_print_str(out, q_print_precision(p));
    q_print_count(out, "; batch ", max->batch, "");
    q_print_count(out, ", tokens ", max->tokens, "");
    q_print_count(out, ", kv ", max->kv, "");
    for (uint32_t kind = Q_REGION_PARAM; kind < Q_REGION_KINDS; kind++) {
        if (kind != Q_REGION_SCRATCH && p->needs.bytes[kind][0] != 0) {
            q_print_str(out, "; ");
            q_print_str(out, q_print_region(kind));
            q_print_count(out, " ", p->needs.bytes[kind][0], " bytes");
        }
    }
    q_print_str(out, "</text>\n");
}

/* ---- The drawing ------------------------------------------------------------------------------------------ */

/* Every other one is lighter, which keeps neighbours apart. */
static void svg_rect(plan_out *out, const svg_piece *piece)
{
    const plan_piece *at = piece->at;
    uint32_t others = 0;
    for (uint32_t v = 0; piece->letter[0] == 'v' && v < out->plan->n_values; v++) {
        others += v != piece->number && out->plan->values[v].used && out->plan->values[v].root == piece->number ? 1u : 0u;
    }
    q_print_str(out, "<rect id=\"");
    q_print_str(out, piece->letter);
    q_print_count(out, "", piece->number, "\" class=\"");
    q_print_str(out, svg_kinds[piece->kind][0]);
    q_print_count(out, piece->number % 2 != 0 ? " odd\" x=\"" : "\" x=\"", at->first, "\"");
    q_print_count(out, " y=\"", at->offset, "\"");
    q_print_count(out, " width=\"", at->last - at->first + 1, "\"");
    q_print_count(out, " height=\"", at->bytes, "\"><title>");
    svg_name(out, piece->name, SVG_MOST_TITLE);
    if (others != 0) {
        q_print_count(out, " and ", others, " in place");
    }
    q_print_count(out, ": ", at->bytes, " bytes</title></rect>\n");
}

/* y of the picture goes down, offsets go up. */
static void svg_pieces(plan_out *out, uint32_t tag, uint32_t y, uint32_t times)
{
    const q_plan *p = out->plan;
    size_t bytes = drawn_bytes(p, tag);
    svg_piece piece;
    q_print_count(out, "<svg x=\"", SVG_LEFT, "\"");
    q_print_count(out, " y=\"", y + SVG_TOP, "\"");
    q_print_count(out, " width=\"", SVG_WIDTH, "\"");
    q_print_count(out, " height=\"", SVG_HEIGHT, "\" preserveAspectRatio=\"none\"");
    q_print_count(out, " viewBox=\"0 -", bytes, "");
    q_print_count(out, " ", times, "");
    q_print_count(out, " ", bytes, "\"><g transform=\"scale(1 -1)\">\n");
    for (uint32_t at = 0; next_piece(p, tag, &at, &piece);) {
        svg_rect(out, &piece);
    }
    q_print_str(out, "</g></svg>\n");
}

/* Names of the pieces with room for one. */
static void svg_names(plan_out *out, uint32_t tag, uint32_t y, uint32_t times)
{
    const q_plan *p = out->plan;
    svg_piece piece;
    for (uint32_t at = 0; next_piece(p, tag, &at, &piece);) {
        const plan_piece *a = piece.at;
        uint64_t width = (uint64_t)(a->last - a->first + 1) * SVG_WIDTH / times;
        uint64_t height = (uint64_t)a->bytes * SVG_HEIGHT / drawn_bytes(p, tag);
        uint64_t middle = ((uint64_t)a->offset + a->bytes / 2) * SVG_HEIGHT / drawn_bytes(p, tag);
        if (height >= SVG_LINE && width >= (uint64_t)(SVG_CHAR * 8)) {
            q_print_count(out, "<text class=\"name\" x=\"", SVG_LEFT + (uint64_t)a->first * SVG_WIDTH / times + 4, "\"");
            q_print_count(out, " y=\"", y + SVG_TOP + SVG_HEIGHT + 3 - middle, "\">");
            svg_name(out, piece.name, (uint32_t)(width / SVG_CHAR < SVG_MOST_TITLE ? width / SVG_CHAR : SVG_MOST_TITLE));
            q_print_str(out, "</text>\n");
        }
    }
}

/* Names under the times, every so many; lines where backward begins and at quarters of the region. */
static void svg_axes(plan_out *out, uint32_t tag, uint32_t y, uint32_t times)
{
    const q_plan *p = out->plan;
    size_t bytes = drawn_bytes(p, tag);
    uint32_t every = (times + SVG_MOST_TIMES - 1) / SVG_MOST_TIMES;
    for (uint32_t i = 0; i <= 4; i++) {
        uint32_t at = y + SVG_TOP + SVG_HEIGHT - i * SVG_HEIGHT / 4;
        q_print_count(out, "<path d=\"M", SVG_LEFT - 5, "");
        q_print_count(out, " ", at, "h5\"/><text class=\"right\" x=\"");
        q_print_count(out, "", SVG_LEFT - 8, "\"");
        q_print_count(out, " y=\"", at + 4, "\">");
        svg_bytes(out, bytes / 4 * i);
        q_print_str(out, "</text>\n");
    }
    for (uint32_t time = 0; time < times; time += every) {
        uint32_t x = SVG_LEFT + (uint32_t)(((uint64_t)time * 2 + 1) * SVG_WIDTH / ((uint64_t)times * 2));
        q_print_count(out, "<text class=\"step\" transform=\"translate(", x + 3, "");
        q_print_count(out, " ", y + SVG_TOP + SVG_HEIGHT + 8, ") rotate(-90)\">");
        svg_name(out, p->steps[step_at(p, time)].name, SVG_MOST_CHARS);
        q_print_str(out, "</text>\n");
    }
    q_print_count(out, "<path d=\"M", SVG_LEFT, "");
    q_print_count(out, " ", y + SVG_TOP, "v");
    q_print_count(out, "", SVG_HEIGHT, "h");
    q_print_count(out, "", SVG_WIDTH, "\"/>\n");
    if (times > p->n_groups) {
        uint32_t x = SVG_LEFT + (uint32_t)((uint64_t)p->n_groups * SVG_WIDTH / times);
        q_print_count(out, "<path stroke-dasharray=\"4 3\" d=\"M", x, "");
        q_print_count(out, " ", y + SVG_TOP - 10, "v");
        q_print_count(out, "", SVG_HEIGHT + 10, "\"/><text x=\"");
        q_print_count(out, "", x + 4, "\"");
        q_print_count(out, " y=\"", y + SVG_TOP - 4, "\">backward</text>\n");
    }
}

/* ---- The page --------------------------------------------------------------------------------------------- */

static bool has_kind(const q_plan *p, svg_kind kind)
{
    svg_piece piece;
    for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
        for (uint32_t at = 0; next_piece(p, tag, &at, &piece);) {
            if (piece.kind == kind) {
                return true;
            }
        }
    }
    return false;
}

static void svg_legend(plan_out *out)
{
    uint32_t x = SVG_LEFT;
    for (svg_kind kind = 0; kind < SVG_KINDS; kind++) {
        if (has_kind(out->plan, kind)) {
            q_print_str(out, "<rect class=\"");
            q_print_str(out, svg_kinds[kind][0]);
            q_print_count(out, "\" x=\"", x, "\" y=\"9\" width=\"11\" height=\"11\"/>");
            q_print_count(out, "<text x=\"", x + 15, "\" y=\"18\">");
            q_print_str(out, svg_kinds[kind][0]);
            q_print_str(out, "</text>\n");
            x += 90;
        }
    }
}

void q_print_plan_svg(plan_out *out)
{
    const q_plan *p = out->plan;
    uint32_t times = p->n_groups + p->n_events;
    uint32_t y = SVG_LEGEND;
    uint32_t panels = 0;
    for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
        panels += drawn_bytes(p, tag) != 0 ? 1u : 0u;
    }
    q_print_count(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", SVG_LEFT + SVG_WIDTH + 16, "");
    q_print_count(out, " ", SVG_LEGEND + panels * SVG_PANEL, "\">\n<style>");
    q_print_str(out, "text{font:11px sans-serif;fill:#333}.head{font:bold 13px sans-serif}.step,.name{font-size:9px}"
                     ".step,.right{text-anchor:end}.name{fill:#111}path{stroke:#333;fill:none}.odd{fill-opacity:.8}");
    for (svg_kind kind = 0; kind < SVG_KINDS; kind++) {
        q_print_str(out, ".");
        q_print_str(out, svg_kinds[kind][0]);
        q_print_str(out, "{fill:");
        q_print_str(out, svg_kinds[kind][1]);
        q_print_str(out, "}");
    }
    q_print_str(out, "</style>\n<rect width=\"100%\" height=\"100%\" style=\"fill:#fff\"/>\n");
    svg_legend(out);
    for (uint32_t tag = 0; tag < Q_MAX_PLACES; tag++) {
        if (drawn_bytes(p, tag) != 0) {
            svg_head(out, tag, y, times);
            svg_pieces(out, tag, y, times);
            svg_names(out, tag, y, times);
            svg_axes(out, tag, y, times);
            y += SVG_PANEL;
        }
    }
    q_print_str(out, "</svg>\n");
}
