//! Where the bytes of a read go and where those of a write come from: user memory (one range or
//! an iovec array) or a slice of the kernel's. One code path then serves read, readv, pread, exec,
//! sendfile and the rest.

use crate::errno::KResult;
use crate::mm::user;

/// `struct iovec` (`readv(2)`).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct IoVec {
    /// Start in user memory.
    pub base: usize,
    /// Length in bytes.
    pub len: usize,
}

// SAFETY: two integers; any bit pattern is valid and there is no padding.
unsafe impl user::Pod for IoVec {}

enum Dest<'a> {
    User {
        at: usize,
        left: usize,
        rest: &'a [IoVec],
    },
    Kernel(&'a mut [u8]),
}

/// The destination of a read.
pub struct ReadBuf<'a> {
    dest: Dest<'a>,
    done: usize,
    remaining: usize,
}

impl<'a> ReadBuf<'a> {
    /// `len` bytes of user memory at `addr`.
    pub fn user(addr: usize, len: usize) -> Self {
        Self {
            dest: Dest::User {
                at: addr,
                left: len,
                rest: &[],
            },
            done: 0,
            remaining: len,
        }
    }

    /// Several ranges of user memory, filled in turn. Their total must not overflow.
    pub fn user_vec(iov: &'a [IoVec]) -> Self {
        let remaining = iov.iter().map(|v| v.len).sum();
        Self {
            dest: Dest::User {
                at: 0,
                left: 0,
                rest: iov,
            },
            done: 0,
            remaining,
        }
    }

    /// A slice of kernel memory.
    pub fn kernel(slice: &'a mut [u8]) -> Self {
        let remaining = slice.len();
        Self {
            dest: Dest::Kernel(slice),
            done: 0,
            remaining,
        }
    }

    /// Room left, in bytes.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Store as much of `data` as there is room for; gives the count. EFAULT if nothing at all
    /// could be stored at a bad address.
    pub fn put(&mut self, data: &[u8]) -> KResult<usize> {
        let total = data.len().min(self.remaining);
        let mut stored = 0;
        while stored < total {
            let n;
            match &mut self.dest {
                Dest::Kernel(slice) => {
                    n = total - stored;
                    slice[self.done..self.done + n].copy_from_slice(&data[stored..stored + n]);
                }
                Dest::User { at, left, rest } => {
                    if *left == 0 {
                        let Some((first, tail)) = rest.split_first() else {
                            break;
                        };
                        (*at, *left, *rest) = (first.base, first.len, tail);
                        continue;
                    }
                    n = (total - stored).min(*left);
                    match user::copy_to_user(*at, &data[stored..stored + n]) {
                        Ok(()) => {}
                        Err(_) if stored > 0 => break,
                        Err(e) => return Err(e),
                    }
                    *at += n;
                    *left -= n;
                }
            }
            stored += n;
            self.done += n;
            self.remaining -= n;
        }
        Ok(stored)
    }

    /// Store up to `count` zero bytes.
    pub fn put_zeros(&mut self, count: usize) -> KResult<usize> {
        let total = count.min(self.remaining);
        let mut stored = 0;
        while stored < total {
            let n;
            match &mut self.dest {
                Dest::Kernel(slice) => {
                    n = total - stored;
                    slice[self.done..self.done + n].fill(0);
                }
                Dest::User { at, left, rest } => {
                    if *left == 0 {
                        let Some((first, tail)) = rest.split_first() else {
                            break;
                        };
                        (*at, *left, *rest) = (first.base, first.len, tail);
                        continue;
                    }
                    n = (total - stored).min(*left);
                    match user::zero_user(*at, n) {
                        Ok(()) => {}
                        Err(_) if stored > 0 => break,
                        Err(e) => return Err(e),
                    }
                    *at += n;
                    *left -= n;
                }
            }
            stored += n;
            self.done += n;
            self.remaining -= n;
        }
        Ok(stored)
    }
}

enum Source<'a> {
    User {
        at: usize,
        left: usize,
        rest: &'a [IoVec],
    },
    Kernel(&'a [u8]),
}

/// The source of a write.
pub struct WriteBuf<'a> {
    source: Source<'a>,
    done: usize,
    remaining: usize,
}

impl<'a> WriteBuf<'a> {
    /// `len` bytes of user memory at `addr`.
    pub fn user(addr: usize, len: usize) -> Self {
        Self {
            source: Source::User {
                at: addr,
                left: len,
                rest: &[],
            },
            done: 0,
            remaining: len,
        }
    }

    /// Several ranges of user memory, taken in turn. Their total must not overflow.
    pub fn user_vec(iov: &'a [IoVec]) -> Self {
        let remaining = iov.iter().map(|v| v.len).sum();
        Self {
            source: Source::User {
                at: 0,
                left: 0,
                rest: iov,
            },
            done: 0,
            remaining,
        }
    }

    /// A slice of kernel memory.
    pub fn kernel(slice: &'a [u8]) -> Self {
        Self {
            source: Source::Kernel(slice),
            done: 0,
            remaining: slice.len(),
        }
    }

    /// Bytes not taken yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// Fill `dst` from the source as far as it goes; gives the count. EFAULT if nothing could be
    /// read at a bad address.
    pub fn take(&mut self, dst: &mut [u8]) -> KResult<usize> {
        let total = dst.len().min(self.remaining);
        let mut taken = 0;
        while taken < total {
            let n;
            match &mut self.source {
                Source::Kernel(slice) => {
                    n = total - taken;
                    dst[taken..taken + n].copy_from_slice(&slice[self.done..self.done + n]);
                }
                Source::User { at, left, rest } => {
                    if *left == 0 {
                        let Some((first, tail)) = rest.split_first() else {
                            break;
                        };
                        (*at, *left, *rest) = (first.base, first.len, tail);
                        continue;
                    }
                    n = (total - taken).min(*left);
                    match user::copy_from_user(&mut dst[taken..taken + n], *at) {
                        Ok(()) => {}
                        Err(_) if taken > 0 => break,
                        Err(e) => return Err(e),
                    }
                    *at += n;
                    *left -= n;
                }
            }
            taken += n;
            self.done += n;
            self.remaining -= n;
        }
        Ok(taken)
    }

    /// Take no more than `max` further bytes.
    pub fn limit(&mut self, max: u64) {
        self.remaining = self
            .remaining
            .min(usize::try_from(max).unwrap_or(usize::MAX));
    }

    /// Pass over up to `count` bytes without reading them (writes to `/dev/null`).
    pub fn skip(&mut self, count: usize) -> usize {
        let n = count.min(self.remaining);
        let mut left_to_skip = n;
        if let Source::User { at, left, rest } = &mut self.source {
            while left_to_skip > 0 {
                if *left == 0 {
                    let Some((first, tail)) = rest.split_first() else {
                        break;
                    };
                    (*at, *left, *rest) = (first.base, first.len, tail);
                    continue;
                }
                let step = left_to_skip.min(*left);
                *at += step;
                *left -= step;
                left_to_skip -= step;
            }
        }
        self.done += n;
        self.remaining -= n;
        n
    }
}
