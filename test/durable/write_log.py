# SPDX-License-Identifier: MIT
"""What a disk may hold after the power went: images made from the log of QEMU's driver blklogwrites.

A write is on the medium once a flush that came after it has ended. Until then each of its sectors may be there or not, in
whatever order, and one of them may be torn. Sectors are 512 bytes.
"""
import struct

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, DISCARD, MARK = 1, 4, 8
FEW = 8  # sectors of which every subset is tried


def read_log(path):
    """[(first sector, bytes) of a write, or None of a flush], in the order of the device."""
    data = path.read_bytes()
    magic, version, _, size = struct.unpack_from("<QQQI", data)
    if (magic, version, size) != (MAGIC, 1, SECTOR):
        raise ValueError(f"{path} is no log of blklogwrites, version 1, with sectors of {SECTOR} bytes")
    at, entries = SECTOR, []
    while at < len(data):  # the count of entries in the first sector is as old as the last flush
        sector, n_sectors, flags, _ = struct.unpack_from("<QQQQ", data, at)
        if flags & (DISCARD | MARK):
            raise ValueError(f"{path} has a discard or a mark, which no image of ours makes")
        at += SECTOR
        if n_sectors:
            entries.append((sector, data[at:at + n_sectors * SECTOR]))
            at += n_sectors * SECTOR
        if flags & FLUSH:
            entries.append(None)
    return entries


def subsets(n, chance, n_random):
    """Of the numbers below n: every one, or, where there are many, all and none, the first and the last k, one missing, one
    alone, and some by chance."""
    if n <= FEW:
        return [[i for i in range(n) if bits >> i & 1] for bits in range(1 << n)]
    every = range(n)
    return ([list(every[:k]) for k in range(n + 1)] + [list(every[k:]) for k in range(1, n)]
            + [[i for i in every if i != k] for k in every] + [[k] for k in every]
            + [[i for i in every if chance.random() < share] for share in (0.1, 0.5, 0.9) for _ in range(n_random)])


class Disk:
    """An image, and the sectors written since its last flush."""

    def __init__(self, image):
        self.durable = bytearray(image)
        self.pending = []  # (sector, its bytes), oldest first

    def write(self, first, data):
        self.pending += [(first + i, data[i * SECTOR:(i + 1) * SECTOR]) for i in range(len(data) // SECTOR)]

    def flush(self):
        self.durable = bytearray(self.image(range(len(self.pending))))
        self.pending = []

    def image(self, kept, torn=None):
        """With the pending sectors of these numbers put there in this order; torn: (number, sector as it then is)."""
        image = bytearray(self.durable)
        for i in kept:
            sector, data = self.pending[i]
            at = sector * SECTOR
            image[at:at + SECTOR] = torn[1] if torn and i == torn[0] else data
        return bytes(image)

    def tear(self, i, chance):
        """Sector number i with some bytes as they were, or as no one wrote them."""
        sector, data = self.pending[i]
        first = chance.randrange(SECTOR)
        last = min(SECTOR, first + chance.choice([1, 8, 64, SECTOR]))
        old = self.durable[sector * SECTOR + first:sector * SECTOR + last]
        return i, data[:first] + (old if chance.random() < 0.5 else chance.randbytes(last - first)) + data[last:]

    def after_a_cut(self, chance, n_random):
        """Images that a cut of the power now may leave."""
        every = range(len(self.pending))
        for kept in subsets(len(every), chance, n_random):
            yield self.image(kept)
        yield self.image(reversed(every))
        for i in every:
            for _ in range(2 + 32 // len(every)):
                yield self.image(every, self.tear(i, chance))
                yield self.image([i], self.tear(i, chance))
