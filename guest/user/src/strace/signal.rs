//! Signals: names, sets, `siginfo_t`.

/// Names of the signals from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

fn short(signo: u32) -> String {
    match signo {
        1..=31 => NAMES[signo as usize - 1].into(),
        32 => "RTMIN".into(),
        33..=64 => format!("RT_{}", signo - 32),
        _ => signo.to_string(),
    }
}

/// `SIGINT`
pub fn name(signo: u32) -> String {
    match signo {
        1..=64 => format!("SIG{}", short(signo)),
        _ => signo.to_string(),
    }
}

/// `[INT CHLD]`; a set with most signals in it is shown by what it lacks: `~[KILL STOP]`.
pub fn set(set: u64) -> String {
    let (mark, shown) = if set.count_ones() > 32 {
        ("~", !set)
    } else {
        ("", set)
    };
    let names: Vec<String> = (1..=64)
        .filter(|signo| shown >> (signo - 1) & 1 != 0)
        .map(short)
        .collect();
    format!("{mark}[{}]", names.join(" "))
}

fn code_name(signo: u32, code: i32) -> String {
    let name = match (signo, code) {
        (_, 0) => "SI_USER",
        (_, 0x80) => "SI_KERNEL",
        (_, -1) => "SI_QUEUE",
        (_, -2) => "SI_TIMER",
        (_, -3) => "SI_MESGQ",
        (_, -4) => "SI_ASYNCIO",
        (_, -5) => "SI_SIGIO",
        (_, -6) => "SI_TKILL",
        (17, 1) => "CLD_EXITED",
        (17, 2) => "CLD_KILLED",
        (17, 3) => "CLD_DUMPED",
        (17, 4) => "CLD_TRAPPED",
        (17, 5) => "CLD_STOPPED",
        (17, 6) => "CLD_CONTINUED",
        (11, 1) => "SEGV_MAPERR",
        (11, 2) => "SEGV_ACCERR",
        (7, 1) => "BUS_ADRALN",
        (7, 2) => "BUS_ADRERR",
        (8, 1) => "FPE_INTDIV",
        (8, 3) => "FPE_FLTDIV",
        (4, 2) => "ILL_ILLOPN",
        (5, 1) => "TRAP_BRKPT",
        (5, 2) => "TRAP_TRACE",
        _ => return format!("{code:#x}"),
    };
    name.into()
}

/// `{si_signo=SIGCHLD, si_code=CLD_EXITED, …}`
pub fn info(bytes: &[u8; 128]) -> String {
    let word =
        |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| word(at) as u32 as u64 | (word(at + 4) as u32 as u64) << 32;
    let (signo, errno, code) = (word(0) as u32, word(4), word(8));
    let mut text = format!("{{si_signo={}, ", name(signo));
    if errno != 0 {
        text += &format!("si_errno={errno}, ");
    }
    text += &format!("si_code={}", code_name(signo, code));
    let sender = || format!(", si_pid={}, si_uid={}", word(16), word(20));
    match (signo, code) {
        (17, 1..=6) => {
            let status = match code {
                1 => word(24).to_string(),
                _ => name(word(24) as u32),
            };
            text += &format!(
                "{}, si_status={status}, si_utime={}, si_stime={}",
                sender(),
                long(32),
                long(40)
            );
        }
        (4 | 5 | 7 | 8 | 11, 1..0x80) => match long(16) {
            0 => text += ", si_addr=NULL",
            addr => text += &format!(", si_addr={addr:#x}"),
        },
        (_, 0 | -6) => text += &sender(),
        (_, -2) => {
            text += &format!(
                ", si_timerid={:#x}, si_overrun={}, si_int={}, si_ptr={:#x}",
                word(16),
                word(20),
                word(24),
                long(24)
            );
        }
        (_, -1 | -3) => {
            text += &format!("{}, si_int={}, si_ptr={:#x}", sender(), word(24), long(24));
        }
        _ => {}
    }
    text + "}"
}
