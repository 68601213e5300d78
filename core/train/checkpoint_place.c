/* SPDX-License-Identifier: MIT */
/* Where checkpoints lie: two slots of an open file, or two files; which of them is the newest whole one. */
#include "checkpoint_inner.h"

q_error_code q_checkpoint_fail(const q_checkpoint_place *p, q_error_code e, const char *field, uint64_t need, uint64_t have,
                               q_diag *diag)
{
    return q_fail(diag, e, p->path != NULL ? p->path : "checkpoint", field, need, have);
}

/* CRC-32 of Ethernet (IEEE 802.3), bits from the lowest up. */
uint32_t q_checkpoint_crc(const checkpoint_record *r)
{
    const uint8_t *bytes = (const uint8_t *)r;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < offsetof(checkpoint_record, crc); i++) {
        crc ^= bytes[i];
        for (uint32_t bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1u)));
        }
    }
    return ~crc;
}

static bool is_unit(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0 && n <= CHECKPOINT_MAX_BLOCK;
}

uint32_t q_checkpoint_block(const q_block_facts *facts)
{
    uint32_t block = Q_CHECKPOINT_RECORD;
    if (facts == NULL) {
        return block;
    }
    if (!is_unit(facts->atomic_bytes) || !is_unit(facts->erase_bytes)) {
        return 0;
    }
    block = facts->atomic_bytes > block ? facts->atomic_bytes : block;
    return facts->erase_bytes > block ? facts->erase_bytes : block;
}

const char *q_checkpoint_name(const q_checkpoint_place *p, const char *suffix, q_block work)
{
    char *name = (char *)work.base;
    size_t n = 0;
    for (; p->path[n] != '\0'; n++) {
        name[n] = p->path[n];
    }
    do {
        name[n++] = *suffix;
    } while (*suffix++ != '\0');
    return name;
}

static bool port_has_slots(const q_port *p)
{
    return p != NULL && p->file_size != NULL && p->file_read_at != NULL && p->file_write_at != NULL && p->file_sync != NULL;
}

/* ---- Arguments ---------------------------------------------------------------------------------------------- */

static q_error_code check_path(const q_checkpoint_place *p, q_diag *diag)
{
    size_t n = 0;
    while (n <= Q_CHECKPOINT_MAX_PATH && p->path[n] != '\0') {
        n++;
    }
    return n != 0 && n <= Q_CHECKPOINT_MAX_PATH ? Q_OK
                                               : q_fail(diag, Q_ERR_INVALID_SIZE, "q_checkpoint_place", "path",
                                                        Q_CHECKPOINT_MAX_PATH, n);
}

/* The two slots: where, and how large. */
static q_error_code check_slots(const q_checkpoint_place *p, checkpoint_choice *c, q_diag *diag)
{
    const char *who = "q_checkpoint_place";
    q_block_facts facts = {1, 1};
    uint64_t size = 0;
    const uint64_t each = p->slot_bytes;
    q_error_code e = each != 0 ? Q_OK : q_fail(diag, Q_ERR_INVALID_ARG, who, "slot_bytes", 2 * Q_CHECKPOINT_RECORD, 0);
    if (e != Q_OK) {
        return e;
    }
    if (p->port->block_facts != NULL) {
        PORT_CALL(e, p->port->block_facts(p->port->user, p->file, &facts));
    }
    if (e == Q_OK) {
        PORT_CALL(e, p->port->file_size(p->port->user, p->file, &size));
    }
    c->block = q_checkpoint_block(&facts);
    if (e != Q_OK || c->block == 0) {
        return q_checkpoint_fail(p, e != Q_OK ? e : Q_ERR_INVALID_SIZE, e != Q_OK ? "size" : "facts", CHECKPOINT_MAX_BLOCK,
                                 0, diag);
    }
    if (p->offset % c->block != 0 || each % c->block != 0) {
        return q_fail(diag, Q_ERR_MISALIGNED, who, p->offset % c->block != 0 ? "offset" : "slot_bytes", c->block,
                      p->offset % c->block != 0 ? p->offset : each);
    }
    size = size > p->offset ? (size - p->offset) / 2 / c->block * c->block : 0;
    if (each > size || each <= c->block) {
        return q_fail(diag, Q_ERR_NO_SPACE, who, "slot_bytes", each > size ? each : 2 * (uint64_t)c->block, size);
    }
    for (uint32_t i = 0; i < 2; i++) {
        c->slots[i].file = p->file;
        c->slots[i].at = p->offset + i * each;
        c->slots[i].room = each;
    }
    return Q_OK;
}

static q_error_code check_place(const q_checkpoint_place *p, q_block work, q_diag *diag)
{
    const char *who = "q_checkpoint_place";
    if (p == NULL || p->struct_size != sizeof(*p) || p->reserved != 0 || work.base == NULL) {
        return q_fail(diag, Q_ERR_INVALID_ARG, who, p == NULL ? "place" : work.base == NULL ? "work" : "struct_size",
                      sizeof(*p), p != NULL ? p->struct_size : 0);
    }
    if (p->path != NULL ? !port_has_files(p->port) : !port_has_slots(p->port)) {
        return q_fail(diag, Q_ERR_NOT_SUPPORTED, who, "port", 1, 0);
    }
    if (work.size < Q_CHECKPOINT_WORK) {
        return q_fail(diag, Q_ERR_NO_SPACE, who, "work", Q_CHECKPOINT_WORK, work.size);
    }
    return p->path != NULL ? check_path(p, diag) : Q_OK;
}

/* ---- Looking ------------------------------------------------------------------------------------------------ */

/* A file that is there is open afterwards. */
static q_error_code open_file(const q_checkpoint_place *p, uint32_t i, q_block work, checkpoint_slot *s, q_diag *diag)
{
    const char *name = i == 0 ? p->path : q_checkpoint_name(p, Q_CHECKPOINT_PREVIOUS, work);
    q_error_code e;
    PORT_CALL(e, p->port->file_open(p->port->user, name, Q_OPEN_READ, &s->file));
    if (e == Q_ERR_NOT_FOUND) {
        s->code = e;
        return Q_OK;
    }
    if (e != Q_OK) {
        return q_checkpoint_fail(p, e, "open", 0, 0, diag);
    }
    s->open = true;
    PORT_CALL(e, p->port->file_size(p->port->user, s->file, &s->room));
    return e == Q_OK ? Q_OK : q_checkpoint_fail(p, e, "size", 0, 0, diag);
}

/* What a record's bytes are worth by themselves. */
static q_error_code check_record(checkpoint_slot *s)
{
    const checkpoint_record *r = &s->record;
    const uint8_t any = r->magic[0];
    bool blank = any == 0 || any == 0xff;
    uint8_t rest = 0;
    if (memcmp(r->magic, Q_CHECKPOINT_MAGIC, sizeof(r->magic)) != 0) {
        for (uint32_t i = 0; i < sizeof(*r); i++) {
            blank = blank && ((const uint8_t *)r)[i] == any;
        }
        return blank ? Q_ERR_NOT_FOUND : Q_ERR_NOT_QORUS;
    }
    if (r->crc != q_checkpoint_crc(r)) {
        return Q_ERR_CORRUPT;
    }
    s->counted = true;
    if (r->version != Q_CHECKPOINT_VERSION) {
        return Q_ERR_VERSION;
    }
    for (uint32_t i = 0; i < sizeof(r->reserved); i++) {
        rest |= r->reserved[i];
    }
    if (rest != 0 || !is_unit(r->block) || r->block < Q_CHECKPOINT_RECORD || r->bytes < sizeof(checkpoint_head)) {
        return Q_ERR_CORRUPT;
    }
    return s->room >= r->block && r->bytes <= s->room - r->block && checkpoint_sectors(r->bytes) <= s->room - r->block
               ? Q_OK
               : Q_ERR_TRUNCATED;
}

static void look(const q_port *port, checkpoint_slot *s)
{
    q_error_code e;
    if (s->code != Q_OK) {
        return;
    }
    if (s->room < sizeof(s->record)) {
        s->code = Q_ERR_NOT_QORUS;
        return;
    }
    PORT_CALL(e, port->file_read_at(port->user, s->file, s->at, &s->record, sizeof(s->record)));
    s->code = e == Q_OK ? check_record(s) : e;
}

/* ---- Choosing ----------------------------------------------------------------------------------------------- */

/* Is a payload what its record says? */
static q_error_code check_payload(const q_checkpoint_place *p, const checkpoint_slot *s, q_block work)
{
    checkpoint_stream in = q_checkpoint_stream(p->port, s->file, s->at + s->record.block, s->record.bytes, work);
    uint8_t hash[Q_CHECKPOINT_HASH];
    const uint8_t *bytes;
    size_t got = 0;
    for (uint64_t at = 0; at < s->record.bytes; at += got) {
        q_error_code e = q_checkpoint_take(&in, s->record.bytes - at, &bytes, &got);
        if (e != Q_OK) {
            return e;
        }
        q_sha256_update(&in.sha, bytes, got);
    }
    q_sha256_final(&in.sha, hash);
    return memcmp(hash, s->record.hash, sizeof(hash)) == 0 ? Q_OK : Q_ERR_HASH;
}

/* Sequences count modulo 2^64. */
static bool is_newer(uint64_t a, uint64_t b)
{
    return a != b && a - b < (uint64_t)1 << 63;
}

static void choose(q_checkpoint_place *p, q_block work, checkpoint_choice *c)
{
    checkpoint_slot *s = c->slots;
    uint32_t first = !s[0].counted || (s[1].counted && is_newer(s[1].record.sequence, s[0].record.sequence)) ? 1 : 0;
    c->next = s[first].counted ? s[first].record.sequence + 1 : 1;
    c->newest = 2;
    for (uint32_t k = 0; k < 2 && c->newest == 2; k++) {
        uint32_t i = first ^ k;
        bool known = p->known != 0 && memcmp(s[i].record.hash, p->good, sizeof(p->good)) == 0;
        if (s[i].code == Q_OK && !known) {
            s[i].code = check_payload(p, &s[i], work);
        }
        if (s[i].code == Q_OK || s[i].code == Q_ERR_VERSION) {
            c->newest = i;
        }
    }
    p->known = c->newest < 2 && s[c->newest].code == Q_OK ? 1 : 0;
    if (p->known != 0) {
        memcpy(p->good, s[c->newest].record.hash, sizeof(p->good));
    }
}

/* Of two reasons the one that says more. */
static q_error_code graver(q_error_code a, q_error_code b)
{
    static const q_error_code order[] = {Q_ERR_NOT_FOUND, Q_ERR_NOT_QORUS, Q_ERR_TRUNCATED, Q_ERR_CORRUPT, Q_ERR_HASH};
    for (uint32_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (a == order[i] || b == order[i]) {
            return a == order[i] ? b : a;
        }
    }
    return a;
}

q_error_code q_checkpoint_choose(q_checkpoint_place *p, q_block work, checkpoint_choice *choice, q_diag *diag)
{
    q_error_code e = check_place(p, work, diag);
    memset(choice, 0, sizeof(*choice));
    choice->block = Q_CHECKPOINT_RECORD;
    choice->newest = 2;
    if (e == Q_OK && p->path == NULL) {
        e = check_slots(p, choice, diag);
    }
    for (uint32_t i = 0; i < 2 && e == Q_OK && p->path != NULL; i++) {
        e = open_file(p, i, work, &choice->slots[i], diag);
    }
    if (e != Q_OK) {
        return e;
    }
    look(p->port, &choice->slots[0]);
    look(p->port, &choice->slots[1]);
    choose(p, work, choice);
    choice->why = choice->newest < 2 ? choice->slots[choice->newest].code
                                     : graver(choice->slots[0].code, choice->slots[1].code);
    return Q_OK;
}

void q_checkpoint_leave(const q_checkpoint_place *p, checkpoint_choice *choice)
{
    for (uint32_t i = 0; i < 2; i++) {
        q_error_code closed = Q_OK;
        if (choice->slots[i].open) {
            PORT_CALL(closed, p->port->file_close(p->port->user, choice->slots[i].file));
        }
        choice->slots[i].open = false;
        (void)closed; /* nothing was written */
    }
}
