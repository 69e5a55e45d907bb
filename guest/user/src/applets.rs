//! The table of applets: name, function.

use crate::{cli, grind, init, runner, sh, tools};

/// An applet: takes its arguments without `argv[0]`, returns its exit status.
pub type Applet = fn(&[Vec<u8>]) -> i32;

/// Every applet, sorted by name.
pub const APPLETS: &[(&str, Applet)] = &[
    ("[", tools::test::bracket),
    ("basename", tools::names::basename),
    ("cat", tools::cat::main),
    ("chmod", tools::chmod::main),
    ("cmp", tools::cmp::main),
    ("cp", tools::copy::cp),
    ("cut", tools::cut::main),
    ("date", tools::date::main),
    ("dd", tools::dd::main),
    ("df", tools::df::main),
    ("dirname", tools::names::dirname),
    ("du", tools::du::main),
    ("echo", tools::echo::main),
    ("env", tools::env::main),
    ("false", tools::status::r#false),
    ("free", tools::free::main),
    ("grep", tools::grep::main),
    ("grind", grind::main),
    ("head", tools::head::main),
    ("hexdump", tools::hexdump::main),
    ("init", init::main),
    ("kill", tools::kill::main),
    ("ln", tools::link::ln),
    ("ls", tools::ls::main),
    ("md5sum", tools::md5sum::main),
    ("mkdir", tools::dirs::mkdir),
    ("mkfifo", tools::dirs::mkfifo),
    ("mount", tools::mount::mount),
    ("mv", tools::copy::mv),
    ("pmap", tools::pmap::main),
    ("poweroff", tools::power::poweroff),
    ("printf", tools::printf::main),
    ("ps", tools::ps::main),
    ("pwd", tools::names::pwd),
    ("readlink", tools::link::readlink),
    ("rm", tools::remove::rm),
    ("rmdir", tools::dirs::rmdir),
    ("seq", tools::seq::main),
    ("sh", sh::main),
    ("sleep", tools::sleep::main),
    ("sort", tools::sort::main),
    ("stat", tools::stat::main),
    ("stty", tools::stty::main),
    ("sync", tools::power::sync),
    ("tail", tools::tail::main),
    ("tee", tools::tee::main),
    ("test", tools::test::main),
    ("test-runner", runner::main),
    ("touch", tools::touch::main),
    ("tr", tools::tr::main),
    ("true", tools::status::r#true),
    ("umount", tools::mount::umount),
    ("uname", tools::uname::main),
    ("uniq", tools::uniq::main),
    ("vmstat", tools::vmstat::main),
    ("wc", tools::wc::main),
    ("which", tools::names::which),
    ("xargs", tools::xargs::main),
    ("yes", tools::yes::main),
];

/// The applet of that name.
pub fn find(name: &[u8]) -> Option<Applet> {
    let index = APPLETS
        .binary_search_by(|(known, _)| known.as_bytes().cmp(name))
        .ok()?;
    Some(APPLETS[index].1)
}

/// Runs the applet that `args[0]` names, or the one that `args[1]` names if `args[0]` is none.
#[cfg_attr(test, expect(dead_code, reason = "called by the C entry point alone"))]
pub fn dispatch(args: &[Vec<u8>]) -> i32 {
    let base = |arg: &[u8]| {
        let name = arg.rsplit(|&b| b == b'/').next().unwrap_or(arg);
        // A login shell's name starts with a dash.
        name.strip_prefix(b"-").unwrap_or(name).to_vec()
    };
    let Some(first) = args.first() else {
        return 127;
    };
    if let Some(applet) = find(&base(first)) {
        cli::set_name(base(first));
        return applet(&args[1..]);
    }
    match args.get(1) {
        Some(second) => match find(&base(second)) {
            Some(applet) => {
                cli::set_name(base(second));
                applet(&args[2..])
            }
            None => {
                cli::set_name(base(first));
                cli::warn(format_args!("{}: no such applet", cli::show(second)));
                127
            }
        },
        None => {
            let mut out = cli::Out::stdout();
            for (name, _) in APPLETS {
                out.line(name.as_bytes());
            }
            out.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_for_image_builder_names_the_same_applets() {
        let listed: Vec<&str> = include_str!("../applets.txt").lines().collect();
        let known: Vec<&str> = APPLETS.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, known);
    }

    #[test]
    fn table_is_sorted_for_the_search() {
        assert!(APPLETS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
