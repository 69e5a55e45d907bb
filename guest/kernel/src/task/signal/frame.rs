//! The frame of a signal handler on the program's stack, exactly Linux's `struct rt_sigframe`.
//!
//! ```text
//!   0 address of the restorer (the handler's return address)
//!   8 ucontext:   0 flags  8 link  16 stack_t  40 sigcontext  296 blocked signals
//! 312 siginfo_t (128 bytes)
//! 440 end;  the FXSAVE or XSAVE image lies above, 64-byte aligned
//!
//! sigcontext: r8 … r15 rdi rsi rbp rbx rdx rax rcx rsp rip rflags cs:gs:fs:ss error trap mask cr2
//!             fpstate reserved[8]
//! ```

use super::action::{SA_ONSTACK, SA_RESTORER, SigAction};
use super::info::SigInfo;
use super::set::UNBLOCKABLE;
use super::state::{AltStack, SS_AUTODISARM, SS_ONSTACK};
use crate::arch::gdt::{USER_CS, USER_DS};
use crate::arch::{TrapFrame, percpu};
use crate::errno::{Errno, KResult};
use crate::mm::layout::USER_END;
use crate::mm::user;
use crate::sched;
use crate::task::{self, Task};

/// Bytes below the stack pointer that the ABI leaves to the interrupted function.
const RED_ZONE: usize = 128;

/// `uc_flags`: an XSAVE image follows the FXSAVE image.
const UC_FP_XSTATE: u64 = 1;
/// `uc_flags`: SS is saved, and restored.
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

/// RFLAGS that a program may set by sigreturn: CF PF AF ZF SF TF DF OF RF AC.
const USER_FLAGS: usize = 0x0005_0dd5;
const TF: usize = 1 << 8;
const DF: usize = 1 << 10;
const RF: usize = 1 << 16;
/// RFLAGS that are always set in ring 3: interrupts on, and bit 1.
const FIXED_FLAGS: usize = 1 << 9 | 2;

/// `struct sigcontext`.
#[derive(Clone, Copy)]
#[repr(C)]
struct SigContext {
    r8: usize,
    r9: usize,
    r10: usize,
    r11: usize,
    r12: usize,
    r13: usize,
    r14: usize,
    r15: usize,
    rdi: usize,
    rsi: usize,
    rbp: usize,
    rbx: usize,
    rdx: usize,
    rax: usize,
    rcx: usize,
    rsp: usize,
    rip: usize,
    rflags: usize,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error: u64,
    trap: u64,
    old_mask: u64,
    cr2: usize,
    fpstate: usize,
    reserved: [u64; 8],
}

/// `struct ucontext`.
#[derive(Clone, Copy)]
#[repr(C)]
struct UContext {
    flags: u64,
    link: usize,
    stack: AltStack,
    context: SigContext,
    mask: u64,
}

/// `struct rt_sigframe`.
#[derive(Clone, Copy)]
#[repr(C)]
struct RtSigFrame {
    restorer: usize,
    ucontext: UContext,
    info: [u8; super::info::SIZE],
}

// SAFETY: integers and bytes without padding; any bit pattern is valid.
unsafe impl user::Pod for UContext {}
// SAFETY: as above.
unsafe impl user::Pod for RtSigFrame {}

const _: () = {
    assert!(size_of::<SigContext>() == 256);
    assert!(size_of::<UContext>() == 304);
    assert!(size_of::<RtSigFrame>() == 440);
};

/// Bytes that a handler's frame takes at most (`AT_MINSIGSTKSZ`).
pub fn max_size() -> usize {
    size_of::<RtSigFrame>() + RED_ZONE + 64 + 16 + sched::fpu_image_size()
}

/// Build a handler's frame on the program's stack and point the registers at the handler. `mask`
/// comes back at sigreturn.
///
/// # Errors
/// EFAULT: the stack cannot take it, or the handler has no restorer.
pub(super) fn push(
    me: &Task,
    frame: &mut TrapFrame,
    info: &SigInfo,
    action: &SigAction,
    mask: u64,
) -> KResult<()> {
    if action.flags & SA_RESTORER == 0 {
        return Err(Errno::EFAULT);
    }
    let mut alt = me.signals.lock().alt;
    let on_alt = alt.holds(frame.rsp);
    let mut sp = frame.rsp.wrapping_sub(RED_ZONE);
    let enter_alt = action.flags & SA_ONSTACK != 0 && alt.is_enabled() && !on_alt;
    if enter_alt {
        sp = alt.base.wrapping_add(alt.size);
    }
    let image = sched::fpu_image(me);
    let fpstate = sp.wrapping_sub(image.len()) & !63;
    let at = (fpstate.wrapping_sub(size_of::<RtSigFrame>()) & !15).wrapping_sub(8);
    if (enter_alt || on_alt) && (at < alt.base || at > alt.base.wrapping_add(alt.size)) {
        return Err(Errno::EFAULT);
    }
    if at >= USER_END {
        return Err(Errno::EFAULT);
    }
    alt.flags = if !alt.is_enabled() {
        super::SS_DISABLE
    } else if on_alt {
        SS_ONSTACK
    } else {
        alt.flags & SS_AUTODISARM
    };
    let (trap, error, cr2) = me.last_fault();
    let xstate = if image.len() > 512 { UC_FP_XSTATE } else { 0 };
    let contents = RtSigFrame {
        restorer: action.restorer,
        ucontext: UContext {
            flags: xstate | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
            link: 0,
            stack: alt,
            context: SigContext {
                r8: frame.r8,
                r9: frame.r9,
                r10: frame.r10,
                r11: frame.r11,
                r12: frame.r12,
                r13: frame.r13,
                r14: frame.r14,
                r15: frame.r15,
                rdi: frame.rdi,
                rsi: frame.rsi,
                rbp: frame.rbp,
                rbx: frame.rbx,
                rdx: frame.rdx,
                rax: frame.rax,
                rcx: frame.rcx,
                rsp: frame.rsp,
                rip: frame.rip,
                rflags: frame.rflags,
                cs: frame.cs as u16,
                gs: 0,
                fs: 0,
                ss: frame.ss as u16,
                error,
                trap: u64::from(trap),
                old_mask: mask,
                cr2,
                fpstate,
                reserved: [0; 8],
            },
            mask,
        },
        info: info.to_bytes(),
    };
    user::copy_to_user(fpstate, image)?;
    user::write_user(at, &contents)?;
    if alt.flags & SS_AUTODISARM != 0 && enter_alt {
        me.signals.lock().alt = AltStack::NONE;
    }
    frame.rdi = info.signo as usize;
    frame.rsi = at + core::mem::offset_of!(RtSigFrame, info);
    frame.rdx = at + core::mem::offset_of!(RtSigFrame, ucontext);
    frame.rax = 0;
    frame.rsp = at;
    frame.rip = action.handler;
    frame.cs = USER_CS as usize;
    frame.ss = USER_DS as usize;
    frame.rflags = frame.rflags & !(DF | RF | TF) | FIXED_FLAGS;
    percpu::set_work();
    if action.handler >= USER_END {
        return Err(Errno::EFAULT);
    }
    Ok(())
}

/// `rt_sigreturn`: back to what the handler interrupted. Nothing in the frame is believed before it
/// has been checked; a bad one is SIGSEGV. Gives the value for RAX.
pub fn sigreturn(frame: &mut TrapFrame) -> usize {
    match restore(frame) {
        Ok(rax) => rax,
        Err(_) => {
            super::force(SigInfo::kernel(super::SIGSEGV));
            0
        }
    }
}

fn restore(frame: &mut TrapFrame) -> KResult<usize> {
    let me = task::current();
    // The handler's RET has taken the restorer's address off.
    let at = frame.rsp.wrapping_sub(8);
    let ucontext: UContext =
        user::read_user(at.wrapping_add(core::mem::offset_of!(RtSigFrame, ucontext)))?;
    let context = &ucontext.context;
    // IRETQ would fault in the kernel's name on these.
    if context.rip >= USER_END || !is_canonical(context.rsp) {
        return Err(Errno::EFAULT);
    }
    if context.cs | 3 != USER_CS || (context.ss | 3 != USER_DS && context.ss & !3 != 0) {
        return Err(Errno::EFAULT);
    }
    if context.fpstate == 0 {
        sched::reset_fpu(me);
    } else {
        sched::load_fpu_image(me, context.fpstate)?;
    }
    super::set_blocked(ucontext.mask & !UNBLOCKABLE);
    // As sigaltstack would, but a frame whose stack does not fit changes nothing.
    let _ = super::restore_altstack(ucontext.stack, context.rsp);
    frame.r8 = context.r8;
    frame.r9 = context.r9;
    frame.r10 = context.r10;
    frame.r11 = context.r11;
    frame.r12 = context.r12;
    frame.r13 = context.r13;
    frame.r14 = context.r14;
    frame.r15 = context.r15;
    frame.rdi = context.rdi;
    frame.rsi = context.rsi;
    frame.rbp = context.rbp;
    frame.rbx = context.rbx;
    frame.rdx = context.rdx;
    frame.rcx = context.rcx;
    frame.rsp = context.rsp;
    frame.rip = context.rip;
    frame.rflags = context.rflags & USER_FLAGS | FIXED_FLAGS;
    frame.cs = USER_CS as usize;
    frame.ss = USER_DS as usize;
    percpu::set_work();
    Ok(context.rax)
}

fn is_canonical(address: usize) -> bool {
    let high = (address as isize) >> 47;
    high == 0 || high == -1
}
