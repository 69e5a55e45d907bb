//! Programs that do what no program may.

use std::arch::asm;
use std::process::ExitCode;

/// Addresses of all kinds that no program owns.
const ADDRESSES: [u64; 9] = [
    0,
    0x1000,
    0x0000_7fff_ffff_f000,
    0x0000_8000_0000_0000,
    0xffff_8000_0000_0000,
    0xffff_8880_0000_0000,
    0xffff_8880_0020_0000,
    0xffff_ffff_8020_0000,
    0xffff_ffff_ffff_f000,
];

/// Do it.
pub fn run(what: &str, args: &[&str]) -> ExitCode {
    // Rust's own handler would go on where the signal came, to find out whether it comes again.
    // SAFETY: the default actions need nothing of this program.
    unsafe {
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
    }
    match (what, args) {
        ("jump", [address]) => jump(number(address)),
        ("read", [address]) => read(number(address)),
        ("write", [address]) => write(number(address)),
        ("stack", []) => {
            println!("{}", overflow(0));
        }
        ("instruction", [name]) => instruction(name),
        ("write-code", []) => write(run as *const () as u64),
        ("run-data", []) => {
            static CODE: [u8; 2] = [0xc3, 0xc3];
            let copy = Box::new(CODE);
            jump(std::hint::black_box(copy).as_ptr() as u64);
        }
        ("sigreturn", [kind]) => sigreturn(kind),
        ("pointers", []) => return pointers(),
        ("divide", []) => divide(),
        _ => return ExitCode::from(2),
    }
    println!("survived");
    ExitCode::SUCCESS
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a hexadecimal number")
}

fn jump(address: u64) {
    // SAFETY: none: this is to be killed.
    unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) };
}

fn read(address: u64) {
    // SAFETY: none: this is to be killed.
    unsafe { asm!("mov {}, [{}]", out(reg) _, in(reg) address) };
}

fn write(address: u64) {
    // SAFETY: none: this is to be killed.
    unsafe { asm!("mov byte ptr [{}], 0", in(reg) address) };
}

#[inline(never)]
fn overflow(depth: u64) -> u64 {
    let array = std::hint::black_box([depth; 512]);
    if std::hint::black_box(false) {
        return depth;
    }
    // Not a tail call.
    overflow(array[(depth % 512) as usize] + 1) + array[0]
}

fn divide() {
    // SAFETY: none: this is to be killed.
    unsafe {
        asm!("xor edx, edx", "xor ecx, ecx", "mov eax, 1", "div ecx", out("eax") _, out("ecx") _, out("edx") _);
    };
}

/// Instructions that are the kernel's alone, or nobody's.
fn instruction(name: &str) {
    // SAFETY: none: this is to be killed.
    unsafe {
        match name {
            "hlt" => asm!("hlt"),
            "cli" => asm!("cli"),
            "in" => asm!("in al, 0x80", out("al") _),
            "out" => asm!("out 0x80, al", in("al") 0u8),
            "mov-cr3" => asm!("mov cr3, {}", in(reg) 0u64),
            "wrmsr" => asm!("wrmsr", in("ecx") 0xc000_0082u32, in("eax") 0, in("edx") 0),
            "lgdt" => asm!("lgdt [{}]", in(reg) &[0u8; 10]),
            "lidt" => asm!("lidt [{}]", in(reg) &[0u8; 10]),
            "ltr" => asm!("ltr {0:x}", in(reg) 0x28),
            "swapgs" => asm!("swapgs"),
            "sysret" => asm!("sysretq", in("rcx") 0),
            "iret" => asm!("push 0", "push 0", "push 0", "push 0", "push 0", "iretq"),
            "invlpg" => asm!("invlpg [{}]", in(reg) 0u64),
            "clts" => asm!("clts"),
            "ud2" => asm!("ud2"),
            "mov-ss" => asm!("mov ss, {0:x}", in(reg) 0x10),
            _ => panic!("unknown instruction {name}"),
        }
    }
}

/// Return from a signal that never came, with a frame of lies.
fn sigreturn(kind: &str) {
    /// Words of Linux's `struct rt_sigframe` from its `uc_flags` on (`arch/x86/include/asm/
    /// sigframe.h`): flags, link, the alternative stack (3), then `struct sigcontext`.
    const CONTEXT: usize = 5;
    const RIP: usize = CONTEXT + 16;
    const RSP: usize = CONTEXT + 15;
    const FLAGS: usize = CONTEXT + 17;
    const SELECTORS: usize = CONTEXT + 18;
    const FPSTATE: usize = CONTEXT + 23;
    extern "C" fn landed() -> ! {
        println!("survived");
        std::process::exit(0);
    }
    let mut stack = vec![0u64; 4096];
    let top = stack.as_ptr() as u64 + 16384;
    let mut area = vec![0u64; 128];
    let mut frame = vec![0u64; 200];
    frame[RIP] = landed as *const () as u64;
    frame[RSP] = (top & !0xf) | 8;
    frame[FLAGS] = 0x202;
    frame[SELECTORS] = 0x002b_0000_0000_0033;
    match kind {
        "zero" => frame.fill(0),
        "ones" => frame.fill(!0),
        "kernel-rip" => frame[RIP] = 0xffff_ffff_8020_0000,
        "wild-rip" => frame[RIP] = 0x8000_0000_0000_0000,
        "selectors" => frame[SELECTORS] = 0x0010_0000_0000_0008,
        "null-selectors" => frame[SELECTORS] = 0,
        "flags" => frame[FLAGS] = !0,
        "mxcsr" => {
            // FXSAVE image: MXCSR at byte 24.
            area[3] = 0xffff_ffff;
            frame[FPSTATE] = (area.as_ptr() as u64 + 15) & !0xf;
        }
        "fpstate" => frame[FPSTATE] = 0xffff_8880_0000_0000,
        _ => panic!("unknown lie {kind}"),
    }
    stack[0] = 0;
    // SAFETY: none: the kernel finds garbage where it looks for a signal frame.
    unsafe {
        asm!("mov rsp, {}", "mov eax, 15", "syscall", "ud2", in(reg) frame.as_ptr(), options(noreturn));
    }
}

/// System calls that read and write memory at addresses that are not this program's: each must
/// fail with EFAULT, and no byte may move.
fn pointers() -> ExitCode {
    let mut failed = 0;
    let mut file = [0; 2];
    // SAFETY: the array has room for two descriptors.
    unsafe { libc::pipe(file.as_mut_ptr()) };
    // SAFETY: plain system calls.
    let (zero, null) = unsafe {
        let open = |path: &std::ffi::CStr| libc::open(path.as_ptr(), libc::O_RDWR);
        (open(c"/dev/zero") as u64, open(c"/dev/null") as u64)
    };
    let pipe = file[1] as u64;
    for address in ADDRESSES {
        let calls: [(&str, i64, [u64; 4]); 16] = [
            ("read", libc::SYS_read, [zero, address, 8, 0]),
            ("write", libc::SYS_write, [pipe, address, 8, 0]),
            ("open", libc::SYS_open, [address, 0, 0, 0]),
            (
                "stat",
                libc::SYS_stat,
                [c"/".as_ptr() as u64, address, 0, 0],
            ),
            ("stat-path", libc::SYS_stat, [address, 0, 0, 0]),
            ("pipe", libc::SYS_pipe, [address, 0, 0, 0]),
            ("getcwd", libc::SYS_getcwd, [address, 4096, 0, 0]),
            ("uname", libc::SYS_uname, [address, 0, 0, 0]),
            ("execve", libc::SYS_execve, [address, 0, 0, 0]),
            ("readv", libc::SYS_readv, [zero, address, 1, 0]),
            ("writev", libc::SYS_writev, [null, address, 1, 0]),
            ("clock", libc::SYS_clock_gettime, [0, address, 0, 0]),
            ("sleep", libc::SYS_nanosleep, [address, 0, 0, 0]),
            ("sigaction", libc::SYS_rt_sigaction, [10, address, 0, 8]),
            ("poll", libc::SYS_poll, [address, 1, 0, 0]),
            ("random", libc::SYS_getrandom, [address, 16, 0, 0]),
        ];
        for (name, number, args) in calls {
            // A null pointer means "none" to these.
            if address == 0 && matches!(name, "sigaction") {
                continue;
            }
            // SAFETY: none: the kernel must see that the pointers are not this program's.
            let result = unsafe { libc::syscall(number, args[0], args[1], args[2], args[3]) };
            let error = std::io::Error::last_os_error().raw_os_error();
            if result != -1 || error != Some(libc::EFAULT) {
                println!("{name} at {address:#x}: {result}, {error:?}");
                failed += 1;
            }
        }
    }
    println!("{failed} wrong");
    ExitCode::from(u8::from(failed != 0))
}
