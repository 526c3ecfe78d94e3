"""What is predicted of addresses: docs/patch-format.md, References."""

import instructions as ins
from instructions import M
from shiftmap import Map

EST = (60, 120, 160, 220, 30, 90, 30, 60, 60, 60, 60, 30, 100, 60, 0)
BY_OTHER, PLAIN, BY_REL, BY_HISTORY, REL_OTHER, NEAR = 4, 5, 6, 8, 12, 13
RELS, ABSS = (6, 7, 12), (0, 1, 2, 3, 4)
NO_RANGE = (0, 0, False, False, 0, 0)  # end, isa, words, big, old, new


def swap(v):
    return (v & 255) << 24 | (v >> 8 & 255) << 16 | (v >> 16 & 255) << 8 | v >> 24


class References:
    def __init__(self, walk, recipe, steps):
        self.w = walk
        self.ranges, self.spans = recipe.ranges, recipe.spans()
        self.slack = self.spans[0][1] >> 3
        self.map = Map(steps)
        self.rg, self.begins, self.ends = NO_RANGE, 0, 0
        self.n = self.i = 0
        self.fresh = self.seen = self.differ = self.miss = False
        self.form = self.group = self.pc = self.old = self.t = 0
        self.rat = self.rp = self.s = self.s2 = self.sure = self.got = 0
        self.cand, self.nc, self.alive, self.conf = [0] * 4, 0, 0, 0
        self.used, self.val = 0, [0] * 15
        self.hi = (0, 0, 0, 0)  # place, old, new, register
        self.halfs, self.nh = [(0, 0, 0, 0)] * 4, 0
        self.hist = [(0, 0)] * 16
        self.est = [list(EST) for _ in range(7)]
        self.bias = [-1, 8] if self.spans[0][0] < 4096 else [-4, -8]
        self.pending, self.jpc, self.jshift = False, 0, 0

    def inside(self, t):
        for lo, size in self.spans:
            if (t - lo) & M < size:
                return True
        return False

    # What comes next.

    def next(self):
        if self.i >= self.n:
            self.begin()
        w = self.w
        if self.n == 0:
            e = w.src(w.p)
            return (e, 0, 15) if w.p >= w.old_size else (e, e, 0)
        sh = 8 * self.i
        if self.nc == 1:
            e = self.cand[0] >> sh & 255
            return e, e, int(self.seen)
        alive = [self.cand[j] >> sh & 255 for j in range(4) if self.alive >> j & 1]
        e = other = alive[0]
        for b in alive:
            if b != e:
                other = b
                break
        if self.miss:
            kind = 3
        elif len(alive) == 1:
            kind = 2
        elif self.group >= 5:
            kind = 12 + min(self.conf, 2)
        elif self.group >= 2:
            kind = 8 + self.conf
        else:
            kind = 4 + self.conf
        return e, other, kind

    def begin(self):
        w, p = self.w, self.w.p
        self.n = self.i = 0
        if not self.ranges:
            return
        self.fresh = p >= w.old_size
        if self.fresh:
            if not (self.rg[1] or self.rg[2]) or p + 4 > w.old_size + w.at or not w.read_back:
                return
            pc = p - w.old_size + self.rg[5]
        else:
            if p + 4 > w.old_size:
                return
            if p < self.begins or p >= self.ends:
                self.locate(p)
            if not (self.rg[1] or self.rg[2]):
                return
            pc = p + self.rg[4]
        if self.pending and not w.frozen and w.run >= 16:
            self.pending = False
            self.map.learn(self.jpc, self.jshift)
        self.find(pc & M)

    def locate(self, q):
        self.begins = 0
        for g in self.ranges:
            if q < g[0]:
                self.ends, self.rg = g[0], g
                return
            self.begins = g[0]
        self.ends, self.rg = 1 << 62, NO_RANGE

    def w32(self, q):
        src = self.w.src
        return src(q) | src(q + 1) << 8 | src(q + 2) << 16 | src(q + 3) << 24

    def word(self, q):
        v = self.w32(q)
        return swap(v) if self.rg[3] else v

    def find(self, pc):
        w, p = self.w, self.w.p
        _, isa, words, _, _, _ = self.rg
        first = w.old_size if self.fresh else 0
        if words and isa and pc & 3 == 0:
            v = self.word(p)
            lo, size = self.spans[0]
            if (v - lo) & M < size or (v + (1 << 20)) & M < 1 << 21 and self.inside(pc + v & M):
                self.words(v, pc)
                return
        if isa in (ins.X86, ins.AMD64):
            if p >= first + 3:
                v = self.w32(p)
                behind = ins.x86_at(isa, w.src(p - 1), w.src(p - 2), w.src(p - 3))
                t = (pc + 4 + v) & M
                if behind >= 0 and self.inside(t):
                    self.whole(ins.REL32, v, pc, (t + behind) & M)
                    return
                if isa == ins.X86:
                    if self.inside(v):
                        self.whole(ins.WORD, v, pc, v)
                    return
        elif isa == ins.WASM:
            if p >= first + 2:
                v = self.w32(p)
                f, n = ins.wasm_at(w.src(p - 1), w.src(p - 2), v)
                if n:
                    self.n = n
                    self.whole(f, v, pc, ins.target(f, v, 0))
                    return
        elif isa and pc % ins.STEP[isa] == 0:
            v = self.word(p)
            f = ins.classify(isa, v)
            if f in ins.HIGH:
                self.upper(f, v, pc)
                return
            if f in ins.LOW:
                if self.lower(f, v, pc):
                    return
            elif f:
                t = ins.target(f, v, pc)
                if self.inside(t):
                    self.whole(f, v, pc, t)
                    return
        if words and pc & 3 == 0:
            self.words(self.word(p), pc)

    # What is predicted.

    def start(self, f, g, v, pc, t):
        if self.n == 0:
            self.n = ins.size(f)
        self.i = 0
        self.form, self.group, self.old, self.t, self.pc = f, g, v, t, pc
        self.nc = self.alive = self.used = self.got = 0
        self.miss = self.differ = False
        self.seen = True
        self.rat, self.rp = self.w.at, self.w.p

    def moved(self, t):
        return (0, 0, 3) if self.fresh else self.map.find(t)

    def add(self, k, v):
        self.used |= 1 << k
        self.val[k] = v & M

    def whole(self, f, v, pc, t):
        if f == ins.WORD:
            g = 1
        elif f in (ins.THUMB_LOAD, ins.XT_LOAD, ins.A64_NEAR):
            g = 4
        else:
            g = 2 if (t - pc + 2048) & M < 4096 else 3
        self.start(f, g, v, pc, t)
        now = (self.w.at + self.rg[5]) & M
        s, other, self.sure = self.moved(t)
        if self.sure == 0 and not self.map.key:
            s = other = 0 if self.rg[1] == ins.WASM else (now - pc) & M
        self.s = s
        d = ins.target(f, v, pc) - t
        self.add(self.sure, ins.put(f, v, now, t + s + d))
        if other != s:
            self.add(BY_OTHER, ins.put(f, v, now, t + other + d))
        self.add(PLAIN, v)
        self.rank()

    def halves(self, f, v, at, t, base):
        """The predictions of half an address."""
        self.s, other, self.sure = self.moved(t)
        self.add(self.sure, ins.put(f, v, at, t + self.s - base))
        if other != self.s:
            self.add(BY_OTHER, ins.put(f, v, at, t + other - base))

    def upper(self, f, v, pc):
        reg, t = ins.register(f, v), ins.target(f, v, pc)
        found, low = False, (0, 0, 0, 0)
        if f in (ins.ARM_HIGH, ins.THUMB_HIGH):
            h = self.last_half(reg)
            if h:
                t, found, low = t + h[1], True, h
        else:
            l, x = self.first_half(ins.LOW, reg)
            if l:
                t, found = t + ins.target(l, x, 0), True
        t &= M
        self.start(f, 5, v, pc, t)
        self.hi = low
        if found and self.inside(t):
            self.halves(f, v, (self.w.at + self.rg[5]) & M, t, 0)
        self.add(PLAIN, v)
        self.rank()

    def last_half(self, reg):
        p, best = self.w.p, None
        for h in self.halfs:
            if h[3] == reg and p - 64 < h[0] < p and (best is None or h[0] > best[0]):
                best = h
        return best

    def first_half(self, what, reg):
        p, w = self.w.p, self.w
        end = min(p + 36, w.old_size)
        if self.fresh:
            end = p + 36
            if end > w.old_size + w.at:
                return 0, 0
        q = p + 4
        while q + 4 <= end:
            x = self.word(q)
            l = ins.classify(self.rg[1], x)
            if l in what and ins.register(l, x) == reg:
                return l, x
            q += ins.STEP[self.rg[1]]
        return 0, 0

    def lower(self, f, v, pc):
        if f in (ins.ARM_LOW, ins.THUMB_LOW):
            return self.movw(f, v, pc)
        best = self.last_half(ins.register(f, v))
        if best is None:
            return False
        t = (best[1] + ins.target(f, v, 0)) & M
        if not self.inside(t):
            return False
        self.start(f, 6, v, pc, t)
        self.hi = best
        self.halves(f, v, 0, t, best[2])
        self.add(PLAIN, v)
        self.rank()
        return True

    def movw(self, f, v, pc):
        l, x = self.first_half(ins.HIGH, ins.register(f, v))
        if not l:
            return False
        t = (ins.target(f, v, 0) + ins.target(l, x, 0)) & M
        self.start(f, 6, v, pc, t)
        self.hi = (0, 0, 0, 0)
        if self.inside(t):
            self.halves(f, v, 0, t, 0)
        elif self.inside((t + pc) & M):
            m, _, _ = self.moved((t + pc) & M)
            self.add(BY_REL, ins.put(f, v, 0, t + m - (self.w.at + self.rg[5] - pc)))
        self.add(PLAIN, v)
        self.rank()
        return True

    def words(self, v, pc):
        code, t = self.rg[1] != 0, (pc + v) & M
        absolute = self.inside(v)
        if code and not absolute and not self.inside(t):
            return
        self.start(ins.WORD, 1 if code else 0, v, pc, v)
        away = self.w.at + self.rg[5] - pc
        self.seen = absolute
        if absolute:
            self.s, other, self.sure = self.moved(v)
            self.add(self.sure, v + self.s)
            if other != self.s:
                self.add(BY_OTHER, v + other)
        if (v + 64) & M > 128 and self.inside(t):
            self.s2, other, y = self.moved(t)
            self.add(BY_REL + (y >> 1), v + self.s2 - away)
            if other != self.s2:
                self.add(REL_OTHER, v + other - away)
        if not code and not self.fresh:
            x = self.w.p >> 2
            for k, d in enumerate((1, 2, 4, 6)):
                self.add(BY_HISTORY + k, v + self.hist[(x - d) % 16][1])
            best, at = M, 0
            for j in range(16):
                d = (v - self.hist[j][0]) & M
                d = (d << 1 & M) ^ (M if d >> 31 else 0)
                if d < best:
                    best, at = d, j
            if v != 0 and best < 65536:
                self.add(NEAR + (best >= 512), v + self.hist[at][1])
        self.add(PLAIN, v)
        self.rank()
        if self.nc > 1:
            self.seen = True

    def rank(self):
        mask, est = (1 << 8 * self.n) - 1, self.est[self.group]
        self.nc = 0
        order = sorted((k for k in range(15) if self.used >> k & 1), key=lambda k: (-est[k], k))
        for k in order:
            if self.nc == 4:
                break
            v = swap(self.val[k]) if self.rg[3] else self.val[k]
            if any((v ^ c) & mask == 0 for c in self.cand[:self.nc]):
                continue
            self.differ = self.nc > 0
            if self.nc == 0:
                self.conf = est[k] >> 6
            self.cand[self.nc] = v
            self.nc += 1
        self.alive = (1 << self.nc) - 1

    # What is learned.

    def took(self, b):
        if self.i >= self.n:
            return
        sh = 8 * self.i
        self.got |= b << sh
        self.i += 1
        if self.nc > 1 or self.cand[0] >> sh & 255 != b:
            left = 0
            for j in range(4):
                if self.alive >> j & 1 and self.cand[j] >> sh & 255 == b:
                    left |= 1 << j
            if left:
                self.alive = left
            else:
                self.missed()
        if self.i == self.n:
            self.learn()

    def missed(self):
        j = 0
        while not self.alive >> j & 1:
            j += 1
        first = self.cand[j]
        self.alive, self.miss, self.nc = 1, True, max(self.nc, 2)
        if self.i == 4:
            return
        one = 1 << 8 * self.i
        mask = one - 1
        x = (first & ~mask) | (self.got & mask)
        if self.form in (ins.WORD, ins.REL32) and not self.rg[3]:
            if x > first and x - first > one >> 1:
                x -= one
            elif x < first and first - x > one >> 1:
                x += one
        self.cand[0] = x & M

    def learn(self):
        f, isa = self.form, self.rg[1]
        g = swap(self.got) if self.rg[3] else self.got
        mask = (1 << 8 * self.n) - 1
        now = (self.rat + self.rg[5]) & M
        if f == ins.WORD:
            self.hist[(self.rp >> 2) % 16] = (self.old, (g - self.old) & M)
        same = f in (ins.WORD, ins.REL32, ins.WASM_CALL, ins.WASM_CONST) or ins.classify(isa, g) == f
        if same and (f in ins.HIGH or f in (ins.ARM_LOW, ins.THUMB_LOW)):
            self.halfs[self.nh & 3] = (self.rp, ins.target(f, self.old, self.pc), ins.target(f, g, now), ins.register(f, self.old))
            self.nh += 1
        if self.w.frozen or self.fresh:
            return
        used = [k for k in range(15) if self.used >> k & 1]
        if self.differ:
            est = self.est[self.group]
            for k in used:
                if (self.val[k] ^ g) & mask == 0:
                    est[k] = min(est[k] + ((256 - est[k]) >> 4), 255)
                else:
                    est[k] -= est[k] >> 4
        if not same:
            return
        absolute = any(k in ABSS for k in used)
        if f == ins.WORD:
            if self.differ and self.group == 0:
                r = any(k in RELS and self.val[k] == g for k in used)
                a = any(k in ABSS and self.val[k] == g for k in used)
                if a and not r:
                    self.bias[0] = max(self.bias[0] - 1, -8)
                if r and not a:
                    self.bias[0] = min(self.bias[0] + 1, 8)
            if (g - self.old + (1 << 24)) & M > 1 << 25:
                return
            bias = self.bias[self.group]
            if bias < 0 and absolute:
                to = g
            elif bias > 0 and any(k in RELS for k in used):
                to, self.t, self.s = g + now, (self.old + self.pc) & M, self.s2
            else:
                return
        elif f in (ins.ARM_LOW, ins.THUMB_LOW):
            return
        elif f in (ins.ARM_HIGH, ins.THUMB_HIGH):
            if not absolute:
                return
            to = self.hi[2] + ins.target(f, g, 0)
        elif f in ins.HIGH:
            return
        elif f in ins.LOW:
            to = self.hi[2] + ins.target(f, g, 0)
        else:
            to = ins.target(f, g, now) + self.t - ins.target(f, self.old, self.pc)
        to &= M
        m = (to - self.t) & M
        if m != self.s or self.sure == 0:
            if f in (ins.WASM_CALL, ins.WASM_CONST) or self.inside((to - self.slack) & M) or self.inside((to + self.slack) & M):
                self.map.learn(self.t, m)
        elif self.sure < 3:
            self.map.touch(self.t)

    def landed(self):
        w = self.w
        self.n = self.i = 0
        self.pending = False
        if w.p >= w.old_size or not self.ranges:
            return
        self.locate(w.p)
        if self.rg[1] == ins.WASM:
            return
        self.jpc = (w.p + self.rg[4]) & M
        self.jshift = (w.at + self.rg[5] - self.jpc) & M
        self.pending = True
