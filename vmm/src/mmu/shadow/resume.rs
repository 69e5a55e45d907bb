//! The way back into the guest: what has to be done in ring 0 first, as few instructions as can be.
//!
//! Nothing to be done: one `iretq`. A change of view: `mov cr3` and a `pop` before it. Anything
//! else (edits of true tables, model-specific registers, CR0, CR4) makes a chain: RSP leads through
//! a list of gadget addresses and their operands, and the last gadget is an `iretq`.

use gnomon_shadow::tables::memory::{Edit, Flush};
use kvm_bindings::kvm_regs;

use super::monitor::{FRAME_VA, LIST_VA, LIST_WORDS, Monitor, gadget};

/// Something for the processor to do in ring 0, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// SWAPGS.
    SwapGs,
    /// WRMSR.
    Msr(u32, u64),
    /// MOV to CR0.
    Cr0(u64),
    /// MOV to CR4.
    Cr4(u64),
}

/// What lies between the monitor and the guest.
#[derive(Debug, Default)]
pub struct Plan {
    /// In order.
    pub operations: Vec<Operation>,
    /// Edits of true tables.
    pub edits: Vec<Edit>,
    /// Edits that have been made already: a list too long for one round.
    pub done: usize,
    /// The root to load.
    pub root: Option<u64>,
    /// What to forget if no root is loaded.
    pub flush: Flush,
}

/// Words kept free for everything behind the edits.
const TAIL: usize = 64;

impl Plan {
    /// Whether another round is due.
    pub fn is_unfinished(&self) -> bool {
        self.done < self.edits.len()
    }

    /// Puts the way back into the monitor's memory and into `regs`, which hold the guest's general
    /// registers; `frame` is for the `iretq`. Where the list is too long, the monitor comes back for
    /// more ([`is_unfinished`](Self::is_unfinished)) before the guest runs.
    pub fn submit(&mut self, monitor: &Monitor, regs: &mut kvm_regs, frame: [u64; 5]) {
        regs.rflags = 2;
        let swap = match *self.operations {
            [] => Some(false),
            [Operation::SwapGs] => Some(true),
            _ => None,
        };
        let simple = self.edits.is_empty() && matches!(self.flush, Flush::None | Flush::All);
        if let (Some(swap), true) = (swap, simple) {
            monitor.set_frame(frame);
            match self.root {
                None => {
                    regs.rsp = FRAME_VA;
                    regs.rip = if swap {
                        gadget::FAST_SWAP
                    } else {
                        gadget::FAST
                    };
                }
                Some(root) => {
                    monitor.set_below_frame(regs.rax);
                    regs.rsp = FRAME_VA - 8;
                    regs.rax = root;
                    regs.rip = if swap { gadget::CR3_SWAP } else { gadget::CR3 };
                }
            }
            regs.rip = Monitor::code_va(regs.rip);
            *self = Self::default();
            return;
        }
        self.submit_chain(monitor, regs, frame);
    }

    fn submit_chain(&mut self, monitor: &Monitor, regs: &mut kvm_regs, frame: [u64; 5]) {
        let mut list = Vec::with_capacity(256);
        let code = Monitor::code_va;
        if self.done == 0 {
            for operation in &self.operations {
                match *operation {
                    Operation::SwapGs => list.push(code(gadget::CHAIN_SWAP)),
                    Operation::Msr(msr, value) => list.extend([
                        code(gadget::CHAIN_WRMSR),
                        msr.into(),
                        value & 0xffff_ffff,
                        value >> 32,
                    ]),
                    Operation::Cr0(value) => list.extend([code(gadget::CHAIN_CR0), value]),
                    Operation::Cr4(value) => list.extend([code(gadget::CHAIN_CR4), value]),
                }
            }
        }
        self.push_edits(&mut list);
        let last = !self.is_unfinished();
        if last {
            match (self.root, self.flush) {
                (Some(root), _) => list.extend([code(gadget::CHAIN_CR3), root]),
                (None, Flush::Page(va)) => list.extend([code(gadget::CHAIN_INVLPG), va]),
                (None, _) => {}
            }
            list.extend([
                code(gadget::CHAIN_END),
                regs.rdx,
                regs.rcx,
                regs.rax,
                regs.rdi,
            ]);
            list.extend(frame);
        } else {
            list.push(code(gadget::CHAIN_MORE));
        }
        monitor.set_list(&list);
        regs.rip = list[0];
        regs.rsp = LIST_VA + 8;
        if last {
            *self = Self::default();
        }
    }

    /// As many edits as the list holds.
    fn push_edits(&mut self, list: &mut Vec<u64>) {
        while self.is_unfinished() && list.len() + TAIL < LIST_WORDS {
            let rest = &self.edits[self.done..];
            if let Edit::Clear { page } = rest[0] {
                list.extend([
                    Monitor::code_va(gadget::CHAIN_CLEAR),
                    Monitor::table_va(page, 0),
                    512,
                    0,
                ]);
                self.done += 1;
                continue;
            }
            let room = (LIST_WORDS - TAIL - list.len()) / 2;
            let run = rest
                .iter()
                .take(room.clamp(1, gadget::WRITES))
                .take_while(|edit| matches!(edit, Edit::Write { .. }))
                .count();
            let skip = (gadget::WRITES - run) as u64 * gadget::WRITE_LEN;
            list.push(Monitor::code_va(gadget::CHAIN_WRITES + skip));
            for edit in &rest[..run] {
                if let Edit::Write { page, index, value } = *edit {
                    list.extend([Monitor::table_va(page, index), value]);
                }
            }
            self.done += run;
        }
    }
}
