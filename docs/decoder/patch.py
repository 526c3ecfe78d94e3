#!/usr/bin/env python3
"""A decoder of patches, as docs/patch-format.md describes them, to be ported.

    patch.py PATCH OLD NEW          applies a patch
    patch.py --vectors PATCH.JSON   runs the vectors

It holds whole contents in memory, so it is no measure of what a decoder needs.
This module has the container, walk.py decodes, references.py knows what is
predicted of addresses, shiftmap.py how far they have moved, instructions.py where
instructions carry them.
"""

import binascii
import hashlib
import json
import sys

from walk import Damaged, TooShort, Walk


class NoPatch(Exception):
    pass


class WrongOld(Exception):
    pass


STORED, MODELLED, SAME = 0, 1, 2
MOST = 1 << 40


class Reader:
    """Takes bytes from the beginning of others."""

    def __init__(self, b):
        self.b, self.at = b, 0

    def take(self, n):
        if len(self.b) - self.at < n:
            raise TooShort
        self.at += n
        return self.b[self.at - n:self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self, limit=1 << 63):
        v = 0
        for k in range(9):
            b = self.byte()
            v |= (b & 127) << 7 * k
            if b == 0 and k > 0:
                raise NoPatch
            if b < 128:
                if v >= limit:
                    raise NoPatch
                return v
        self.byte()
        raise NoPatch

    def size(self):
        return self.varint(MOST + 1)

    def signed(self):
        """A signed number of a recipe."""
        v = self.varint(1 << 34)
        k, z = v & 3, v >> 2
        x = ((z >> 1) ^ -(z & 1)) << 4 * k
        if x == 0 or z >= 1 << (32 - 4 * k) or k < 3 and x % (16 << 4 * k) == 0:
            raise NoPatch
        return x


class Recipe:
    """What is known of addresses: ranges are end, isa, words, big, old, new."""

    def __init__(self):
        self.ranges, self.extra, self.other = [], 0, (0, 0)

    def read(self, b):
        r = Reader(b)
        try:
            n = r.byte()
            if n > 12:
                raise NoPatch
            end = old = 0
            for _ in range(n):
                flags = r.byte()
                end += r.varint(1 << 32)
                if flags & 15 > 10 or end >= 1 << 32 or self.ranges and end == self.ranges[-1][0] or end == 0:
                    raise NoPatch
                if flags & 64:
                    old = (old + r.signed()) & 0xFFFFFFFF
                new = old
                if flags & 128:
                    new = (old + r.signed()) & 0xFFFFFFFF
                self.ranges.append((end, flags & 15, flags & 16 != 0, flags & 32 != 0, old, new))
            if n > 0:
                self.extra = r.varint(1 << 32)
                size = r.varint(1 << 20)
                if size > 0:
                    self.other = r.varint(1 << 20) << 12, size << 12
        except TooShort:
            raise NoPatch
        if r.at < len(b):
            raise NoPatch

    def spans(self):
        lo, hi, begins = 0xFFFFFFFF, 0, 0
        for end, isa, words, _, old, _ in self.ranges:
            if isa or words:
                lo = min(lo, (begins + old) & 0xFFFFFFFF)
                hi = max(hi, (end + old) & 0xFFFFFFFF)
            begins = end
        if hi <= lo:
            return (0, 0), (0, 0)
        return (lo, (hi - lo + self.extra) & 0xFFFFFFFF), self.other


class Header:
    def __init__(self, r):
        m0, m1, kind = r.take(3)
        if m0 != 0xD9 or m1 != 0x47 or kind >> 6 != 1:
            raise NoPatch
        self.method, self.tier, self.read_back = kind >> 4 & 3, kind >> 2 & 3, kind & 1 != 0
        if self.method == 3 or self.tier == 0:
            raise NoPatch
        self.old_size = self.new_size = r.size()
        self.old_sum = self.new_sum = r.take(4)
        self.slack = self.block = 0
        self.code, self.recipe = False, Recipe()
        if self.method != SAME:
            d = r.varint()
            self.new_size += (d >> 1) ^ -(d & 1)
            self.new_sum = r.take(4)
            if self.new_size < 0 or self.new_size > MOST:
                raise NoPatch
        if kind & 2:
            self.slack, self.block = r.size(), r.size()
            if self.block == 0:
                raise NoPatch
        if self.method == MODELLED:
            n = r.varint()
            if n > 200:
                raise NoPatch
            if n > 0:
                self.code = True
                self.recipe.read(r.take(n))


def sum_of(b):
    return hashlib.sha256(b).digest()[:4]


def apply(patch, old):
    """The new content."""
    r = Reader(patch)
    h = Header(r)
    if len(old) != h.old_size or sum_of(old) != h.old_sum:
        raise WrongOld
    if h.method == SAME:
        new = old
    elif h.method == STORED:
        new = r.take(h.new_size)
    else:
        new = bytes(Walk(h, old, patch[r.at:]).decode())
    if sum_of(new) != h.new_sum:
        raise Damaged
    return new


WHY = {"no patch": NoPatch, "too short": TooShort, "wrong old": WrongOld, "damaged": Damaged}


def run_vectors(name):
    with open(name) as f:
        v = json.load(f)
    contents = {k: binascii.a2b_base64(b) for k, b in v["contents"].items()}
    wrong = 0
    for c in v["cases"]:
        patch = binascii.a2b_base64(c["patch"])
        try:
            h = Header(Reader(patch))
            method = ("stored", "modelled", "same")[h.method]
            tier = ("", "6k", "64k", "1m")[h.tier]
            said = method, tier, h.block > 0, h.read_back
            if said != (c["method"], c["tier"], c["in_place"], c["read_back"]):
                result = "its header says " + str(said)
            elif apply(patch, contents[c["old"]]) != contents[c["new"]]:
                result = "gives another content"
            else:
                result = ""
        except (NoPatch, TooShort, WrongOld, Damaged) as e:
            result = "is refused: " + type(e).__name__
        if result:
            wrong += 1
            print(c["name"] + ": " + result)
    for c in v["refused"]:
        try:
            apply(binascii.a2b_base64(c["patch"]), contents[c["old"]])
            result = "is taken"
        except (NoPatch, TooShort, WrongOld, Damaged) as e:
            result = "" if type(e) is WHY[c["why"]] else "is refused for " + type(e).__name__
        if result:
            wrong += 1
            print(c["name"] + ": " + result)
    print("%d cases and %d to be refused, %d wrong" % (len(v["cases"]), len(v["refused"]), wrong))
    return wrong == 0


def main(args):
    if len(args) == 2 and args[0] == "--vectors":
        sys.exit(0 if run_vectors(args[1]) else 1)
    if len(args) != 3:
        sys.exit(__doc__)
    with open(args[0], "rb") as f, open(args[1], "rb") as g:
        new = apply(f.read(), g.read())
    with open(args[2], "wb") as f:
        f.write(new)


if __name__ == "__main__":
    main(sys.argv[1:])
