"""Decodes modelled contents: docs/patch-format.md, Layouts to Match predictor."""

import os

from references import References

M = 0xFFFFFFFF


class TooShort(Exception):
    pass


class Damaged(Exception):
    pass


class Layout:
    def __init__(self, shared, pool, hits, literals, places, hit_places, steps, history, heads):
        self.shared, self.pool, self.hits, self.literals = shared, pool, hits, literals
        self.places, self.hit_places, self.steps, self.history, self.heads = places, hit_places, steps, history, heads
        self.slots = pool + 302
        self.weights = 8 + 16 * hits + 16 * literals


# By the tier, of texts and of code.
LAYOUTS = (
    None,
    (Layout(750, 1248, 7, 11, 24576, 8192, 0, 0, 0), Layout(490, 1040, 4, 9, 8192, 0, 64, 0, 0)),
    (Layout(12000, 23500, 7, 12, 32768, 0, 0, 8192, 2048), Layout(8600, 19000, 7, 12, 32768, 0, 1000, 8192, 2048)),
    (Layout(150000, 481000, 7, 12, 32768, 0, 0, 32768, 8192), Layout(110000, 445000, 7, 12, 32768, 0, 8000, 32768, 8192)),
)

RATES = (43690, 26214, 18724, 14563, 11915, 10082, 8192, 6553, 5041, 3855, 2978, 2184, 1560, 1092, 728, 504)
GROW = (256, 256, 256, 256, 256, 170, 128, 85, 64, 51, 32, 21, 14, 8, 6, 0)
CONF = (0, 115, 166, 192, 209, 225, 235, 243, 250, 256, 256, 256, 261, 263, 266, 268)

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../delta/model")


def load(name):
    with open(os.path.join(DATA, name), "rb") as f:
        return f.read()


def unsigned(b):
    return [b[i] | b[i + 1] << 8 for i in range(0, len(b), 2)]


def signed(b):
    return [v - (v >> 15 << 16) for v in unsigned(b)]


def tables():
    b = load("tables.bin")
    return signed(b[:8192]), unsigned(b[8192:])


STRETCH, SQUASH = tables()


known = {}


def priors(tier, code):
    """The slots, weights and fixed places that decoding begins with."""
    if (tier, code) not in known:
        known[tier, code] = read_priors(tier, code)
    slots, weights, fixed = known[tier, code]
    return slots[:], weights[:], fixed


def read_priors(tier, code):
    small, large = LAYOUTS[min(tier, 2)][code], LAYOUTS[tier][code]
    b = load(("code" if code else "text") + ("-6k.bin" if tier == 1 else "-64k.bin"))
    if len(b) != 2 * small.slots + 2 * small.weights + small.places + small.hit_places:
        raise ValueError("priors of another version")
    slots = unsigned(b[:2 * small.slots])
    b = b[2 * small.slots:]
    if tier == 3:
        hits, literals, numbers = slots[:small.shared], slots[small.shared:small.pool], slots[small.pool:]
        slots = spread(hits, large.shared) + spread(literals, large.pool - large.shared) + numbers
    weights = signed(b[:2 * small.weights])
    fixed = [v - (v >> 7 << 8) for v in b[2 * small.weights:]]
    return slots, weights, fixed


def spread(slots, n):
    return [slots[i * len(slots) // n] for i in range(n)]


def mix(a, b):
    """The hash of two numbers."""
    h = (a * 0x9E3779B1 ^ b * 0x85EBCA6B) & M
    h ^= h >> 15
    h = h * 0x2C1B3C6D & M
    return h ^ h >> 13


def scale(v):
    if v < 4:
        return v
    if v < 8:
        return 4 + (v - 4 >> 1)
    if v < 16:
        return 6 + (v - 8 >> 2)
    if v < 32:
        return 8 + (v - 16 >> 3)
    return 10 if v < 64 else 11 if v < 128 else 12 if v < 512 else 13


def letter(b):
    return 97 <= b <= 122 or 65 <= b <= 90 or 48 <= b <= 57 or b == 95 or b >= 128


def class_of(b):
    if 97 <= b <= 122:
        return 1
    if 65 <= b <= 90:
        return 2
    if 48 <= b <= 57:
        return 3
    for k, chars in ((4, b"_-"), (5, b" \t"), (6, b"\n\r"), (7, b"([{"), (8, b")]}"), (9, b"\"'`"), (10, b".,;:")):
        if b in chars:
            return k
    return 11 if b > 126 else 12 if b < 32 else 13


class Coder:
    """The arithmetic decoder, and the mixing of predictions."""

    def __init__(self, code, slots, weights, fixed):
        self.input, self.taken = code, 0
        self.low, self.high, self.value = 0, M, 0
        for _ in range(4):
            self.value = self.value << 8 | self.byte()
        self.slots, self.weights, self.fixed = slots, weights, fixed
        self.idx, self.lim, self.fidx = [0] * 12, [0] * 12, ()
        self.rnd = 1

    def byte(self):
        self.taken += 1
        if self.taken <= len(self.input):
            return self.input[self.taken - 1]
        if self.taken > len(self.input) + 8:
            raise TooShort
        return 0

    def code(self, p):
        mid = self.low + ((self.high - self.low) * p >> 16)
        if self.value <= mid:
            bit, self.high = 1, mid
        else:
            bit, self.low = 0, mid + 1
        while self.low >> 24 == self.high >> 24:
            self.low = self.low << 8 & M
            self.high = self.high << 8 & M | 255
            self.value = self.value << 8 & M | self.byte()
        return bit

    def bit(self, n, f, at):
        slots, weights, idx = self.slots, self.weights, self.idx
        st = []
        for i in range(n):
            s = slots[idx[i]]
            st.append(STRETCH[s >> 4] * CONF[s & 15] >> 8)
        for i in range(f):
            st.append(self.fixed[self.fidx[i]] * 16)
        dot = 0
        for i in range(n + f):
            dot += st[i] * weights[at + i]
        p = SQUASH[min(max(dot >> 12, -2047), 2047) + 2048]
        b = self.code(p)
        r = self.rnd = (self.rnd * 1664525 + 1013904223) & M
        miss = ((b << 16) - p) * 8 >> 8
        for i in range(n + f):
            v = weights[at + i] + (st[i] * miss + (r >> 14) >> 18)
            if v > 32767:
                v = 32767
            elif v < -32768:
                v = -32768
            weights[at + i] = v
            r = r << 7 & M | r >> 25
        goal = b * 4095
        for i in range(n):
            s = slots[idx[i]]
            c, v = s & 15, s >> 4
            v += (goal - v) * RATES[c] + (r >> 16) >> 16
            if v > 4095:
                v = 4095
            elif v < 0:
                v = 0
            if c < self.lim[i] and r >> 24 < GROW[c]:
                c += 1
            slots[idx[i]] = v << 4 | c
            r = r << 7 & M | r >> 25
        return b


class Matcher:
    """Predicts a byte by what followed the last ones before."""

    def __init__(self, history, heads):
        self.hist, self.head = bytearray(history), [0] * heads
        self.mask = history - 1
        self.pos = self.ptr = self.len = 0

    def predict(self):
        if self.len == 0:
            return 0, 0
        return self.hist[self.ptr & self.mask], self.len

    def update(self, b, c4):
        if not self.hist:
            return
        hist, mask = self.hist, self.mask
        if self.len > 0 and hist[self.ptr & mask] == b:
            self.len += 1
            self.ptr += 1
        else:
            self.len = 0
        hist[self.pos & mask] = b
        self.pos += 1
        h = (c4 * 0x9E3779B1 & M) >> 8 & len(self.head) - 1
        if self.len == 0:
            self.ptr = self.head[h]
            n = 0
            while n < 16 and n < self.ptr and hist[self.ptr - 1 - n & mask] == hist[self.pos - 1 - n & mask]:
                n += 1
            self.len = n if n >= 3 else 0
        self.head[h] = self.pos & mask


class Walk(Coder):
    def __init__(self, header, old, code):
        Coder.__init__(self, code, *priors(header.tier, header.code))
        self.l, self.tier, self.text = LAYOUTS[header.tier][header.code], header.tier, not header.code
        self.old, self.old_size, self.new_size = old, header.old_size, header.new_size
        self.slack, self.block, self.read_back = header.slack, header.block, header.read_back
        self.new = bytearray()
        self.at = self.p = self.miss0 = 0
        self.lefts = [0, 0, 0]
        self.flags = self.run = self.misses = self.jump_kind = 0
        self.jumped = self.frozen = False
        self.delta = self.c4 = self.word = self.skip = 0
        self.match = Matcher(self.l.history, self.l.heads)
        self.refs = References(self, header.recipe, self.l.steps)

    def src(self, q):
        """The byte at a source."""
        if q < self.old_size:
            if self.block and q < (self.at // self.block + 1) * self.block - self.slack:
                return 0
            return self.old[q]
        q -= self.old_size
        return self.new[q] if self.read_back and q < self.at else 0

    def ahead(self, q):
        return self.src(q) if q < self.old_size else 0

    def decode(self):
        while self.at < self.new_size:
            e, other, kind = self.refs.next()
            if self.skip > 0:
                self.skip -= 1
                self.hit(e)
                if self.skip == 0:
                    self.frozen = False
                continue
            if self.run >= 32 and self.run % 32 == 0 and self.can_skip() and self.decode_skip():
                self.skip, self.frozen = 32, True
                continue
            if self.decode_hit(e, kind):
                self.hit(e)
                continue
            if self.misses == 0:
                self.miss0 = self.p
            if self.decode_kind(e):
                self.jump()
                continue
            b = self.literal(e, other, kind)
            self.run, self.jumped = 0, False
            self.misses += 1
            self.flags = self.flags << 1 & M | 1
            self.delta = b - e & 255
            self.push(b)
        return self.new

    def can_skip(self):
        return (self.new_size - self.at >= 32 and self.p + 32 <= self.old_size
                and (self.block == 0 or self.at % self.block + 32 <= self.block))

    def hit(self, b):
        self.run += 1
        self.flags = self.flags << 1 & M
        self.misses = 0
        self.push(b)

    def push(self, b):
        self.refs.took(b)
        self.c4 = self.c4 << 8 & M | b
        self.at += 1
        self.p += 1
        self.word = (self.word + b + 1) * 0x2F0B4C47 & M if letter(b) else 0
        self.match.update(b, self.c4)
        self.new.append(b)

    def ask(self, i, h, lim):
        self.idx[i] = h * self.l.shared >> 32
        self.lim[i] = lim

    def decode_skip(self):
        r = scale(self.run)
        self.ask(0, mix(9 << 24, r), 15)
        self.ask(1, mix(10 << 24, r << 8 | self.flags >> 24), 15)
        return self.bit(2, 0, 0)

    def decode_hit(self, e, kind):
        r, c1, j, flags = scale(self.run), self.c4 & 255, int(self.jumped), self.flags
        e1, e2 = self.ahead(self.p + 1), self.ahead(self.p + 2)
        self.ask(0, mix(1 << 24 | r << 4 | flags & 15, kind | j << 8), 15)
        self.ask(1, mix(2 << 24 | e << 8 | c1, min(r, 3) | kind << 4), 13)
        far = flags & 15 | (flags >> 7 & 1) << 4 | (flags >> 11 & 1) << 5 | (flags >> 15 & 1) << 6
        self.ask(2, mix(3 << 24 | kind << 12 | far, self.at & 3 | r << 2), 15)
        self.ask(3, mix(4 << 24 | e << 16 | e1 << 8 | e2, min(r, 1)), 13)
        h5 = mix(5 << 24 | e << 16 | self.c4 & 0xFFFF, e1)
        h6 = mix(6 << 24 | min(r, 9) | j << 20, class_of(e) << 8 | class_of(c1) << 12 | (self.jump_kind >= 4) << 4)
        if self.tier == 1 and not self.text:
            return self.bit(4, 0, 8 + kind * 4)
        if self.tier == 1:
            h8 = mix(8 << 24 | r << 4 | flags & 15, kind | j << 8 | class_of(e) << 12)
            self.fidx = [self.l.places + (h * self.l.hit_places >> 32) for h in (h5, h6, h8)]
            return self.bit(4, 3, 8 + kind * 7)
        self.ask(4, h5, 13)
        self.ask(5, h6, 15)
        mb, ml = self.match.predict()
        mm = 1 + (mb == e) * 4 + min(ml >> 1, 3) if ml else 0
        self.ask(6, mix(7 << 24 | mm, r), 15)
        return self.bit(7, 0, 8 + kind * 7)

    def decode_kind(self, e):
        c1 = self.c4 & 255
        self.ask(0, mix(11 << 24, scale(self.run) << 8 | scale(self.misses)), 15)
        self.ask(1, mix(12 << 24, c1 << 8 | self.flags & 7), 12)
        self.ask(2, mix(13 << 24, c1 << 8 | e), 12)
        return self.bit(3, 0, 2)

    def literal(self, e, other, kind):
        c1, c2, c3 = self.c4 & 255, self.c4 >> 8 & 255, self.c4 >> 16 & 255
        far = min(self.misses, 3)
        base = [mix(20 << 24 | e, far), mix(21 << 24 | c1, 0), mix(22 << 24 | c1 << 8 | c2, 0), mix(23 << 24 | e << 8 | c1, min(far, 1))]
        if self.tier > 1:
            base += [mix(24 << 24 | c1 << 16 | c2 << 8 | c3, 0), mix(25 << 24, self.word), mix(26 << 24, self.c4)]
        n = len(base)
        fixed = [mix(60 << 24 | c1 << 8 | c2, 0), mix(61 << 24 | c1 << 16 | c2 << 8 | c3, 0)]
        if self.tier == 1 and self.text:
            fixed += [mix(62 << 24 | e << 8 | c1, far), mix(63 << 24, self.word)]
        mb, ml = self.match.predict()
        guess, moved, second, never = mb | 256, e + self.delta & 255 | 256, other | 256, e | 256
        set0 = 8 + 16 * self.l.hits + (min(far, 2) + 4 * (kind > 0)) * self.l.literals
        literals = self.l.pool - self.l.shared
        node = 1
        for k in range(7, -1, -1):
            if k == 0 and never >> 1 == node:
                node = never ^ 1
                break
            spread_by = node * 0x9E3779B1
            for i in range(n):
                self.idx[i] = self.l.shared + ((base[i] + spread_by & M) * literals >> 32)
                self.lim[i] = 12
            h, at = mix(31 << 24, 0), set0
            if ml > 0 and guess >> k + 1 == node:
                h = mix(30 << 24 | min(ml, 15) << 4, guess >> k & 1)
                at += 8 * self.l.literals
            self.ask(n, h, 15)
            h = mix(33 << 24, 0)
            if moved >> k + 1 == node:
                h = mix(32 << 24 | k << 8, moved >> k & 1 | far << 1)
            self.ask(n + 1, h, 15)
            h = mix(35 << 24, 0)
            if other != e and second >> k + 1 == node:
                h = mix(34 << 24 | kind, second >> k & 1)
            self.ask(n + 2, h, 15)
            self.fidx = [(h + spread_by & M) * self.l.places >> 32 for h in fixed]
            node = node << 1 | self.bit(n + 3, len(fixed), at)
        return node & 255

    # Jumps.

    def direct(self, i, s):
        self.idx[0], self.lim[0] = self.l.pool + i, 12
        return self.bit(1, 0, 5 + s)

    def jump(self):
        cur, lefts, order, k = self.miss0, self.lefts, (0, 4, 1, 2, 3, 5), 0
        while k < 5 and not self.direct(262 + 8 * k + min(self.misses, 3) + 4 * (self.jump_kind >= 4), 2):
            k += 1
        kind = self.jump_kind = order[k]
        if kind == 0:
            self.p = self.signed(4 + 4 * (self.misses == 0), cur)
        elif kind < 4:
            self.p = self.signed(6, lefts[kind - 1])
        elif kind == 4:
            self.p = self.signed(2, cur)
        else:
            self.p = self.old_size + self.at - self.number(0)
        if self.p < 0 or self.p >= self.old_size + self.at:
            raise Damaged
        if kind > 0:
            del lefts[kind - 1 if kind < 4 else 2]
            lefts.insert(0, cur)
        self.misses = self.run = 0
        self.jumped = True
        self.flags = self.flags << 1 & M | 1
        self.refs.landed()

    def signed(self, kind, base):
        if self.direct(252 + kind, 2):
            return base - self.number(kind) - 1
        return base + self.number(kind + 1)

    def number(self, kind):
        k = 0
        while k < 40 and not self.direct(18 * kind + min(k, 17), 0):
            k += 1
        x = 1
        for i in range(k - 1, -1, -1):
            if i == k - 1:
                b = self.direct(180 + 18 * (kind & 1) + min(k, 17), 1)
            elif i == k - 2:
                b = self.direct(216 + 2 * min(k, 17) + (x & 1), 1)
            else:
                b = self.code(32768)
            x = x << 1 | b
        return x - 1
