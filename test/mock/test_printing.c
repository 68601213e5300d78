/* SPDX-License-Identifier: MIT */
/* A plan over a device, printed: its devices, transfers, places and prepared parameters. */
#include "rig.h"

#include <string.h>

typedef struct page {
    char text[1 << 18];
    size_t n;
} page;

static void emit_page(void *user, const char *text, size_t n)
{
    page *p = (page *)user;
    if (n < sizeof(p->text) - p->n) {
        memcpy(p->text + p->n, text, n);
        p->n += n;
        p->text[p->n] = '\0';
    }
}

void test_mock_printing(const char *file)
{
    static rig r;
    static page p;
    rig_init(&r, file, Q_PRECISION_FAST, SPLIT_LINEARS, 0);
    rig_open(&r);
    q_plan_print(r.f.plan, Q_PLAN_TEXT, emit_page, &p);
    check(strstr(p.text, "device 0   mock, memory of tag 4") != NULL, "K40 devices are printed");
    check(strstr(p.text, " transfer ") != NULL, "K40 transfers are printed");
    check(strstr(p.text, "layers.0.q on mock (device 0)") != NULL, "K40 places are printed");
    check(strstr(p.text, "prepared/4 +") != NULL, "K40 prepared parameters are printed");
    p.n = 0;
    q_plan_print(r.f.plan, Q_PLAN_JSON, emit_page, &p);
    check(strstr(p.text, "\"place\":1") != NULL, "K40 places in JSON");
    rig_close(&r);
}
