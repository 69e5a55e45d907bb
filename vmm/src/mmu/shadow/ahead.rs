//! How far it pays to go on past a trap: instructions behind one that has trapped can be carried out
//! by the emulator, and if another one that would trap is among them, a trap is saved. Where that is
//! so is learned, by address.

use std::collections::HashMap;

use gnomon_shadow::emulate;
use iced_x86::{Instruction, Mnemonic};

/// Addresses remembered.
const REMEMBERED: usize = 4096;
/// How often, at most, a place is passed where going on led to nothing, before it is tried again.
const LONGEST_WAIT: u8 = 127;

/// What has been learned.
pub struct Ahead {
    places: HashMap<u64, Place>,
    /// Instructions looked at, where nothing is known.
    reach: u8,
}

/// What is known of an address.
#[derive(Clone, Copy, Default)]
struct Place {
    /// How many instructions are worth carrying out at once.
    useful: u8,
    /// How often it is passed before it is tried again, if none is: another way may be taken from
    /// there. Twice as often after each time for nothing.
    wait: u8,
    /// How often it has been passed since.
    passed: u8,
}

impl Ahead {
    /// Nothing known. `reach`: how many instructions carried out here are worth a trap.
    pub fn new(reach: u8) -> Self {
        Self {
            places: HashMap::new(),
            reach,
        }
    }

    /// How many instructions to carry out from `rip` on.
    pub fn reach(&mut self, rip: u64) -> u8 {
        match self.places.get_mut(&rip) {
            Some(place) if place.useful > 0 => place.useful,
            Some(place) if place.passed < place.wait => {
                place.passed += 1;
                0
            }
            _ => self.reach,
        }
    }

    /// Of the `tried` instructions from `rip` on, so many were useful: the last of them would have
    /// trapped.
    pub fn tell(&mut self, rip: u64, tried: u8, useful: u8) {
        if tried < self.reach {
            return;
        }
        if self.places.len() >= REMEMBERED {
            self.places.clear();
        }
        let place = self.places.entry(rip).or_default();
        place.wait = (2 * place.wait).clamp(1, LONGEST_WAIT);
        place.passed = 0;
        place.useful = useful;
    }
}

/// Whether an instruction that does not trap may be carried out on the way to one that does: the
/// emulator knows it, and it is over at once.
pub fn is_plain(i: &Instruction) -> bool {
    use Mnemonic as M;
    if i.has_rep_prefix() || i.has_repne_prefix() || i.has_lock_prefix() {
        return false;
    }
    emulate::is_conditional(i)
        || matches!(
            i.mnemonic(),
            M::Mov
                | M::Movzx
                | M::Movsx
                | M::Movsxd
                | M::Lea
                | M::Push
                | M::Pop
                | M::Leave
                | M::Add
                | M::Adc
                | M::Sub
                | M::Sbb
                | M::And
                | M::Or
                | M::Xor
                | M::Not
                | M::Neg
                | M::Inc
                | M::Dec
                | M::Cmp
                | M::Test
                | M::Shl
                | M::Shr
                | M::Sar
                | M::Bt
                | M::Bts
                | M::Btr
                | M::Btc
                | M::Jmp
                | M::Call
                | M::Ret
                | M::Nop
                | M::Endbr64
                | M::Cld
                | M::Xchg
                | M::Cdqe
                | M::Cqo
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_useful_is_done_again() {
        let mut ahead = Ahead::new(72);
        assert_eq!(ahead.reach(0x1000), 72);
        ahead.tell(0x1000, 72, 5);
        assert_eq!(ahead.reach(0x1000), 5);
        ahead.tell(0x1000, 5, 3);
        assert_eq!(ahead.reach(0x1000), 5);
        assert_eq!(ahead.reach(0x2000), 72);
    }

    #[test]
    fn what_is_not_is_tried_less_and_less() {
        let mut ahead = Ahead::new(8);
        let mut tries = Vec::new();
        for n in 0..1000 {
            let reach = ahead.reach(0x1000);
            ahead.tell(0x1000, reach, 0);
            if reach > 0 {
                tries.push(n);
            }
        }
        assert_eq!(tries[..6], [0, 2, 5, 10, 19, 36]);
        assert_eq!(tries[8..], [262, 390, 518, 646, 774, 902]);
    }
}
