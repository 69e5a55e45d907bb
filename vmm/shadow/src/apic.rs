//! The virtual local APIC in x2APIC mode, with its timer (SDM volume 3, chapter 11).
//!
//! Registers are MSRs 0x800 to 0x83f. Time comes in as nanoseconds of a clock of the caller's and
//! as TSC values; nothing here reads a clock. The xAPIC's registers in memory are the same ones at
//! offset `(msr - 0x800) << 4`.

/// The first MSR of the x2APIC.
pub const MSR_FIRST: u32 = 0x800;
/// The last one.
pub const MSR_LAST: u32 = 0x8ff;
/// IA32_TSC_DEADLINE.
pub const MSR_TSC_DEADLINE: u32 = 0x6e0;

mod register {
    pub const ID: u32 = 0x802;
    pub const VERSION: u32 = 0x803;
    pub const TPR: u32 = 0x808;
    pub const PPR: u32 = 0x80a;
    pub const EOI: u32 = 0x80b;
    pub const LDR: u32 = 0x80d;
    pub const SVR: u32 = 0x80f;
    pub const ISR: u32 = 0x810;
    pub const TMR: u32 = 0x818;
    pub const IRR: u32 = 0x820;
    pub const ESR: u32 = 0x828;
    pub const ICR: u32 = 0x830;
    pub const LVT_TIMER: u32 = 0x832;
    pub const LVT_THERMAL: u32 = 0x833;
    pub const LVT_ERROR: u32 = 0x837;
    pub const INITIAL_COUNT: u32 = 0x838;
    pub const CURRENT_COUNT: u32 = 0x839;
    pub const DIVIDE: u32 = 0x83e;
    pub const SELF_IPI: u32 = 0x83f;
}

const MASKED: u32 = 1 << 16;
const ENABLED: u32 = 1 << 8;

/// The moment of an access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of a monotonic clock.
    pub ns: u64,
    /// The guest's time-stamp counter.
    pub tsc: u64,
}

/// A set of vectors, as IRR, ISR and TMR are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Vectors([u32; 8]);

impl Vectors {
    fn set(&mut self, vector: u8, on: bool) {
        let bit = 1 << (vector % 32);
        let word = &mut self.0[usize::from(vector / 32)];
        if on {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }

    fn get(&self, vector: u8) -> bool {
        self.0[usize::from(vector / 32)] >> (vector % 32) & 1 != 0
    }

    fn highest(&self) -> Option<u8> {
        (0..8u8)
            .rev()
            .find(|&i| self.0[usize::from(i)] != 0)
            .map(|i| i * 32 + (31 - self.0[usize::from(i)].leading_zeros()) as u8)
    }
}

/// An interrupt for other processors, or for this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipi {
    /// The interrupt command register: destination in bits 63:32.
    pub command: u64,
}

/// The APIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apic {
    id: u32,
    /// Timer ticks per second with divider 1.
    hz: u64,
    /// Frequency of the TSC in Hz.
    tsc_hz: u64,
    tpr: u8,
    svr: u32,
    esr: u32,
    icr: u64,
    irr: Vectors,
    isr: Vectors,
    tmr: Vectors,
    /// See [`Apic::take_ended`].
    ended: Option<u8>,
    /// LVT entries: timer, thermal, performance, LINT0, LINT1, error.
    lvt: [u32; 6],
    divide: u32,
    initial: u32,
    /// When the count began, in ns.
    started: u64,
    /// When the timer fires next, in ns.
    due: Option<u64>,
    tsc_deadline: u64,
    /// IPIs that were sent to others.
    sent: Vec<Ipi>,
}

impl Apic {
    /// An APIC as it is after a reset, software-disabled. `hz`: its timer's frequency with divider
    /// 1; `tsc_hz`: the TSC's.
    pub fn new(id: u32, hz: u64, tsc_hz: u64) -> Self {
        Apic {
            id,
            hz: hz.max(1),
            tsc_hz: tsc_hz.max(1),
            tpr: 0,
            svr: 0xff,
            esr: 0,
            icr: 0,
            irr: Vectors::default(),
            isr: Vectors::default(),
            tmr: Vectors::default(),
            ended: None,
            lvt: [MASKED; 6],
            divide: 0,
            initial: 0,
            started: 0,
            due: None,
            tsc_deadline: 0,
            sent: Vec::new(),
        }
    }

    /// Whether `msr` is one of this APIC's.
    pub fn has_msr(msr: u32) -> bool {
        (MSR_FIRST..=MSR_LAST).contains(&msr) || msr == MSR_TSC_DEADLINE
    }

    /// Reads a register; `None`: there is none such, or it cannot be read (`#GP`).
    pub fn read(&mut self, msr: u32, now: Now) -> Option<u64> {
        use register as r;
        Some(match msr {
            r::ID => self.id.into(),
            // Version 0x14, six LVT entries.
            r::VERSION => 0x0005_0014,
            r::TPR => self.tpr.into(),
            r::PPR => self.ppr().into(),
            r::LDR => (u64::from(self.id) >> 4 << 16) | 1 << (self.id & 15),
            r::SVR => self.svr.into(),
            r::ISR..r::TMR => self.isr.0[(msr - r::ISR) as usize].into(),
            r::TMR..r::IRR => self.tmr.0[(msr - r::TMR) as usize].into(),
            r::IRR..r::ESR => self.irr.0[(msr - r::IRR) as usize].into(),
            r::ESR => self.esr.into(),
            r::ICR => self.icr,
            r::LVT_TIMER => self.lvt[0].into(),
            r::LVT_THERMAL..=r::LVT_ERROR => self.lvt[(msr - r::LVT_TIMER) as usize].into(),
            r::INITIAL_COUNT => self.initial.into(),
            r::CURRENT_COUNT => self.count(now).into(),
            r::DIVIDE => self.divide.into(),
            MSR_TSC_DEADLINE if self.is_deadline() => self.tsc_deadline,
            MSR_TSC_DEADLINE => 0,
            _ => return None,
        })
    }

    /// Writes a register; `None`: there is none such, or not with this value (`#GP`).
    pub fn write(&mut self, msr: u32, value: u64, now: Now) -> Option<()> {
        use register as r;
        if value >> 32 != 0 && msr != r::ICR && msr != MSR_TSC_DEADLINE {
            return None;
        }
        let low = value as u32;
        match msr {
            r::TPR if low >> 8 == 0 => self.tpr = low as u8,
            r::EOI if low == 0 => self.eoi(),
            r::SVR => {
                self.svr = low & 0x1ff;
                if low & ENABLED == 0 {
                    self.lvt.iter_mut().for_each(|l| *l |= MASKED);
                }
            }
            r::ESR if low == 0 => self.esr = 0,
            r::ICR => self.send(value),
            r::SELF_IPI if low >> 8 == 0 => self.raise(low as u8),
            r::LVT_TIMER => {
                let was_deadline = self.is_deadline();
                self.lvt[0] = self.lvt_value(low & 0x7_10ff);
                if was_deadline != self.is_deadline() {
                    self.due = None;
                    self.tsc_deadline = 0;
                }
            }
            r::LVT_THERMAL..=r::LVT_ERROR => {
                self.lvt[(msr - r::LVT_TIMER) as usize] = self.lvt_value(low & 0x1_f7ff);
            }
            r::INITIAL_COUNT => {
                if !self.is_deadline() {
                    self.initial = low;
                    self.started = now.ns;
                    self.due = (low != 0).then(|| now.ns.saturating_add(self.period()));
                }
            }
            r::DIVIDE if low & !0xb == 0 => {
                let count = self.count(now);
                self.divide = low;
                if self.due.is_some() {
                    self.due = Some(now.ns.saturating_add(self.ns(count)));
                }
            }
            MSR_TSC_DEADLINE => {
                if self.is_deadline() {
                    self.tsc_deadline = value;
                    self.due = (value != 0).then(|| {
                        let ticks = u128::from(value.saturating_sub(now.tsc));
                        let ns = ticks * 1_000_000_000 / u128::from(self.tsc_hz);
                        now.ns.saturating_add(ns.min(u128::from(u64::MAX)) as u64)
                    });
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn lvt_value(&self, value: u32) -> u32 {
        if self.svr & ENABLED == 0 {
            value | MASKED
        } else {
            value
        }
    }

    fn is_deadline(&self) -> bool {
        self.lvt[0] >> 17 & 3 == 2
    }

    fn is_periodic(&self) -> bool {
        self.lvt[0] >> 17 & 3 == 1
    }

    fn divisor(&self) -> u64 {
        // Bits 3, 1 and 0: 0 means 2, 6 means 128, 7 means 1.
        match (self.divide & 3) | (self.divide >> 1 & 4) {
            7 => 1,
            n => 2 << n,
        }
    }

    /// The time of `count` ticks in ns, rounded up.
    fn ns(&self, count: u32) -> u64 {
        let ticks = u128::from(count) * u128::from(self.divisor()) * 1_000_000_000;
        ticks.div_ceil(u128::from(self.hz)) as u64
    }

    fn period(&self) -> u64 {
        self.ns(self.initial).max(1)
    }

    fn count(&self, now: Now) -> u32 {
        let Some(due) = self.due else { return 0 };
        if self.is_deadline() {
            return 0;
        }
        let left = u128::from(due.saturating_sub(now.ns));
        let ticks = left * u128::from(self.hz) / (1_000_000_000 * u128::from(self.divisor()));
        ticks.min(u128::from(self.initial)) as u32
    }

    /// When the timer fires next, in ns of the clock; `None`: it is off.
    pub fn deadline(&self) -> Option<u64> {
        self.due
    }

    /// Lets time pass: fires the timer if it is due.
    pub fn advance(&mut self, now_ns: u64) {
        let Some(due) = self.due else { return };
        if now_ns < due {
            return;
        }
        if self.is_periodic() && self.initial != 0 {
            let missed = (now_ns - due) / self.period();
            self.due = Some(due + (missed + 1) * self.period());
        } else {
            self.due = None;
            self.tsc_deadline = 0;
        }
        if self.lvt[0] & MASKED == 0 {
            self.raise(self.lvt[0] as u8);
        }
    }

    /// An interrupt arrives, edge triggered.
    pub fn raise(&mut self, vector: u8) {
        self.accept(vector, false);
    }

    /// An interrupt arrives, level triggered: its end is to be told to the I/O APIC
    /// ([`Apic::take_ended`]).
    pub fn raise_level(&mut self, vector: u8) {
        self.accept(vector, true);
    }

    fn accept(&mut self, vector: u8, level: bool) {
        if vector < 16 {
            self.esr |= 1 << 6;
        } else if self.svr & ENABLED != 0 {
            self.irr.set(vector, true);
            self.tmr.set(vector, level);
        }
    }

    /// The level-triggered interrupt whose end has been written to the EOI register, once.
    pub fn take_ended(&mut self) -> Option<u8> {
        self.ended.take()
    }

    fn send(&mut self, command: u64) {
        self.icr = command & !(1 << 12);
        let to = (command >> 32) as u32;
        let shorthand = command >> 18 & 3;
        let logical = command & (1 << 11) != 0;
        let me = match shorthand {
            0 if logical => to >> 16 == self.id >> 4 && to & 1 << (self.id & 15) != 0,
            0 => to == self.id || to == u32::MAX,
            1 | 2 => true,
            _ => false,
        };
        // Fixed and lowest-priority interrupts; the others start and stop processors.
        if me && command >> 8 & 7 <= 1 {
            self.raise(command as u8);
        }
        if shorthand >= 2 || (shorthand == 0 && (to != self.id || logical)) {
            self.sent.push(Ipi { command });
        }
    }

    /// IPIs that other processors are to receive, since last asked.
    pub fn take_sent(&mut self) -> Vec<Ipi> {
        std::mem::take(&mut self.sent)
    }

    fn eoi(&mut self) {
        if let Some(vector) = self.isr.highest() {
            self.isr.set(vector, false);
            if self.tmr.get(vector) {
                self.ended = Some(vector);
            }
        }
    }

    /// The processor priority: the higher of TPR and what is in service.
    fn ppr(&self) -> u8 {
        let serving = self.isr.highest().unwrap_or(0);
        if self.tpr >> 4 >= serving >> 4 {
            self.tpr
        } else {
            serving & 0xf0
        }
    }

    /// CR8.
    pub fn cr8(&self) -> u64 {
        u64::from(self.tpr >> 4)
    }

    /// Sets CR8, 0 to 15.
    pub fn set_cr8(&mut self, value: u64) {
        self.tpr = (value as u8) << 4;
    }

    /// The vector that would interrupt the processor now.
    pub fn pending(&self) -> Option<u8> {
        if self.svr & ENABLED == 0 {
            return None;
        }
        self.irr.highest().filter(|v| v >> 4 > self.ppr() >> 4)
    }

    /// Takes the pending vector into service.
    pub fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.pending()?;
        self.irr.set(vector, false);
        self.isr.set(vector, true);
        Some(vector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Now {
        Now { ns, tsc: ns * 2 }
    }

    fn apic() -> Apic {
        let mut a = Apic::new(0, 1_000_000_000, 2_000_000_000);
        a.write(0x80f, 0x1ff, at(0)).unwrap();
        a.write(0x83e, 0xb, at(0)).unwrap();
        a
    }

    #[test]
    fn one_shot_timer_fires_once() {
        let mut a = apic();
        a.write(0x832, 0x40, at(0)).unwrap();
        a.write(0x838, 1000, at(50)).unwrap();
        assert_eq!(a.read(0x839, at(450)), Some(600));
        assert_eq!(a.deadline(), Some(1050));
        a.advance(1049);
        assert_eq!(a.pending(), None);
        a.advance(1050);
        assert_eq!(a.acknowledge(), Some(0x40));
        a.advance(9000);
        assert_eq!((a.pending(), a.deadline()), (None, None));
    }

    #[test]
    fn periodic_timer_keeps_its_phase() {
        let mut a = apic();
        a.write(0x832, 0x2_0040, at(0)).unwrap();
        a.write(0x838, 100, at(0)).unwrap();
        a.advance(350);
        assert_eq!((a.acknowledge(), a.deadline()), (Some(0x40), Some(400)));
    }

    #[test]
    fn deadline_timer_goes_by_the_tsc() {
        let mut a = apic();
        a.write(0x832, 0x4_0041, at(0)).unwrap();
        a.write(0x6e0, 3000, at(500)).unwrap();
        assert_eq!(a.deadline(), Some(1500));
        a.advance(1500);
        assert_eq!(
            (a.acknowledge(), a.read(0x6e0, at(1500))),
            (Some(0x41), Some(0))
        );
    }

    #[test]
    fn end_of_a_level_triggered_interrupt_is_told_once() {
        let mut apic = apic();
        apic.raise(0x40);
        apic.raise_level(0x50);
        let now = Now { ns: 0, tsc: 0 };
        assert_eq!((apic.acknowledge(), apic.take_ended()), (Some(0x50), None));
        apic.write(register::EOI, 0, now).unwrap();
        assert_eq!((apic.take_ended(), apic.take_ended()), (Some(0x50), None));
        assert_eq!(apic.acknowledge(), Some(0x40));
        apic.write(register::EOI, 0, now).unwrap();
        assert_eq!(apic.take_ended(), None);
    }

    #[test]
    fn priorities_nest_and_eoi_ends_the_highest() {
        let mut a = apic();
        a.raise(0x31);
        assert_eq!(a.acknowledge(), Some(0x31));
        a.raise(0x35);
        a.raise(0x42);
        assert_eq!(a.acknowledge(), Some(0x42));
        assert_eq!(a.pending(), None);
        a.write(0x80b, 0, at(0)).unwrap();
        assert_eq!(a.pending(), None, "0x35 waits for 0x31 of the same class");
        a.write(0x80b, 0, at(0)).unwrap();
        assert_eq!(a.pending(), Some(0x35));
        a.set_cr8(3);
        assert_eq!(a.pending(), None);
        assert_eq!(a.read(0x808, at(0)), Some(0x30));
    }

    #[test]
    fn masked_disabled_or_reserved_give_nothing() {
        let mut a = apic();
        a.write(0x832, 0x1_0040, at(0)).unwrap();
        a.write(0x838, 10, at(0)).unwrap();
        a.advance(100);
        assert_eq!(a.pending(), None);
        a.raise(3);
        assert_eq!((a.pending(), a.read(0x828, at(0))), (None, Some(0x40)));
        assert_eq!(a.write(0x80b, 1, at(0)), None);
        assert_eq!(a.write(0x802, 1, at(0)), None);
        assert_eq!(a.read(0x83f, at(0)), None);
        a.write(0x80f, 0xff, at(0)).unwrap();
        a.raise(0x50);
        assert_eq!(a.pending(), None);
    }

    #[test]
    fn ipis_to_self_arrive_and_others_are_handed_on() {
        let mut a = apic();
        a.write(0x83f, 0x55, at(0)).unwrap();
        assert_eq!(a.acknowledge(), Some(0x55));
        a.write(0x830, 0x4_0066, at(0)).unwrap();
        assert_eq!(a.acknowledge(), Some(0x66));
        a.write(0x830, 1 << 32 | 0x77, at(0)).unwrap();
        assert_eq!(
            a.take_sent(),
            [Ipi {
                command: 1 << 32 | 0x77
            }]
        );
        assert_eq!(a.pending(), None);
    }
}
