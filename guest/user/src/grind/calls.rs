//! The calls that are tried, and what each takes.

use super::arguments::Kind::{self, *};

/// A system call.
pub struct Call {
    /// Its number.
    pub number: usize,
    /// What its arguments are.
    pub takes: &'static [Kind],
}

macro_rules! calls {
    ($($number:literal [$($kind:expr),*];)*) => {
        &[$(Call { number: $number, takes: &[$($kind),*] }),*]
    };
}

const OPEN: Kind = Flags(&[
    1,
    2,
    0o100,
    0o200,
    0o1000,
    0o2000,
    0o4000,
    0o10000,
    0o200_000,
    0o400_000,
    0o2_000_000,
    0o10_000_000,
    0o20_200_000,
]);
const AT: Kind = Flags(&[0x100, 0x200, 0x400, 0x800, 0x1000]);
const CLOEXEC: Kind = Flags(&[0o4000, 0o2_000_000]);
const MAP: Kind = Map;
const RWF: Kind = Flags(&[1, 2, 4, 8, 16]);
const CLOCK: Kind = One(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 11, !0]);
const SPLICE: Kind = Flags(&[1, 2, 4, 8]);
const MESSAGE: Kind = Flags(&[1, 2, 0x20, 0x40, 0x100, 0x4000, 0x4000_0000]);
const IPC: Kind = Flags(&[0o1000, 0o2000, 0o600, 0o400, 0o4000, 0o10000]);
const KEY: Kind = One(&[0, 0x6711, 0x6712, 0x6713]);

/// Every call but those that would end the caller, need a stack of their own, or stop the machine;
/// the first have functions of their own in `acts`.
pub const CALLS: &[Call] = calls! {
    0 [Fd, Buf, Len];
    1 [Fd, Buf, Len];
    2 [Path, OPEN, Mode];
    3 [Spare];
    4 [Path, Buf];
    5 [Fd, Buf];
    6 [Path, Buf];
    7 [Polls, Count, Small];
    8 [Fd, Size, One(&[0, 1, 2, 3, 4])];
    9 [Place, Size, Prot, MAP, Fd, Page];
    10 [Place, Size, Prot];
    11 [Place, Size];
    12 [One(&[0, 1])];
    13 [Signal, Action, Buf, One(&[8, 8, 8, 4])];
    14 [One(&[0, 1, 2, 3]), Set, Buf, One(&[8, 8, 8, 128])];
    16 [Fd, One(&[0x5401, 0x5402, 0x5403, 0x5404, 0x540b, 0x540e, 0x540f, 0x5410, 0x5411, 0x5413,
        0x5414, 0x541b, 0x5421, 0x5422, 0x5429, 0x5450, 0x5451, 0x5452, 0x8004_5430, 0x4004_5431]), Buf];
    17 [Fd, Buf, Len, Size];
    18 [Fd, Buf, Len, Size];
    19 [Fd, Vector, Count];
    20 [Fd, Vector, Count];
    21 [Path, One(&[0, 1, 2, 4, 7, 8])];
    22 [Pair];
    23 [Count, Set, Set, Set, Time];
    24 [];
    25 [Place, Size, Size, Flags(&[1, 2, 4]), Place];
    26 [Place, Size, Flags(&[1, 2, 4])];
    27 [Place, Size, Buf];
    28 [Place, Size, One(&[0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 14, 15, 20, 21, 22, 23, 100])];
    29 [KEY, Size, IPC];
    30 [Object, Place, Flags(&[0o10000, 0o20000, 0o40000, 0o100_000])];
    31 [Object, One(&[0, 0, 1, 2, 3, 11, 12, 13, 14, 15]), Buf];
    32 [Fd];
    33 [Fd, Spare];
    34 [];
    35 [Time, Buf];
    36 [One(&[0, 1, 2, 3]), Buf];
    38 [One(&[1, 2, 3]), Time, Buf];
    39 [];
    40 [Fd, Fd, Buf, Len];
    41 [One(&[1, 1, 1, 2, 10, 16]), One(&[1, 2, 5, 3, 0o4001, 0o2_000_002]), One(&[0, 0, 1])];
    42 [Fd, Name, NameLen];
    43 [Fd, Buf, Word];
    44 [Fd, Buf, Len, MESSAGE, Name, NameLen];
    45 [Fd, Buf, Len, MESSAGE, Buf, Word];
    46 [Fd, Message, MESSAGE];
    47 [Fd, Message, MESSAGE];
    48 [Fd, One(&[0, 1, 2, 3])];
    49 [Fd, Name, NameLen];
    50 [Fd, Count];
    51 [Fd, Buf, Word];
    52 [Fd, Buf, Word];
    53 [One(&[1, 1, 1, 2]), One(&[1, 2, 5, 0o4001]), One(&[0, 0, 1]), Pair];
    54 [Fd, One(&[1, 1, 0, 6]), Small, Buf, Small];
    55 [Fd, One(&[1, 1, 0, 6]), Small, Buf, Word];
    61 [Pid, Buf, Flags(&[1, 2, 8, 0x2000_0000, 0x4000_0000]), Buf];
    62 [Pid, Signal];
    63 [Buf];
    64 [KEY, Small, IPC];
    65 [Object, Semaphores, Count];
    66 [Object, Small, One(&[0, 1, 2, 3, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]), Buf];
    67 [Place];
    68 [KEY, IPC];
    69 [Object, Buf, Len, Flags(&[0o4000])];
    70 [Object, Buf, Len, Small, Flags(&[0o4000, 0o10000, 0o20000, 0o40000])];
    71 [Object, One(&[0, 1, 2, 3, 11, 12, 13]), Buf];
    72 [Fd, One(&[0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 36, 37, 38, 1030, 1031, 1032, 1033, 1034, 1024,
        1025]), Lock];
    73 [Fd, One(&[1, 2, 8, 5, 6, 4])];
    74 [Fd];
    75 [Fd];
    76 [Own, Size];
    77 [Fd, Size];
    78 [Fd, Buf, Len];
    79 [Buf, Len];
    80 [Own];
    81 [Fd];
    82 [Own, Own];
    83 [Own, Mode];
    84 [Own];
    85 [Own, Mode];
    86 [Own, Own];
    87 [Own];
    88 [Own, Own];
    89 [Path, Buf, Len];
    90 [Own, Mode];
    91 [Fd, Mode];
    92 [Own, User, User];
    93 [Fd, User, User];
    94 [Own, User, User];
    95 [Mode];
    96 [Buf, Buf];
    97 [Small, Buf];
    98 [One(&[0, 1, !0, 2]), Buf];
    99 [Buf];
    100 [Buf];
    101 [One(&[0, 1, 2, 4, 5, 7, 8, 9, 16, 17, 0x4200, 0x4201, 0x4206]), Pid, Buf, Buf];
    102 [];
    103 [One(&[2, 3, 9, 10, 0, 1]), Buf, Len];
    104 [];
    105 [User];
    106 [User];
    107 [];
    108 [];
    109 [Pid, Pid];
    110 [];
    111 [];
    112 [];
    113 [User, User];
    114 [User, User];
    115 [Count, Buf];
    116 [Count, Buf];
    117 [User, User, User];
    118 [Buf, Buf, Buf];
    119 [User, User, User];
    120 [Buf, Buf, Buf];
    121 [Pid];
    122 [User];
    123 [User];
    124 [Pid];
    125 [Buf, Buf];
    126 [Buf, Buf];
    127 [Buf, One(&[8, 4])];
    128 [Set, Buf, Time, One(&[8, 8, 4])];
    129 [Pid, Signal, Buf];
    130 [Set, One(&[8, 8, 4])];
    131 [Buf, Buf];
    132 [Own, Buf];
    133 [Own, One(&[0o100_644, 0o010_644, 0o140_644, 0o020_644, 0o060_644]), Small];
    135 [One(&[0, 0x40000, !0])];
    137 [Path, Buf];
    138 [Fd, Buf];
    140 [One(&[0, 1, 2, 3]), Pid];
    141 [One(&[0, 1, 3]), Pid, Small];
    142 [Pid, Word];
    143 [Pid, Buf];
    144 [Pid, One(&[0, 3, 5, 1, 2, 9]), Word];
    145 [Pid];
    146 [Small];
    147 [Small];
    148 [Pid, Buf];
    149 [Place, Size];
    150 [Place, Size];
    151 [Flags(&[1, 2, 4])];
    152 [];
    157 [One(&[1, 2, 3, 4, 7, 8, 15, 16, 21, 23, 27, 29, 30, 36, 37, 38, 39, 40]), Buf, Small, Small,
        Small];
    158 [One(&[0x1002, 0x1003, 0x1001, 0x1004]), Buf];
    160 [One(&[0, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15]), Limits];
    161 [Own];
    162 [];
    165 [Own, Own, Text, Flags(&[1, 2, 4, 8, 16, 32, 64, 1024]), Buf];
    166 [Own, Flags(&[1, 2, 4, 8])];
    170 [Buf, Small];
    171 [Buf, Small];
    186 [];
    187 [Fd, Size, Size];
    188 [Own, Text, Buf, Len, Small];
    191 [Own, Text, Buf, Len];
    200 [Pid, Signal];
    201 [Buf];
    202 [Word, One(&[0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 128, 129, 131, 132, 133, 137, 138]), Small,
        Time, Word, Small];
    203 [Pid, Small, Word];
    204 [Pid, Small, Buf];
    213 [Small];
    217 [Fd, Buf, Len];
    218 [Word];
    219 [];
    221 [Fd, Size, Size, Small];
    222 [CLOCK, Event, Word];
    223 [Small, One(&[0, 1]), Time, Buf];
    224 [Small, Buf];
    225 [Small];
    226 [Small];
    227 [One(&[1, 2]), Time];
    228 [CLOCK, Buf];
    229 [CLOCK, Buf];
    230 [CLOCK, One(&[0, 1]), Time, Buf];
    232 [Fd, Buf, Count, Small];
    233 [Fd, One(&[1, 1, 2, 3, 4]), Fd, Word];
    234 [Pid, Pid, Signal];
    235 [Own, Time];
    240 [Text, OPEN, Mode, Buf];
    241 [Text];
    242 [Fd, Buf, Len, Small, Time];
    243 [Fd, Buf, Len, Buf, Time];
    244 [Fd, Event];
    245 [Fd, Buf, Buf];
    247 [One(&[0, 1, 2, 3, 4]), Pid, Buf, Flags(&[1, 2, 4, 8, 0x100_0000]), Buf];
    251 [Small, Pid, Small];
    252 [Small, Pid];
    257 [Dir, Path, OPEN, Mode];
    258 [Dir, Own, Mode];
    259 [Dir, Own, One(&[0o100_644, 0o010_644, 0o140_644, 0o020_644]), Small];
    260 [Dir, Own, User, User, AT];
    261 [Dir, Own, Time];
    262 [Dir, Path, Buf, AT];
    263 [Dir, Own, One(&[0, 0x200, 1])];
    264 [Dir, Own, Dir, Own];
    265 [Dir, Own, Dir, Own, AT];
    266 [Own, Dir, Own];
    267 [Dir, Path, Buf, Len];
    268 [Dir, Own, Mode];
    269 [Dir, Path, Small];
    270 [Count, Set, Set, Set, Time, Buf];
    271 [Polls, Count, Time, Set, One(&[8, 8, 4])];
    272 [Flags(&[0x200, 0x400, 0x10000, 0x2_0000, 0x1000_0000])];
    273 [Buf, One(&[24, 24, 8])];
    274 [Pid, Buf, Buf];
    275 [Fd, Word, Fd, Word, Len, SPLICE];
    276 [Fd, Fd, Len, SPLICE];
    277 [Fd, Size, Size, Flags(&[1, 2, 4, 8])];
    278 [Fd, Vector, Count, SPLICE];
    280 [Dir, Own, Time, AT];
    281 [Fd, Buf, Count, Small, Set, One(&[8, 8, 4])];
    282 [Fd, Set, One(&[8, 8, 4])];
    283 [CLOCK, CLOEXEC];
    284 [Small];
    285 [Fd, Flags(&[1, 2, 8, 16]), Size, Size];
    286 [Fd, One(&[0, 1, 2]), Time, Buf];
    287 [Fd, Buf];
    288 [Fd, Buf, Word, CLOEXEC];
    289 [Fd, Set, One(&[8, 8, 4]), CLOEXEC];
    290 [Small, Flags(&[1, 0o4000, 0o2_000_000])];
    291 [CLOEXEC];
    292 [Fd, Spare, One(&[0, 0o2_000_000, 1])];
    293 [Pair, Flags(&[0o4000, 0o2_000_000, 0o40000])];
    295 [Fd, Vector, Count, Size];
    296 [Fd, Vector, Count, Size];
    297 [Pid, Pid, Signal, Buf];
    302 [Pid, One(&[0, 2, 3, 4, 5, 6, 8, 9, 10, 11]), Limits, Buf];
    306 [Fd];
    309 [Buf, Buf, Buf];
    310 [Pid, Vector, Count, Vector, Count, Small];
    311 [Pid, Vector, Count, Vector, Count, Small];
    314 [Pid, Buf, Small];
    315 [Pid, Buf, Small, Small];
    316 [Dir, Own, Dir, Own, Flags(&[1, 2, 4])];
    318 [Buf, Len, Flags(&[1, 2, 4])];
    319 [Text, Flags(&[1, 2, 4])];
    324 [One(&[0, 1, 2, 8, 16]), Small, Small];
    325 [Place, Size, Small];
    326 [Fd, Word, Fd, Word, Len, Small];
    327 [Fd, Vector, Count, Size, Small, RWF];
    328 [Fd, Vector, Count, Size, Small, RWF];
    332 [Dir, Path, AT, Flags(&[1, 0x7ff, 0x800]), Buf];
    334 [Buf, One(&[32, 32, 8]), Small, Small];
    424 [Fd, Signal, Buf, Small];
    434 [Pid, One(&[0, 0o4000, 1])];
    436 [Spare, Spare, Flags(&[2, 4])];
    437 [Dir, Path, Buf, One(&[24, 24, 32, 8])];
    438 [Fd, Spare, Small];
    439 [Dir, Path, Small, AT];
    441 [Fd, Buf, Count, Time, Set, One(&[8, 8, 4])];
    452 [Dir, Own, Mode, AT];
};
