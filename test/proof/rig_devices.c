/* SPDX-License-Identifier: MIT */
/* Entries of the catalogue that are about what computes: a CPU without features, a device that is lost, a copy that fails. */
#include "rig.h"

#include "../../tools/common/backends.h"
#include "../ops/fake_device.h"

#include "qorus/base/mem.h"

enum { VALUES = 16, ROWS = 4, IDS = 6 };

/* Where the CPU tells of no features, the scalar backend is the only one. */
static void check_no_features(rig *r)
{
    bool good = true;
    for (uint32_t i = 0; backend_name(i) != NULL; i++) {
        q_backend backend;
        good = good && backend_make(&backend, backend_name(i), 0) == (i == 0);
    }
    rig_report(r, good, "P22_no_features", Q_OK, NULL);
}

static bool on_device(q_tensor *t, void *data, uint32_t dtype, uint32_t rows, uint32_t columns)
{
    const uint32_t ne[4] = {1, 1, rows, columns};
    bool good = q_tensor_init(t, data, dtype, Q_PLAIN, ne, NULL) == Q_OK;
    t->device = Q_DEVICE_MOCK;
    return good;
}

/* An op that answers so, names the field, and what is right once the device works again. */
static void check_devices(rig *r)
{
    static Q_ALIGNED(64) q_real table[ROWS * VALUES];
    static Q_ALIGNED(64) q_real rows[IDS * VALUES];
    static Q_ALIGNED(64) int32_t list[IDS];
    fake_device device;
    q_op_context ctx;
    q_tensor w;
    q_tensor out;
    q_tensor ids;
    q_diag *d = &r->diag;
    q_error_code e = fake_device_open(&device, r->host->port, &ctx);
    bool built = e == Q_OK && on_device(&w, table, Q_REAL, ROWS, VALUES) && on_device(&out, rows, Q_REAL, IDS, VALUES) &&
                 on_device(&ids, list, Q_I32, 1, IDS);
    rig_report(r, built && q_op_exp(&ctx, &out, &out, d) == Q_OK, "P24_device_accepted_twin", e, d);
    device.finish = Q_ERR_NO_DEVICE;
    e = q_op_exp(&ctx, &out, &out, d);
    rig_report(r, e == Q_ERR_NO_DEVICE && rig_same_text(d->field, "finish"), "P24_device_lost", e, d);
    device.finish = Q_OK;
    device.download = Q_ERR_IO;
    e = q_op_embedding(&ctx, &w, &ids, 1, &out, d);
    rig_report(r, e == Q_ERR_IO && rig_same_text(d->field, "download"), "P25_copy_from_a_device_fails", e, d);
    device.download = Q_OK;
    e = q_op_embedding(&ctx, &w, &ids, 1, &out, d);
    rig_report(r, e == Q_OK, "P25_and_succeeds_again", e, d);
}

void rig_devices(rig *r)
{
    check_no_features(r);
    check_devices(r);
}
