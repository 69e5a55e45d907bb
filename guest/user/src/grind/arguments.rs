//! Arguments: mostly such as a call takes, some wrong in small ways, some wild.

use super::random::Random;

const PAGE: usize = 4096;
/// Pages that may be written, followed by one without access, one to be read only, another without
/// access.
const PAGES: usize = 20;
const GUARD: usize = PAGES;
const READ_ONLY: usize = PAGES + 1;
const ALL_PAGES: usize = PAGES + 3;
/// Where programs map, unmap and protect.
const PLAYGROUND: usize = 0x10_0000_0000;
/// Length of the playground in pages.
const PLAYGROUND_PAGES: usize = 512;
/// Descriptors that are used are below this.
pub const MOST_FDS: usize = 48;

/// What an argument is.
#[derive(Clone, Copy)]
pub enum Kind {
    /// An open descriptor.
    Fd,
    /// A descriptor's number that may not be open.
    Spare,
    /// A directory's descriptor, or the working directory.
    Dir,
    /// The name of a file that may be opened and looked at.
    Path,
    /// The name of a file of the worker's own, which may be changed and lost.
    Own,
    /// A short text.
    Text,
    /// Memory with anything in it.
    Buf,
    /// Memory that begins with a small number.
    Word,
    /// Memory for two descriptors.
    Pair,
    /// A length for memory.
    Len,
    /// A small count.
    Count,
    /// A small number, at times negative.
    Small,
    /// A file offset or size.
    Size,
    /// A file offset in whole pages.
    Page,
    /// An address in the playground.
    Place,
    /// A protection of memory.
    Prot,
    /// Flags of mmap.
    Map,
    /// One of these.
    One(&'static [u64]),
    /// Any of these together.
    Flags(&'static [u64]),
    /// A signal.
    Signal,
    /// A process.
    Pid,
    /// A user or group.
    User,
    /// Permission bits.
    Mode,
    /// A time span or two, mostly short.
    Time,
    /// A set of signals.
    Set,
    /// What a signal does.
    Action,
    /// Vectors of memory.
    Vector,
    /// Descriptors to poll.
    Polls,
    /// A message with its vectors and control data.
    Message,
    /// A socket's name.
    Name,
    /// Its length.
    NameLen,
    /// A resource limit.
    Limits,
    /// A lock, or a number as fcntl takes it.
    Lock,
    /// How a timer or queue tells.
    Event,
    /// Operations on semaphores.
    Semaphores,
    /// The number of a System V object.
    Object,
}

/// Makes arguments for one worker.
pub struct Maker {
    /// The numbers behind all choices.
    pub random: Random,
    /// Whether signals and the like may go to any process: not as root.
    pub anyone: bool,
    /// Children that may be signalled and waited for.
    pub children: [i32; 8],
    /// First byte of the memory that arguments lie in.
    base: usize,
    /// What is given out next.
    next: usize,
}

/// Names below the working directory.
const OWN: [&[u8]; 14] = [
    b"f0\0",
    b"f1\0",
    b"f2\0",
    b"d0\0",
    b"d1\0",
    b"d0/f0\0",
    b"d0/f1\0",
    b"d1/d0\0",
    b"l0\0",
    b"l1\0",
    b"s0\0",
    b"p0\0",
    b"./d0/../f0\0",
    b"d0/none/f\0",
];

/// Names that nothing can be done to but to open, read and look at them.
const SAFE: [&[u8]; 18] = [
    b"/dev/null\0",
    b"/dev/zero\0",
    b"/dev/full\0",
    b"/dev/urandom\0",
    b"/dev/ptmx\0",
    b"/proc\0",
    b"/proc/self/maps\0",
    b"/proc/self/smaps\0",
    b"/proc/self/stat\0",
    b"/proc/self/fd\0",
    b"/proc/meminfo\0",
    b"/proc/self/status\0",
    b"/proc/self/task\0",
    b"/proc/stat\0",
    b"/proc/mounts\0",
    b"/proc/thread-self/comm\0",
    b"/proc/self/fd/5\0",
    b"/none\0",
];

const TEXTS: [&[u8]; 12] = [
    b"tmpfs\0",
    b"proc\0",
    b"ext2\0",
    b"mqueue\0",
    b"grind-q0\0",
    b"grind-q1\0",
    b"grind-q2\0",
    b"/\0",
    b"\0",
    b"user.grind\0",
    b"size=64k\0",
    b"/grind/q\0",
];

/// Numbers at the edges of things.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    0x7f,
    0xff,
    0xfff,
    0x1000,
    0x1001,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_f000,
    0xffff_ffff_ffff_ffff,
];

/// Addresses that a program has no business with.
const ELSEWHERE: [usize; 10] = [
    0,
    8,
    0xfff,
    0x7fff_ffff_efff,
    0x7fff_ffff_f000,
    0x8000_0000_0000,
    0xffff_8880_0000_1000,
    0xffff_ffff_8020_0000,
    0xffff_ffff_ffff_f000,
    0xffff_ffff_ffff_ffff,
];

impl Maker {
    /// Maps the memory for arguments. `None` if there is none.
    pub fn new(random: Random, anyone: bool) -> Option<Self> {
        // SAFETY: fresh mappings at addresses of the kernel's choice; the protections are changed
        // within them.
        let base = unsafe {
            let base = libc::mmap(
                std::ptr::null_mut(),
                ALL_PAGES * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if base == libc::MAP_FAILED {
                return None;
            }
            libc::mprotect(base.byte_add(GUARD * PAGE), PAGE, libc::PROT_NONE);
            libc::mprotect(base.byte_add(READ_ONLY * PAGE), PAGE, libc::PROT_READ);
            libc::mprotect(base.byte_add((READ_ONLY + 1) * PAGE), PAGE, libc::PROT_NONE);
            base as usize
        };
        Some(Maker {
            random,
            anyone,
            children: [0; 8],
            base,
            next: 0,
        })
    }

    /// Forgets what was made for the last call.
    pub fn begin(&mut self) {
        self.next = 0;
    }

    /// Memory of `len` bytes that may be used, filled with what makes sense in many places.
    pub fn memory(&mut self, len: usize) -> usize {
        let len = len.next_multiple_of(16).min(PAGE);
        if self.next + len > (PAGES - 1) * PAGE {
            self.next = 0;
        }
        let at = self.base + self.next;
        self.next += len;
        at
    }

    fn write(&mut self, at: usize, words: &[u64]) {
        for (n, word) in words.iter().enumerate() {
            let place = at + 8 * n;
            if place >= self.base && place + 8 <= self.base + PAGES * PAGE {
                // SAFETY: the place lies in the pages that may be written. They may have been
                // unmapped by a call, upon which this process dies, as it may.
                unsafe { (place as *mut u64).write_unaligned(*word) };
            }
        }
    }

    /// `words` in memory: the address, or at times one at a page's end, or a bad one.
    fn place(&mut self, words: &[u64]) -> usize {
        match self.random.below(100) {
            0..=75 => {
                let at = self.memory(8 * words.len().max(32));
                self.write(at, words);
                at
            }
            76..=87 => {
                let back = match self.random.below(3) {
                    0 => self.random.below(64),
                    1 => 8 * self.random.below(1 + words.len()),
                    _ => 8 * words.len(),
                };
                let at = self.base + GUARD * PAGE - back;
                self.write(at, words);
                at
            }
            88..=90 => 0,
            91..=93 => self.base + READ_ONLY * PAGE + self.random.below(PAGE),
            94 => self.base + GUARD * PAGE + self.random.below(PAGE),
            95..=96 => PLAYGROUND + self.random.below(PLAYGROUND_PAGES * PAGE),
            _ => self.random.of(&ELSEWHERE),
        }
    }

    fn text(&mut self, text: &[u8]) -> usize {
        let mut words = [0u64; 4];
        for (n, byte) in text.iter().enumerate().take(31) {
            words[n / 8] |= u64::from(*byte) << (8 * (n % 8));
        }
        self.place(&words)
    }

    fn noise(&mut self) -> [u64; 8] {
        let mut words = [0; 8];
        for word in &mut words {
            *word = match self.random.below(4) {
                0 => 0,
                1 => self.random.below(64) as u64,
                2 => self.random.of(&EDGES),
                _ => self.random.word(),
            };
        }
        words
    }

    fn pid(&mut self) -> usize {
        if self.anyone && self.random.chance(20) {
            return match self.random.below(4) {
                0 => usize::MAX,
                1 => 1,
                2 => self.random.of(&EDGES) as usize,
                _ => self.random.below(1000),
            };
        }
        match self.random.below(6) {
            0 | 1 => 0,
            2 => std::process::id() as usize,
            3 => 1 << 30,
            _ => {
                let children = self.children;
                self.random.of(&children) as usize
            }
        }
    }

    fn vector(&mut self) -> usize {
        let mut words = [0; 16];
        for pair in 0..8 {
            let noise = self.noise();
            words[2 * pair] = self.place(&noise) as u64;
            words[2 * pair + 1] = match self.random.below(8) {
                0 => self.random.of(&EDGES),
                1 => self.random.below(3 * PAGE) as u64,
                _ => self.random.below(64) as u64,
            };
        }
        self.place(&words)
    }

    fn message(&mut self) -> usize {
        let name = self.value(Kind::Name);
        let vector = self.vector();
        // Control data: SCM_RIGHTS with up to two descriptors, or noise.
        let fds = self.value(Kind::Fd) as u64 | (self.value(Kind::Fd) as u64) << 32;
        let len = self.random.of(&[20, 24, 24, 16, 0, 40]);
        let kind = self.random.of(&[1, 1, 1, 2, 7]);
        let control = self.place(&[len, 1 | kind << 32, fds, 0, 0]);
        let words = [
            name as u64,
            self.random.of(&[0, 0, 16, 110, 200]),
            vector as u64,
            self.random.below(6) as u64,
            control as u64,
            self.random.of(&[0, 24, 24, 64, 1 << 40]),
            0,
        ];
        self.place(&words)
    }

    fn socket_name(&mut self) -> usize {
        // AF_UNIX and a path, or an abstract name.
        let name = self
            .random
            .of(&[0x3073u64, 0x30_7300, 0x31_7300, 0x30_6600]);
        let family = self.random.of(&[1u64, 1, 1, 0, 2, 16]);
        self.place(&[family | name << 16, 0, 0])
    }

    /// The value of an argument.
    pub fn value(&mut self, kind: Kind) -> usize {
        let wild = match kind {
            // A wild number must not name a process that has to live, or a place that is in use.
            Kind::Pid | Kind::Place | Kind::Prot | Kind::Own | Kind::Dir => false,
            _ => self.random.chance(3),
        };
        if wild {
            return self.random.of(&EDGES) as usize;
        }
        match kind {
            Kind::Fd => match self.random.below(12) {
                0 => usize::MAX,
                1 => self.random.below(MOST_FDS),
                _ => self.random.below(20),
            },
            Kind::Spare => 4 + self.random.below(MOST_FDS),
            Kind::Dir => match self.random.below(5) {
                0 => self.value(Kind::Fd),
                _ => libc::AT_FDCWD as usize,
            },
            Kind::Path => match self.random.chance(50) {
                true => {
                    let name = self.random.of(&SAFE);
                    self.text(name)
                }
                false => self.value(Kind::Own),
            },
            Kind::Own => {
                let name = self.random.of(&OWN);
                self.text(name)
            }
            Kind::Text => {
                let text = self.random.of(&TEXTS);
                self.text(text)
            }
            Kind::Buf => {
                let noise = self.noise();
                self.place(&noise)
            }
            Kind::Word => {
                let word = match self.random.chance(70) {
                    true => self.random.below(256) as u64,
                    false => self.random.of(&EDGES),
                };
                self.place(&[word])
            }
            Kind::Pair => self.place(&[0]),
            Kind::Len => match self.random.below(12) {
                0 => self.random.of(&EDGES) as usize,
                1 => self.random.below(PAGES * PAGE),
                2 => PAGE,
                _ => self.random.below(300),
            },
            Kind::Count => self.random.below(9),
            Kind::Small => match self.random.below(8) {
                0 => (self.random.below(8) as isize).wrapping_neg() as usize,
                1 => self.random.below(512),
                _ => self.random.below(16),
            },
            Kind::Size => match self.random.below(10) {
                0 => self.random.of(&EDGES) as usize,
                1..=3 => PAGE * self.random.below(32),
                4 => self.random.below(1 << 20),
                _ => self.random.below(3 * PAGE),
            },
            Kind::Page => PAGE * self.random.below(8),
            Kind::Place => {
                let page = PLAYGROUND + PAGE * self.random.below(PLAYGROUND_PAGES);
                page + if self.random.chance(5) {
                    self.random.below(PAGE)
                } else {
                    0
                }
            }
            Kind::Prot => self.random.below(8),
            Kind::Map => {
                let kind = self.random.of(&[1, 2, 2, 2, 3]);
                let flags = [0x10, 0x20, 0x20, 0x100, 0x2000, 0x4000, 0x8000, 0x10_0000];
                (kind | self.random.some(&flags) | self.random.of(&[0, 0x20])) as usize
            }
            Kind::One(choices) => self.random.of(choices) as usize,
            Kind::Flags(flags) => match self.random.chance(30) {
                true => 0,
                false => self.random.some(flags) as usize,
            },
            Kind::Signal => match self.random.chance(70) {
                true => self.random.of(&[0, 10, 12, 13, 17, 18, 23, 28, 34, 40]),
                false => self.random.below(66),
            },
            Kind::Pid => self.pid(),
            Kind::User => self
                .random
                .of(&[0, 1000, 1001, 65534, usize::MAX, 0xffff_ffff]),
            Kind::Mode => self.random.below(0o10000),
            Kind::Time => {
                let nanoseconds = match self.random.chance(90) {
                    true => self.random.below(3_000_000) as u64,
                    false => self.random.of(&EDGES),
                };
                let seconds = match self.random.chance(95) {
                    true => 0,
                    false => self.random.of(&EDGES),
                };
                let later = self.random.below(3_000_000) as u64;
                self.place(&[0, later, seconds, nanoseconds])
            }
            Kind::Set => {
                let set = self
                    .random
                    .some(&[1 << 9, 1 << 11, 1 << 16, 1 << 13, 1 << 33, !0]);
                self.place(&[set])
            }
            Kind::Action => {
                let handler = match self.random.below(6) {
                    0 => 0,
                    1 => 1,
                    2 => self.random.of(&EDGES),
                    _ => super::worker::handler_address() as u64,
                };
                let flags = [1, 2, 4, 0x0800_0000, 0x1000_0000, 0x4000_0000, 0x8000_0000];
                let flags = self.random.some(&flags) | 0x0400_0000;
                let restorer = super::worker::restorer_address() as u64;
                let mask = self.random.word() & self.random.word();
                self.place(&[handler, flags, restorer, mask])
            }
            Kind::Vector => self.vector(),
            Kind::Polls => {
                let mut words = [0; 8];
                for word in &mut words {
                    let fd = self.random.below(20) as u64;
                    *word = fd | (self.random.word() & 0x7f) << 32;
                }
                self.place(&words)
            }
            Kind::Message => self.message(),
            Kind::Name => self.socket_name(),
            Kind::NameLen => self.random.of(&[4, 5, 6, 16, 110, 2, 0, 111]),
            Kind::Limits => {
                let soft = match self.random.chance(70) {
                    true => self.random.below(64 << 20) as u64,
                    false => self.random.of(&EDGES),
                };
                self.place(&[soft, u64::MAX])
            }
            Kind::Lock => match self.random.chance(50) {
                true => self.random.below(1 << 17),
                false => {
                    let kind = self.random.below(4) as u64;
                    let (start, len) =
                        (self.value(Kind::Size) as u64, self.value(Kind::Size) as u64);
                    self.place(&[kind, start, len, 0])
                }
            },
            Kind::Event => {
                let signal = self.random.of(&[10, 12, 34, 0, 65]);
                let how = self.random.of(&[0, 0, 1, 2, 4, 9]);
                self.place(&[self.random.clone().word(), signal | how << 32, 0])
            }
            Kind::Semaphores => {
                let mut words = [0; 4];
                for word in &mut words {
                    let operation = self.random.of(&[1u64, 1, 0, 0xffff, 0xfffe, 0x7fff]);
                    let flags = self.random.of(&[0o4000u64, 0o10000, 0o14000]);
                    *word = self.random.below(3) as u64 | operation << 16 | flags << 32;
                }
                self.place(&words)
            }
            Kind::Object => match self.random.chance(80) {
                true => self.random.below(8),
                false => self.random.below(1 << 18),
            },
        }
    }
}
