//! Attributes of processes and threads: prctl, arch_prctl, personality.

use core::sync::atomic::Ordering;

use crate::errno::{Errno, KResult};
use crate::mm::layout::USER_END;
use crate::mm::user::{read_user, write_user};
use crate::sched;
use crate::task::{self, CAP_LAST};

const ARCH_SET_GS: usize = 0x1001;
const ARCH_SET_FS: usize = 0x1002;
const ARCH_GET_FS: usize = 0x1003;
const ARCH_GET_GS: usize = 0x1004;

/// `arch_prctl(2)`
pub fn sys_arch_prctl(code: usize, value: usize) -> KResult<usize> {
    let me = task::current();
    match code {
        ARCH_SET_FS | ARCH_SET_GS if value >= USER_END => return Err(Errno::EPERM),
        ARCH_SET_FS => sched::set_fs_base(me, value),
        ARCH_SET_GS => sched::set_gs_base(me, value),
        ARCH_GET_FS => write_user(value, &sched::user_fs_base(me))?,
        ARCH_GET_GS => write_user(value, &sched::user_gs_base(me))?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

const PR_SET_PDEATHSIG: usize = 1;
const PR_GET_PDEATHSIG: usize = 2;
const PR_GET_DUMPABLE: usize = 3;
const PR_SET_DUMPABLE: usize = 4;
const PR_GET_KEEPCAPS: usize = 7;
const PR_SET_KEEPCAPS: usize = 8;
const PR_SET_NAME: usize = 15;
const PR_GET_NAME: usize = 16;
const PR_GET_SECCOMP: usize = 21;
const PR_CAPBSET_READ: usize = 23;
const PR_GET_SECUREBITS: usize = 27;
const PR_SET_TIMERSLACK: usize = 29;
const PR_GET_TIMERSLACK: usize = 30;
const PR_SET_CHILD_SUBREAPER: usize = 36;
const PR_GET_CHILD_SUBREAPER: usize = 37;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const PR_GET_NO_NEW_PRIVS: usize = 39;
const PR_GET_TID_ADDRESS: usize = 40;
const PR_SET_VMA: usize = 0x5356_4d41;

/// Timer slack that every task has, in nanoseconds; timers are exact all the same.
const TIMER_SLACK: usize = 50_000;

/// `prctl(2)`
pub fn sys_prctl(option: usize, a: usize, b: usize, c: usize, d: usize) -> KResult<usize> {
    let me = task::current();
    let process = &*me.process;
    match option {
        PR_SET_PDEATHSIG => {
            if a > 64 {
                return Err(Errno::EINVAL);
            }
            process
                .parent_death_signal()
                .store(a as u32, Ordering::Relaxed);
        }
        PR_GET_PDEATHSIG => write_user(a, &process.parent_death_signal().load(Ordering::Relaxed))?,
        PR_GET_DUMPABLE => return Ok(process.dumpable().load(Ordering::Relaxed) as usize),
        PR_SET_DUMPABLE => {
            if a > 1 {
                return Err(Errno::EINVAL);
            }
            process.dumpable().store(a as u32, Ordering::Relaxed);
        }
        PR_GET_KEEPCAPS | PR_GET_SECCOMP | PR_GET_SECUREBITS => return Ok(0),
        PR_SET_KEEPCAPS => {
            if a > 1 {
                return Err(Errno::EINVAL);
            }
        }
        PR_SET_NAME => {
            let mut name = [0; task::COMM_LEN];
            for (i, byte) in name[..task::COMM_LEN - 1].iter_mut().enumerate() {
                *byte = read_user(a.wrapping_add(i))?;
                if *byte == 0 {
                    break;
                }
            }
            let len = name.iter().position(|&b| b == 0).unwrap_or(name.len());
            me.set_comm(&name[..len]);
        }
        PR_GET_NAME => write_user(a, &me.comm().0)?,
        PR_CAPBSET_READ => {
            return if a <= CAP_LAST as usize {
                Ok(1)
            } else {
                Err(Errno::EINVAL)
            };
        }
        PR_SET_TIMERSLACK => {}
        PR_GET_TIMERSLACK => return Ok(TIMER_SLACK),
        PR_SET_CHILD_SUBREAPER => process.subreaper().store(a != 0, Ordering::Relaxed),
        PR_GET_CHILD_SUBREAPER => {
            write_user(a, &u32::from(process.subreaper().load(Ordering::Relaxed)))?
        }
        PR_SET_NO_NEW_PRIVS => {
            if a != 1 || b != 0 || c != 0 || d != 0 {
                return Err(Errno::EINVAL);
            }
            process.set_no_new_privs();
        }
        PR_GET_NO_NEW_PRIVS => return Ok(usize::from(process.no_new_privs())),
        PR_GET_TID_ADDRESS => write_user(a, &me.clear_child_tid.load(Ordering::Relaxed))?,
        // Names of anonymous areas are not kept (as a kernel without CONFIG_ANON_VMA_NAME).
        PR_SET_VMA => return Err(Errno::EINVAL),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `personality(2)`: of the bits ADDR_NO_RANDOMIZE alone changes anything, from the next exec on.
pub fn sys_personality(persona: usize) -> KResult<usize> {
    const ASK: u32 = u32::MAX;
    let mine = task::current_process().personality();
    let old = mine.load(Ordering::Relaxed);
    if persona as u32 != ASK {
        mine.store(persona as u32, Ordering::Relaxed);
    }
    Ok(old as usize)
}
