"""How far what was at an address has moved: docs/patch-format.md, The map."""


class Map:
    """How far what was at an address has moved."""

    def __init__(self, most):
        self.most = most
        self.key, self.shift, self.used = [], [], []
        self.hand = 0

    def at_or_below(self, t):
        lo, hi = 0, len(self.key)
        while lo < hi:
            h = (lo + hi) // 2
            if self.key[h] <= t:
                lo = h + 1
            else:
                hi = h
        return lo - 1

    def find(self, t):
        j, count = self.at_or_below(t), len(self.key)
        if j < 0:
            return (self.shift[0] if count else 0), 0, 0
        s = other = self.shift[j]
        if j + 1 < count:
            other = self.shift[j + 1]
        if self.key[j] == t:
            return s, other, 3
        if j + 1 < count:
            if other == s:
                return s, s, 2
            if self.key[j + 1] - t < (t - self.key[j]) >> 3:
                return other, s, 1
        return s, other, 1

    def learn(self, t, s):
        key, shift, used = self.key, self.shift, self.used
        j = self.at_or_below(t)
        if j >= 0 and key[j] == t:
            shift[j] = s
            return
        if j >= 0 and shift[j] == s:
            if j > 0 and shift[j - 1] == s:
                key[j] = t
                return
        elif j + 2 < len(key) and shift[j + 1] == s and shift[j + 2] == s:
            key[j + 1] = t
            return
        if len(key) == self.most:
            while True:
                self.hand += 1
                if self.hand >= len(key):
                    self.hand = 0
                if not used[self.hand]:
                    break
                used[self.hand] = 0
            del key[self.hand], shift[self.hand], used[self.hand]
            if self.hand <= j:
                j -= 1
        j += 1
        key.insert(j, t)
        shift.insert(j, s)
        used.insert(j, 0)
        if j <= self.hand:
            self.hand += 1

    def touch(self, t):
        j = self.at_or_below(t)
        if j >= 0:
            self.used[j] = 1
