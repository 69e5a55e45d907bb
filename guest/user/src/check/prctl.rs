//! prctl and arch_prctl.

use crate::frame::child::isolated;
use crate::frame::program::output_of_role;
use libc::*;

tests!(
    unknown_option_is_einval,
    dumpable_is_set_and_read,
    dumpable_comes_back_with_exec,
    change_of_user_makes_undumpable,
    no_new_privs_cannot_be_taken_back,
    no_new_privs_is_inherited,
    subreaper_is_set_and_read,
    parent_death_signal_is_set_and_read,
    name_is_cut_to_fifteen_bytes,
    name_of_a_thread_is_its_own,
    capability_bounds_are_read,
    timer_slack_is_read,
    clear_tid_address_is_told,
    fs_base_is_set_and_read,
    fs_base_in_the_kernels_half_is_eperm,
);

fn unknown_option_is_einval() {
    fails!(EINVAL, SYS_prctl, 9999, 0, 0, 0, 0);
    fails!(EINVAL, SYS_arch_prctl, 0x9999, 0);
}

fn dumpable() -> usize {
    ok!(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0)
}

fn dumpable_is_set_and_read() {
    isolated(|| {
        assert_eq!(dumpable(), 1);
        ok!(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
        assert_eq!(dumpable(), 0);
        fails!(EINVAL, SYS_prctl, PR_SET_DUMPABLE, 2, 0, 0, 0);
        ok!(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
        isolated(|| assert_eq!(dumpable(), 1));
    });
}

fn dumpable_comes_back_with_exec() {
    isolated(|| {
        ok!(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
        assert_eq!(output_of_role("dumpable", &[], &[]), "1\n");
    });
}

fn change_of_user_makes_undumpable() {
    crate::frame::report::need_root();
    isolated(|| {
        ok!(SYS_setresuid, -1, 1234, -1);
        assert_eq!(dumpable(), 0);
    });
}

fn no_new_privs_cannot_be_taken_back() {
    isolated(|| {
        assert_eq!(ok!(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
        ok!(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        assert_eq!(ok!(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
        fails!(EINVAL, SYS_prctl, PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
        fails!(EINVAL, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0);
    });
}

fn no_new_privs_is_inherited() {
    isolated(|| {
        ok!(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        isolated(|| {
            assert_eq!(ok!(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
        });
    });
}

fn subreaper_is_set_and_read() {
    let get = || {
        let mut value = 7i32;
        ok!(SYS_prctl, PR_GET_CHILD_SUBREAPER, &mut value, 0, 0, 0);
        value
    };
    isolated(|| {
        assert_eq!(get(), 0);
        ok!(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        assert_eq!(get(), 1);
        // A child is none by itself.
        isolated(|| assert_eq!(get(), 0));
    });
}

fn parent_death_signal_is_set_and_read() {
    let get = || {
        let mut value = 7i32;
        ok!(SYS_prctl, PR_GET_PDEATHSIG, &mut value, 0, 0, 0);
        value
    };
    isolated(|| {
        ok!(SYS_prctl, PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
        assert_eq!(get(), SIGUSR1);
        isolated(|| assert_eq!(get(), 0));
        fails!(EINVAL, SYS_prctl, PR_SET_PDEATHSIG, 65, 0, 0, 0);
    });
}

fn name() -> [u8; 16] {
    let mut name = [0xff; 16];
    ok!(SYS_prctl, PR_GET_NAME, &mut name, 0, 0, 0);
    name
}

fn name_is_cut_to_fifteen_bytes() {
    isolated(|| {
        ok!(SYS_prctl, PR_SET_NAME, c"a name that is too long", 0, 0, 0);
        assert_eq!(&name(), b"a name that is \0");
        fails!(EFAULT, SYS_prctl, PR_SET_NAME, 8, 0, 0, 0);
    });
}

fn name_of_a_thread_is_its_own() {
    isolated(|| {
        ok!(SYS_prctl, PR_SET_NAME, c"first", 0, 0, 0);
        std::thread::spawn(|| {
            assert_eq!(&name()[..6], b"first\0");
            ok!(SYS_prctl, PR_SET_NAME, c"second", 0, 0, 0);
        })
        .join()
        .unwrap();
        assert_eq!(&name()[..6], b"first\0");
    });
}

fn capability_bounds_are_read() {
    let held = ok!(SYS_prctl, PR_CAPBSET_READ, 0, 0, 0, 0);
    assert!(held <= 1);
    fails!(EINVAL, SYS_prctl, PR_CAPBSET_READ, 1000, 0, 0, 0);
}

fn timer_slack_is_read() {
    assert_eq!(ok!(SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0), 50_000);
}

fn clear_tid_address_is_told() {
    let mut word = 0u32;
    let mut told = 0usize;
    isolated(|| {
        ok!(SYS_set_tid_address, &mut word);
        let result = call!(SYS_prctl, PR_GET_TID_ADDRESS, &mut told, 0, 0, 0);
        // A kernel without CONFIG_CHECKPOINT_RESTORE does not tell.
        if result.is_ok() {
            assert_eq!(told, &raw const word as usize);
        }
        ok!(SYS_set_tid_address, 0);
    });
}

const ARCH_SET_FS: i32 = 0x1002;
const ARCH_GET_FS: i32 = 0x1003;

fn fs_base_is_set_and_read() {
    let mut base = 0usize;
    ok!(SYS_arch_prctl, ARCH_GET_FS, &mut base);
    ok!(SYS_arch_prctl, ARCH_SET_FS, base);
    let mut again = 0usize;
    ok!(SYS_arch_prctl, ARCH_GET_FS, &mut again);
    assert_eq!(base, again);
    fails!(EFAULT, SYS_arch_prctl, ARCH_GET_FS, 8);
}

fn fs_base_in_the_kernels_half_is_eperm() {
    fails!(EPERM, SYS_arch_prctl, ARCH_SET_FS, 1usize << 63);
}
