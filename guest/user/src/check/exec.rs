//! Executing programs: what a new program gets and keeps, scripts, errors.

use crate::frame::child::{Exit, fork, isolated};
use crate::frame::descriptor::Fd;
use crate::frame::program::{
    SELF, become_role, execute, execution_error, output_of, output_of_role,
};
use crate::frame::report::exit;
use crate::frame::scratch::Scratch;
use crate::frame::signals::{block, dispose, raise, record, set};
use libc::*;
use std::ffi::CStr;

tests!(
    personality_turns_random_layouts_off,
    program_gets_its_arguments,
    program_gets_its_environment,
    program_gets_an_auxiliary_vector,
    random_bytes_differ_between_runs,
    stack_is_placed_at_random,
    exec_keeps_the_process_number,
    exec_closes_descriptors_marked_so,
    exec_resets_handlers_and_keeps_ignored_signals,
    exec_keeps_mask_and_pending_signals,
    exec_ends_the_other_threads,
    exec_names_the_process_after_the_file,
    exec_of_a_name_that_does_not_exist_is_enoent,
    exec_of_a_directory_or_plain_file_is_eacces,
    exec_through_a_file_is_enotdir,
    exec_of_bad_pointers_is_efault,
    exec_of_too_many_arguments_is_e2big,
    exec_of_one_argument_too_long_is_e2big,
    failed_exec_leaves_everything_as_it_was,
    script_is_run_by_its_interpreter,
    script_passes_one_argument_to_its_interpreter,
    script_with_a_missing_interpreter_is_enoent,
    scripts_that_call_each_other_are_eloop,
    text_file_without_interpreter_is_enoexec,
    empty_file_is_enoexec,
    set_user_id_program_runs_as_its_owner,
    execveat_runs_an_open_file,
    program_open_for_writing_cannot_be_run,
    running_program_cannot_be_written,
);

fn program_gets_its_arguments() {
    let text = output_of_role("arguments", &["one", "", "three words here"], &[]);
    assert_eq!(text, "one\n\nthree words here\n");
}

fn program_gets_its_environment() {
    let text = output_of_role("environment", &[], &["A=1", "LONG=a=b c"]);
    assert_eq!(text, "A=1\nLONG=a=b c\n");
}

fn auxiliary(kind: u64) -> u64 {
    let text = output_of_role("auxiliary", &[], &[]);
    let prefix = format!("{kind} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
    value.expect("the entry exists").parse().unwrap()
}

fn program_gets_an_auxiliary_vector() {
    assert_eq!(auxiliary(AT_PAGESZ), 4096);
    assert_eq!(auxiliary(AT_CLKTCK), 100);
    assert_eq!(auxiliary(AT_EUID), ok!(SYS_geteuid) as u64);
    assert_eq!(auxiliary(AT_SECURE), 0);
    assert_ne!(auxiliary(AT_PHNUM), 0);
    assert_ne!(auxiliary(AT_ENTRY), 0);
}

fn random_bytes_differ_between_runs() {
    assert_ne!(auxiliary(AT_RANDOM), auxiliary(AT_RANDOM));
}

fn stack_is_placed_at_random() {
    let places: Vec<String> = (0..4).map(|_| output_of_role("stack", &[], &[])).collect();
    assert!(
        places.iter().any(|place| *place != places[0]),
        "always at {}",
        places[0]
    );
}

fn exec_keeps_the_process_number() {
    let (text, _) = output_of(|| {
        print_line(ok!(SYS_getpid));
        become_role("pid", &[], &[]);
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], lines[1]);
}

fn print_line(number: usize) {
    let line = format!("{number}\n");
    assert_eq!(ok!(SYS_write, 1, line.as_str(), line.len()), line.len());
}

fn exec_closes_descriptors_marked_so() {
    let (text, _) = output_of(|| {
        ok!(SYS_dup3, 1, 40, O_CLOEXEC);
        ok!(SYS_dup2, 1, 41);
        become_role("descriptors", &["1", "40", "41"], &[]);
    });
    assert_eq!(text, "[1, 41]\n");
}

fn exec_resets_handlers_and_keeps_ignored_signals() {
    let (text, _) = output_of(|| {
        record(SIGUSR1, 0);
        become_role("signals", &[], &[]);
    });
    assert!(text.ends_with("default\n"), "{text}");
    let (text, _) = output_of(|| {
        dispose(SIGUSR1, SIG_IGN);
        become_role("signals", &[], &[]);
    });
    assert!(text.ends_with("ignored\n"), "{text}");
}

fn exec_keeps_mask_and_pending_signals() {
    let (text, _) = output_of(|| {
        block(&[SIGUSR1, SIGUSR2]);
        raise(SIGUSR2);
        become_role("signals", &[], &[]);
    });
    let mask = set(&[SIGUSR1, SIGUSR2]);
    assert_eq!(text, format!("{mask:x} {:x} default\n", set(&[SIGUSR2])));
}

fn exec_ends_the_other_threads() {
    let (text, end) = output_of(|| {
        for _ in 0..3 {
            crate::frame::thread::spawn(|| {
                loop {
                    let _ = call!(SYS_pause);
                }
            });
        }
        // Not the first thread: it takes over the process's number all the same.
        let thread = crate::frame::thread::spawn(|| become_role("threads", &[], &[]));
        loop {
            let _ = (call!(SYS_pause), thread.tid());
        }
    });
    assert_eq!((text.as_str(), end), ("1\n", Exit::Code(0)));
}

fn exec_names_the_process_after_the_file() {
    let scratch = Scratch::new();
    ok!(
        SYS_symlink,
        SELF,
        scratch.c("a-very-long-program-name").as_c_str()
    );
    let path = scratch.file("script-with-a-long-name", "#!/bin/cat /proc/self/comm\n");
    ok!(SYS_chmod, path.as_c_str(), 0o755);
    let (text, _) = output_of(|| drop(execute(&path, &["x"], &[])));
    assert!(text.starts_with("script-with-a-l\n"), "{text}");
}

fn exec_of_a_name_that_does_not_exist_is_enoent() {
    assert_eq!(execution_error(c"/does/not/exist"), ENOENT);
    assert_eq!(execution_error(c""), ENOENT);
}

fn exec_of_a_directory_or_plain_file_is_eacces() {
    let scratch = Scratch::new();
    assert_eq!(execution_error(c"/"), EACCES);
    assert_eq!(
        execution_error(&scratch.file("plain", "#!/bin/sh\n")),
        EACCES
    );
}

fn exec_through_a_file_is_enotdir() {
    assert_eq!(execution_error(c"/etc/passwd/x"), ENOTDIR);
}

fn exec_of_bad_pointers_is_efault() {
    let argv = [c"x".as_ptr() as usize, 0];
    fails!(EFAULT, SYS_execve, 8usize, &argv, 0);
    fails!(EFAULT, SYS_execve, SELF, 8usize, 0);
    fails!(EFAULT, SYS_execve, SELF, &[8usize, 0], 0);
    fails!(EFAULT, SYS_execve, SELF, &argv, 1usize << 63);
}

fn exec_of_too_many_arguments_is_e2big() {
    let argument = "x".repeat(100_000);
    let arguments = vec![argument.as_str(); 80];
    assert_eq!(execute(SELF, &arguments, &[]).0, E2BIG);
}

fn exec_of_one_argument_too_long_is_e2big() {
    let argument = "x".repeat(128 << 10);
    assert_eq!(execute(SELF, &["x", &argument], &[]).0, E2BIG);
    let fits = "x".repeat((128 << 10) - 1);
    assert_eq!(output_of_role("arguments", &[&fits], &[]).len(), 128 << 10);
}

fn failed_exec_leaves_everything_as_it_was() {
    isolated(|| {
        record(SIGUSR1, 0);
        let fd = Fd::open(c"/", O_RDONLY | O_CLOEXEC);
        execute(c"/etc/passwd", &["x"], &[]);
        ok!(SYS_fcntl, fd.0, F_GETFD);
        raise(SIGUSR1);
        assert_eq!(crate::frame::signals::caught_signals(), [SIGUSR1]);
    });
}

/// An executable file.
fn executable(scratch: &Scratch, contents: impl AsRef<[u8]>) -> std::ffi::CString {
    let path = scratch.file("program", contents);
    ok!(SYS_chmod, path.as_c_str(), 0o755);
    path
}

fn output_of_file(path: &CStr) -> (String, Exit) {
    output_of(|| drop(execute(path, &["name", "argument"], &["PATH=/bin"])))
}

fn script_is_run_by_its_interpreter() {
    let scratch = Scratch::new();
    let path = executable(&scratch, "#! /bin/sh\necho \"$0 $1\"; exit 7\n");
    let (text, end) = output_of_file(&path);
    assert_eq!(text, format!("{} argument\n", path.to_str().unwrap()));
    assert_eq!(end, Exit::Code(7));
}

fn script_passes_one_argument_to_its_interpreter() {
    let scratch = Scratch::new();
    let path = executable(&scratch, "#!/bin/echo  one two \n");
    let (text, _) = output_of_file(&path);
    assert_eq!(
        text,
        format!("one two {} argument\n", path.to_str().unwrap())
    );
}

fn script_with_a_missing_interpreter_is_enoent() {
    let scratch = Scratch::new();
    assert_eq!(
        execution_error(&executable(&scratch, "#!/no/interpreter\n")),
        ENOENT
    );
}

fn scripts_that_call_each_other_are_eloop() {
    let scratch = Scratch::new();
    let itself = format!("#!{}\n", scratch.path().join("program").display());
    assert_eq!(execution_error(&executable(&scratch, itself)), ELOOP);
}

fn text_file_without_interpreter_is_enoexec() {
    let scratch = Scratch::new();
    assert_eq!(
        execution_error(&executable(&scratch, "echo hello\n")),
        ENOEXEC
    );
    assert_eq!(execution_error(&executable(&scratch, "#!\n")), ENOEXEC);
}

fn empty_file_is_enoexec() {
    let scratch = Scratch::new();
    assert_eq!(execution_error(&executable(&scratch, "")), ENOEXEC);
}

fn set_user_id_program_runs_as_its_owner() {
    crate::frame::report::need_root();
    let scratch = Scratch::new();
    let copy = scratch.file("program", std::fs::read("/proc/self/exe").unwrap());
    ok!(SYS_chown, copy.as_c_str(), 1234, 1234);
    ok!(SYS_chmod, copy.as_c_str(), 0o4755);
    ok!(SYS_chmod, scratch.c(".").as_c_str(), 0o755);
    let (text, _) = output_of(|| {
        ok!(SYS_setresuid, 65534, 65534, 65534);
        execute(&copy, &["x", "--as", "auxiliary"], &[]);
    });
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        format!("{AT_UID} 65534"),
        format!("{AT_EUID} 1234"),
        format!("{AT_SECURE} 1"),
    ];
    for line in expected {
        assert!(lines.contains(&line.as_str()), "{line} is not in {lines:?}");
    }
}

fn execveat_runs_an_open_file() {
    let program = Fd::open(SELF, O_RDONLY);
    let argv = [c"x".as_ptr() as usize, c"--list".as_ptr() as usize, 0];
    let (text, end) = output_of(|| {
        let error = call!(SYS_execveat, program.0, c"", &argv, 0, AT_EMPTY_PATH);
        exit(error.map_or_else(|error| error.0, |_| 0))
    });
    assert_eq!(end, Exit::Code(0));
    assert!(text.contains("exec::execveat_runs_an_open_file\n"));
}

fn program_open_for_writing_cannot_be_run() {
    let scratch = Scratch::new();
    let program = executable(&scratch, std::fs::read("/proc/self/exe").unwrap());
    let writer = Fd::open(&program, O_WRONLY);
    assert_eq!(execution_error(&program), ETXTBSY);
    let script = scratch.file("script", format!("#!{}\n", program.to_str().unwrap()));
    ok!(SYS_chmod, script.as_c_str(), 0o755);
    assert_eq!(execution_error(&script), ETXTBSY);
    // A copy of the descriptor writes, too; readers do not matter.
    let copy = Fd::new(ok!(SYS_dup, writer.0));
    drop(writer);
    assert_eq!(execution_error(&program), ETXTBSY);
    drop(copy);
    let _reader = Fd::open(&program, O_RDONLY);
    let child = fork(|| drop(execute(&program, &["x", "--as", "arguments"], &[])));
    assert_eq!(child.wait(), Exit::Code(0));
}

fn running_program_cannot_be_written() {
    let scratch = Scratch::new();
    let copy = executable(&scratch, std::fs::read("/proc/self/exe").unwrap());
    let (reader, writer) = crate::frame::descriptor::pipe(O_CLOEXEC);
    let (full, blocked) = crate::frame::descriptor::pipe(O_CLOEXEC);
    // It lists into a pipe that nobody reads, and so is there until it is killed.
    let child = fork(|| {
        blocked.set_flags(O_NONBLOCK);
        while blocked.write([0; 4096]).is_ok() {}
        blocked.set_flags(0);
        ok!(SYS_dup2, blocked.0, 1);
        execute(&copy, &["x", "--list"], &[]);
    });
    drop(writer);
    // Exec has closed the other copy.
    assert!(reader.read_to_end().is_empty());
    fails!(ETXTBSY, SYS_open, copy.as_c_str(), O_WRONLY, 0);
    drop(child);
    drop(full);
    Fd::open(&copy, O_WRONLY);
}

fn personality_turns_random_layouts_off() {
    const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;
    isolated(|| {
        let before = ok!(SYS_personality, u32::MAX);
        assert_eq!(ok!(SYS_personality, ADDR_NO_RANDOMIZE), before);
        assert_eq!(ok!(SYS_personality, u32::MAX), ADDR_NO_RANDOMIZE as usize);
        let stack = || crate::frame::program::output_of_role("stack", &[], &[]);
        assert_eq!(stack(), stack());
    });
}
