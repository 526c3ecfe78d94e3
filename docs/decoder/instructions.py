"""Where instructions carry addresses: docs/patch-format.md, Instructions.

All numbers are unsigned, of 32 bits.
"""

M = 0xFFFFFFFF

NONE, ARM, THUMB, ARM64, X86, AMD64, RISCV, MIPS, XTENSA, POWERPC, WASM = range(11)

STEP = (4, 4, 2, 4, 1, 1, 2, 4, 1, 4, 1)

NO_FORM = 0
(WORD, REL32, ARM_BRANCH, ARM_SWITCH, THUMB_BL, THUMB_BLX, THUMB_LOAD, A64_BRANCH, A64_NEAR, A64_ADR,
 RISCV_JUMP, RISCV_SHORT, MIPS_JUMP, XT_CALL, XT_JUMP, XT_LOAD, PPC_BRANCH, WASM_CALL, WASM_CONST,
 A64_PAGE, RISCV_PAGE, RISCV_HIGH, MIPS_HIGH, ARM_HIGH, THUMB_HIGH,
 A64_ADD, A64_LOAD, RISCV_ADD, RISCV_SAVE, MIPS_LOW, ARM_LOW, THUMB_LOW) = range(1, 33)

HIGH = (A64_PAGE, RISCV_PAGE, RISCV_HIGH, MIPS_HIGH, ARM_HIGH, THUMB_HIGH)
LOW = (A64_ADD, A64_LOAD, RISCV_ADD, RISCV_SAVE, MIPS_LOW, ARM_LOW, THUMB_LOW)

FUNCTIONS = 0xE0000000


def size(f):
    if f in (THUMB_LOAD, RISCV_SHORT):
        return 2
    if f in (XT_CALL, XT_JUMP, XT_LOAD):
        return 3
    return 4


def sext(v, n):
    v &= (1 << n) - 1
    return (v - (v >> (n - 1) << n)) & M


def bits(v, high, low):
    return (v >> low) & ((1 << (high - low + 1)) - 1)


def place(v, high, low, x):
    """v with x in the bits high to low."""
    mask = ((1 << (high - low + 1)) - 1) << low
    return (v & ~mask & M) | ((x << low) & mask)


# The bits of operands that lie scattered: (high, low) in the instruction, and
# where the lowest of them is in the number.
SCATTERED = {
    ARM_LOW: ((19, 16, 12), (11, 0, 0)),
    THUMB_LOW: ((3, 0, 12), (10, 10, 11), (30, 28, 8), (23, 16, 0)),
    RISCV_JUMP: ((31, 31, 20), (19, 12, 12), (20, 20, 11), (30, 21, 1)),
    RISCV_SHORT: ((12, 12, 11), (11, 11, 4), (10, 9, 8), (8, 8, 10), (7, 7, 6), (6, 6, 7), (5, 3, 1), (2, 2, 5)),
    RISCV_SAVE: ((31, 25, 5), (11, 7, 0)),
    A64_ADR: ((30, 29, 0), (23, 5, 2)),
}


def gather(f, v):
    x = 0
    for high, low, at in SCATTERED[f]:
        x |= bits(v, high, low) << at
    return x


def scatter(f, v, x):
    for high, low, at in SCATTERED[f]:
        v = place(v, high, low, x >> at)
    return v


def thumb(v):
    s = bits(v, 10, 10)
    i1, i2 = 1 ^ bits(v, 29, 29) ^ s, 1 ^ bits(v, 27, 27) ^ s
    return sext(s << 24 | i1 << 23 | i2 << 22 | bits(v, 9, 0) << 12 | bits(v, 26, 16) << 1, 25)


def thumb_put(v, d):
    s = bits(d, 24, 24)
    v = place(place(v, 10, 10, s), 9, 0, d >> 12)
    v = place(v, 29, 29, 1 ^ bits(d, 23, 23) ^ s)
    v = place(v, 27, 27, 1 ^ bits(d, 22, 22) ^ s)
    return place(v, 26, 16, d >> 1)


def a64_scale(v):
    if bits(v, 31, 30) == 0 and bits(v, 26, 26) and bits(v, 23, 23):
        return 4
    return bits(v, 31, 30)


def leb_len(v):
    for n in range(4):
        if not (v >> (8 * n + 7)) & 1:
            return n + 1
    return 0


def leb(v):
    x = 0
    for k in range(4):
        x |= ((v >> (8 * k)) & 127) << (7 * k)
        if not (v >> (8 * k)) & 128:
            break
    return x


def leb_put(v, x):
    n = leb_len(v)
    if n == 0 or x >> (7 * n) or (n > 1 and x < 1 << (7 * n - 8)):
        return v
    for k in range(n):
        v = place(v, 8 * k + 7, 8 * k, ((x >> (7 * k)) & 127) | (128 if k + 1 < n else 0))
    return v


def classify(isa, v):
    if isa == ARM:
        if bits(v, 27, 25) == 5:
            return ARM_SWITCH if v >> 28 == 15 else ARM_BRANCH
        if bits(v, 27, 20) == 0x30:
            return ARM_LOW
        if bits(v, 27, 20) == 0x34:
            return ARM_HIGH
    elif isa == THUMB:
        if bits(v, 15, 11) == 9:
            return THUMB_LOAD
        if bits(v, 15, 11) == 0x1E:
            if v >> 31:
                if bits(v, 28, 28):
                    return THUMB_BL
                if bits(v, 30, 30) and not bits(v, 16, 16):
                    return THUMB_BLX
            elif bits(v, 9, 4) == 0x24:
                return THUMB_LOW
            elif bits(v, 9, 4) == 0x2C:
                return THUMB_HIGH
    elif isa == ARM64:
        if bits(v, 30, 26) == 5:
            return A64_BRANCH
        if bits(v, 28, 24) == 16:
            return A64_PAGE if v >> 31 else A64_ADR
        if bits(v, 31, 22) == 0x244:
            return A64_ADD
        if bits(v, 29, 27) == 7 and bits(v, 25, 24) == 1:
            return A64_LOAD
        if v >> 24 == 0x54 and not bits(v, 4, 4) or bits(v, 30, 25) == 0x1A or bits(v, 29, 27) == 3 and bits(v, 25, 24) == 0:
            return A64_NEAR
    elif isa == RISCV:
        op = v & 0x7F
        if op == 0x6F:
            return RISCV_JUMP
        if op == 0x17:
            return RISCV_PAGE
        if op == 0x37:
            return RISCV_HIGH
        if op in (0x03, 0x07, 0x67) or op in (0x13, 0x1B) and bits(v, 14, 12) == 0:
            return RISCV_ADD
        if op in (0x23, 0x27):
            return RISCV_SAVE
        if bits(v, 15, 13) == 5 and v & 3 == 1:
            return RISCV_SHORT
    elif isa == MIPS:
        op = v >> 26
        if op in (2, 3):
            return MIPS_JUMP
        if op == 15:
            return MIPS_HIGH
        if 0x20 <= op <= 0x2B or op in (9, 0x18, 0x19, 0x31, 0x35, 0x37, 0x39, 0x3D, 0x3F):
            return MIPS_LOW
    elif isa == XTENSA:
        if v & 15 == 5:
            return XT_CALL
        if v & 63 == 6:
            return XT_JUMP
        if v & 15 == 1:
            return XT_LOAD
    elif isa == POWERPC:
        if v >> 26 == 18 and not bits(v, 1, 1):
            return PPC_BRANCH
    return NO_FORM


def target(f, v, pc):
    t = 0
    if f == WORD:
        t = v
    elif f == REL32:
        t = pc + 4 + v
    elif f == ARM_BRANCH:
        t = pc + 8 + sext(v, 24) * 4
    elif f == ARM_SWITCH:
        t = pc + 8 + sext(v, 24) * 4 + bits(v, 24, 24) * 2
    elif f in (ARM_LOW, THUMB_LOW):
        t = gather(f, v)
    elif f == ARM_HIGH:
        t = gather(ARM_LOW, v) << 16
    elif f == THUMB_HIGH:
        t = gather(THUMB_LOW, v) << 16
    elif f == THUMB_BL:
        t = pc + 4 + thumb(v)
    elif f == THUMB_BLX:
        t = (pc & ~3) + 4 + thumb(v)
    elif f == THUMB_LOAD:
        t = (pc & ~3) + 4 + (v & 255) * 4
    elif f == A64_BRANCH:
        t = pc + sext(v, 26) * 4
    elif f == A64_ADR:
        t = pc + sext(gather(f, v), 21)
    elif f == A64_PAGE:
        t = (pc & ~4095) + sext(gather(A64_ADR, v), 21) * 4096
    elif f == A64_ADD:
        t = bits(v, 21, 10)
    elif f == A64_LOAD:
        t = (bits(v, 21, 10) << a64_scale(v)) & 0xFFF
    elif f == A64_NEAR:
        t = pc + sext(v >> 5, 19) * 4
    elif f == RISCV_JUMP:
        t = pc + sext(gather(f, v), 21)
    elif f == RISCV_SHORT:
        t = pc + sext(gather(f, v), 12)
    elif f == RISCV_PAGE:
        t = pc + (v & ~4095)
    elif f == RISCV_HIGH:
        t = v & ~4095
    elif f == RISCV_ADD:
        t = sext(v >> 20, 12)
    elif f == RISCV_SAVE:
        t = sext(gather(f, v), 12)
    elif f == MIPS_JUMP:
        t = ((pc + 4) & 0xF0000000) + bits(v, 25, 0) * 4
    elif f == MIPS_HIGH:
        t = v << 16
    elif f == MIPS_LOW:
        t = sext(v, 16)
    elif f == XT_CALL:
        t = (pc & ~3) + 4 + sext(v >> 6, 18) * 4
    elif f == XT_JUMP:
        t = pc + 4 + sext(v >> 6, 18)
    elif f == XT_LOAD:
        t = ((pc + 3) & ~3) + bits(v, 23, 8) * 4 + 0xFFFC0000
    elif f == PPC_BRANCH:
        t = pc + (sext(v, 26) & ~3)
    elif f == WASM_CALL:
        t = FUNCTIONS + leb(v)
    elif f == WASM_CONST:
        t = leb(v)
    return t & M


def put(f, v, pc, t):
    t &= M
    d = (t - pc) & M
    if f == WORD:
        return t
    if f == REL32:
        return (d - 4) & M
    if f == ARM_BRANCH:
        return place(v, 23, 0, (d - 8) >> 2)
    if f == ARM_SWITCH:
        return place(place(v, 24, 24, (d - 8) >> 1), 23, 0, (d - 8) >> 2)
    if f in (ARM_LOW, THUMB_LOW):
        return scatter(f, v, t)
    if f == ARM_HIGH:
        return scatter(ARM_LOW, v, t >> 16)
    if f == THUMB_HIGH:
        return scatter(THUMB_LOW, v, t >> 16)
    if f == THUMB_BL:
        return thumb_put(v, (d - 4) & M)
    if f == THUMB_BLX:
        return thumb_put(v, (t - (pc & ~3) - 4) & M)
    if f == THUMB_LOAD:
        return place(v, 7, 0, (t - (pc & ~3) - 4) >> 2)
    if f == A64_BRANCH:
        return place(v, 25, 0, d >> 2)
    if f == A64_ADR:
        return scatter(f, v, d)
    if f == A64_PAGE:
        return scatter(A64_ADR, v, ((t & ~4095) - (pc & ~4095)) >> 12)
    if f == A64_ADD:
        return place(v, 21, 10, t)
    if f == A64_LOAD:
        k = a64_scale(v)
        return place(v, 21, 10, (bits(v, 21, 10) & ~(0xFFF >> k)) + ((t & 0xFFF) >> k))
    if f == A64_NEAR:
        return place(v, 23, 5, d >> 2)
    if f in (RISCV_JUMP, RISCV_SHORT):
        return scatter(f, v, d)
    if f == RISCV_PAGE:
        return place(v, 31, 12, (d + 2048) >> 12)
    if f == RISCV_HIGH:
        return place(v, 31, 12, (t + 2048) >> 12)
    if f == RISCV_ADD:
        return place(v, 31, 20, t)
    if f == RISCV_SAVE:
        return scatter(f, v, t)
    if f == MIPS_JUMP:
        return place(v, 25, 0, t >> 2)
    if f == MIPS_HIGH:
        return place(v, 15, 0, (t + 0x8000) >> 16)
    if f == MIPS_LOW:
        return place(v, 15, 0, t)
    if f == XT_CALL:
        return place(v, 31, 6, ((t - (pc & ~3) - 4) >> 2) & 0x3FFFF)
    if f == XT_JUMP:
        return place(v, 31, 6, (d - 4) & 0x3FFFF)
    if f == XT_LOAD:
        return place(v, 31, 8, ((t - ((pc + 3) & ~3)) >> 2) & 0xFFFF)
    if f == PPC_BRANCH:
        return place(v, 25, 2, d >> 2)
    if f == WASM_CALL:
        return leb_put(v, (t - FUNCTIONS) & M)
    if f == WASM_CONST:
        return leb_put(v, t)
    return v


REGISTER = {
    A64_PAGE: (4, 0), A64_ADD: (9, 5), A64_LOAD: (9, 5), RISCV_PAGE: (11, 7), RISCV_HIGH: (11, 7),
    RISCV_ADD: (19, 15), RISCV_SAVE: (19, 15), MIPS_HIGH: (20, 16), MIPS_LOW: (25, 21),
    ARM_LOW: (15, 12), ARM_HIGH: (15, 12), THUMB_LOW: (27, 24), THUMB_HIGH: (27, 24),
}


def register(f, v):
    return bits(v, *REGISTER[f])


def ranges(text):
    """The set of numbers in a list like "0D 10-17"."""
    found = set()
    for word in text.split():
        first, _, last = word.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return found


TWO_0 = ranges("0D 10-17 18 1F 28-2F 40-6F 70-7F 90-9F A3 AB AF B0 B1 B3 B6-B8 BB BE-C1 D0-FF")
TWO_1 = ranges("BA C2 C4 C6")
ONE_0 = ranges("00-03 08-0B 10-13 18-1B 20-23 28-2B 30-33 38-3B 63 84-8B 8D 8F D0-D3 D8-DF F6 F7 FE FF")
ONE_1 = ranges("6B 80 83 C0 C1 C6")
ONE_4 = ranges("69 81 C7")


def x86_at(isa, b1, b2, b3):
    """How many bytes are behind the operand, -1 if there is none."""
    if b1 in (0xE8, 0xE9) or b1 & 0xF0 == 0x80 and b2 == 0x0F:
        return 0
    if isa != AMD64 or b1 & 0xC7 != 5:
        return -1
    if b3 == 0x0F:
        return 0 if b2 in TWO_0 else 1 if b2 in TWO_1 else -1
    if b2 in ONE_0:
        return 0
    if b2 in ONE_1:
        return 1
    if b2 in ONE_4:
        return 4
    return 0 if b2 >= 0x10 and (b3 >= 0x80 or b3 in (0x38, 0x3A)) else -1


def wasm_at(b1, b2, v):
    """The form and the length of the number v, or NO_FORM and 0."""
    n = leb_len(v)
    if b1 == 0x10:
        if n > 0 and b2 not in (0x0C, 0x0D, 0x20, 0x21, 0x22, 0x23, 0x24, 0x41, 0x42):
            return WASM_CALL, n
    elif b1 == 0x41:
        if n >= 3 and not (v >> (8 * n - 2)) & 1:
            return WASM_CONST, n
    elif b1 <= 3 and 0x28 <= b2 <= 0x3E and n >= 3:
        return WASM_CONST, n
    return NO_FORM, 0
