//! Every policy of the shadow mode runs the same programs alike: processes, pipes, files, threads, and
//! memory that goes to swap space.

use gnomon_tests::gnomon::Gnomon;
use gnomon_tests::mode::Mode;
use gnomon_tests::program::{self, IN_GUEST};
use gnomon_tests::scratch::Scratch;

const POLICIES: [&str; 3] = ["vtlb", "trace", "unsync"];

/// The same under each policy.
fn in_every_policy(body: fn(Gnomon)) {
    if !Mode::Shadow.is_listed() {
        eprintln!("skipped: the shadow mode is not under test");
        return;
    }
    for policy in POLICIES {
        eprintln!("{policy}");
        body(Gnomon::new(Mode::Shadow).options(["--shadow-policy", policy]));
    }
}

#[test]
fn processes_and_pipes() {
    const SCRIPT: &str = "for i in 1 2 3; do (echo $i; sh -c 'exit 3'; echo $?) | cat & wait; done; \
        echo file > /tmp/f; cat /tmp/f /tmp/f | wc -l; ls /bin | grep -c '^sh$'";
    in_every_policy(|gnomon| {
        let finished = gnomon.shell(SCRIPT).run();
        finished
            .assert_status(0)
            .assert_output("1\n3\n2\n3\n3\n3\n2\n1\n");
    });
}

#[test]
fn threads() {
    in_every_policy(|gnomon| {
        let gnomon = gnomon.file(program::path(), IN_GUEST);
        gnomon.program([IN_GUEST, "threads"]).run().assert_status(0);
    });
}

/// Under unsync alone so many entries are brought up to date at once that a signal may come between.
#[test]
fn forks_of_a_process_with_many_pages() {
    if Mode::Shadow.is_listed() {
        let gnomon = Gnomon::new(Mode::Shadow).file(program::path(), IN_GUEST);
        let gnomon = gnomon.options(["--shadow-policy", "unsync"]);
        gnomon
            .program([IN_GUEST, "forks", "large"])
            .run()
            .assert_status(0);
    }
}

/// Each child meets the same hidden faults at the same places as the one before.
#[test]
fn forks_in_a_loop() {
    in_every_policy(|gnomon| {
        let gnomon = gnomon.file(program::path(), IN_GUEST);
        let finished = gnomon.program([IN_GUEST, "forks", "many"]).run();
        finished.assert_status(0);
    });
}

#[test]
fn memory_that_goes_to_swap_space() {
    in_every_policy(|gnomon| {
        let scratch = Scratch::new().expect("a temporary directory");
        let disk = scratch.zeros("swap.img", 64 << 20).expect("a file");
        let finished = gnomon
            .memory(24)
            .options(["--cmdline", "swap=/dev/vdb", "--disk"])
            .options([&disk])
            .shell("head -c 24000000 /dev/zero > /tmp/zeros; wc -c < /tmp/zeros")
            .run();
        finished.assert_status(0).assert_output("24000000\n");
    });
}
