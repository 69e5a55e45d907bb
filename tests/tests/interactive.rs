//! gnomon in a terminal, as somebody would use it.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use gnomon_tests::gnomon::{Gnomon, patience};
use gnomon_tests::mode::Mode;
use gnomon_tests::scratch::Scratch;
use gnomon_tests::terminal::Terminal;
use gnomon_tests::{busybox, in_every_mode};

/// The prompt on a line with nothing else, as both shells show it: a control sequence follows.
const PROMPT: &str = "# \x1b[";

in_every_mode!(
    typed_command_is_run,
    line_is_edited_before_it_is_run,
    end_of_file_key_ends_the_machine,
    interrupt_key_ends_the_foreground_program_alone,
    quit_key_ends_the_foreground_program,
    suspended_program_is_continued,
    background_program_may_not_read,
    pipeline_is_one_job,
    escape_x_quits_and_terminal_is_restored,
    size_is_the_terminals_and_follows_it,
    vi_edits_a_file,
    busybox_shell_has_job_control,
    end_of_the_shell_restores_the_terminal,
);

/// A guest's shell in a terminal.
struct Session {
    terminal: Terminal,
    stderr: PathBuf,
    _files: Scratch,
}

impl Session {
    /// A shell that has shown its first prompt.
    fn new(mode: Mode) -> Self {
        Self::of(Gnomon::new(mode))
    }

    fn of(gnomon: Gnomon) -> Self {
        let files = Scratch::new().unwrap();
        let stderr = files.path("stderr");
        let terminal = gnomon.terminal(&stderr);
        let mut session = Self {
            terminal,
            stderr,
            _files: files,
        };
        session.expect(PROMPT);
        session
    }

    /// Wait for `text`; what came before it.
    #[track_caller]
    fn expect(&mut self, text: &str) -> String {
        let time = patience(Duration::from_secs(60));
        match self.terminal.expect(text, time) {
            Ok(before) => before,
            Err(error) => {
                let said = fs::read_to_string(&self.stderr).unwrap_or_default();
                panic!("{error}\n--- stderr\n{said}");
            }
        }
    }

    fn send(&mut self, keys: &str) {
        self.terminal.send(keys).unwrap();
    }

    /// Type `line`, and wait for `text` on a line of its own.
    #[track_caller]
    fn command(&mut self, line: &str, text: &str) {
        self.send(&format!("{line}\r"));
        self.expect(&format!("\n{text}\r\n"));
        self.expect(PROMPT);
    }

    /// Run `script` in the foreground, in a shell of its own: what is typed when this returns is
    /// for it alone.
    #[track_caller]
    fn start(&mut self, script: &str) {
        self.send(&format!("sh -c \"echo begin''ning; {script}\"\r"));
        self.expect("beginning\r\n");
    }

    /// gnomon's status.
    #[track_caller]
    fn end(&mut self) -> Option<i32> {
        let time = patience(Duration::from_secs(60));
        self.terminal.wait(time).unwrap().code()
    }
}

fn typed_command_is_run(mode: Mode) {
    let mut session = Session::new(mode);
    session.command("echo $((6 * 7))", "42");
    session.command("[ -t 0 ] && [ -t 1 ] && echo ter''minal", "terminal");
}

fn line_is_edited_before_it_is_run(mode: Mode) {
    let mut session = Session::new(mode);
    session.command("echo hellx\x7fo", "hello");
    session.send("echo thrown away\x15");
    session.command("echo ke''pt", "kept");
}

fn end_of_file_key_ends_the_machine(mode: Mode) {
    let mut session = Session::new(mode);
    session.command("(exit 5); echo $?", "5");
    session.send("(exit 5)\r");
    session.expect(PROMPT);
    session.send("\x04");
    assert_eq!(session.end(), Some(5));
}

fn interrupt_key_ends_the_foreground_program_alone(mode: Mode) {
    let mut session = Session::new(mode);
    session.start("exec sleep 1000");
    session.send("\x03");
    session.expect(PROMPT);
    session.command("echo $?", "130");
}

fn quit_key_ends_the_foreground_program(mode: Mode) {
    let mut session = Session::new(mode);
    session.start("exec sleep 1000");
    session.send("\x1c");
    session.expect(PROMPT);
    session.command("echo $?", "131");
}

fn suspended_program_is_continued(mode: Mode) {
    let mut session = Session::new(mode);
    session.start("exec cat");
    session.send("through\r");
    session.expect("\nthrough\r\n");
    session.send("\x1a");
    session.expect("Stopped");
    session.expect(PROMPT);
    session.send("fg\r");
    // A line feed: a carriage return might come before the terminal is the program's again.
    session.expect("exec cat");
    session.send("again\n");
    session.expect("\nagain\r\n");
    session.send("\x04");
    session.expect(PROMPT);
    session.command("echo $?", "0");
}

fn background_program_may_not_read(mode: Mode) {
    let mut session = Session::new(mode);
    session.send("cat &\r");
    session.expect(PROMPT);
    session.command("sleep 0.2; echo sle''pt", "slept");
    session.send("jobs\r");
    session.expect("Stopped");
    session.expect(PROMPT);
    session.send("kill %1; fg\r");
    session.expect(PROMPT);
    session.command("echo o''ver", "over");
}

fn pipeline_is_one_job(mode: Mode) {
    let mut session = Session::new(mode);
    // The last program starts last.
    session.send("yes | (echo begin''ning >&2; exec cat >/dev/null)\r");
    session.expect("beginning\r\n");
    session.send("\x03");
    session.expect(PROMPT);
    session.command("echo $?", "130");
}

fn escape_x_quits_and_terminal_is_restored(mode: Mode) {
    let mut session = Session::new(mode);
    assert!(
        !is_cooked(&session.terminal),
        "not raw while the guest runs"
    );
    session.send("\x01x");
    assert_eq!(session.end(), Some(0));
    assert!(is_cooked(&session.terminal), "still raw");
}

fn end_of_the_shell_restores_the_terminal(mode: Mode) {
    let mut session = Session::new(mode);
    session.send("exit 3\r");
    assert_eq!(session.end(), Some(3));
    assert!(is_cooked(&session.terminal), "still raw");
}

fn size_is_the_terminals_and_follows_it(mode: Mode) {
    let mut session = Session::new(mode);
    session.command("stty size", "25 80");
    session.terminal.resize(132, 43).unwrap();
    // It comes by an interrupt, some time soon.
    session.send("until [ \"$(stty size)\" = '43 132' ]; do sleep 0.1; done; echo fo''llowed\r");
    session.expect("\nfollowed\r\n");
}

fn vi_edits_a_file(mode: Mode) {
    let gnomon = Gnomon::new(mode).file(&busybox::path(), "/bin/busybox");
    let mut session = Session::of(gnomon);
    session.command(
        "printf 'one\\ntwo\\nthree\\n' >/tmp/text; echo wri''tten",
        "written",
    );
    session.send("busybox vi /tmp/text\r");
    // Its status line shows the file.
    session.expect("three");
    session.expect("/tmp/text");
    // Delete the second line; a new last line; change a word of the first.
    session.send("jddGonew line\x1b");
    session.expect("new line");
    session.send("ggcwfirst\x1b");
    session.expect("first");
    session.send(":wq\r");
    session.expect(PROMPT);
    session.command("tr '\\n' , </tmp/text; echo", "first,three,new line,");
}

fn busybox_shell_has_job_control(mode: Mode) {
    let gnomon = Gnomon::new(mode)
        .file(&busybox::path(), "/bin/busybox")
        .program(["busybox", "ash", "-i"]);
    let mut session = Session::of(gnomon);
    session.start("exec sleep 1000");
    session.send("\x1a");
    session.expect("Stopped");
    session.expect(PROMPT);
    session.send("kill %1; fg; echo status $?\r");
    session.expect("status 143\r\n");
    session.expect(PROMPT);
    session.start("exec yes >/dev/null");
    session.send("\x03");
    session.expect(PROMPT);
    session.send("exit 6\r");
    assert_eq!(session.end(), Some(6));
}

/// Whether lines are edited and echoed, and keys are signals, as a shell expects to find it.
fn is_cooked(terminal: &Terminal) -> bool {
    // SAFETY: an all-zero `termios` is a valid value of that plain structure.
    let mut termios: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `termios` is one valid structure for the length of the call.
    let result = unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut termios) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let cooked = libc::ICANON | libc::ECHO | libc::ISIG;
    termios.c_lflag & cooked == cooked && termios.c_oflag & libc::OPOST != 0
}
