//! Compiling the guest with a cargo of its own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the guest's crates are built from, in each of their directories.
const SOURCES: [&str; 6] = [
    "src",
    "Cargo.toml",
    "build.rs",
    "kernel.ld",
    "nano.ld",
    "applets.txt",
];

/// Variables of the outer cargo's that would change what the inner one builds.
const CLEARED: [&str; 8] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_INCREMENTAL",
];

/// The guest's part of the workspace.
pub struct Guest {
    workspace: PathBuf,
    target: PathBuf,
}

impl Guest {
    /// The guest is built into directories beside the outer build's, one for kernels and one for
    /// programs, so that no build waits for another's lock, and debug and release builds share them.
    pub fn new(out: &Path) -> Result<Self, String> {
        let manifest = env::var("CARGO_MANIFEST_DIR").map_err(|_| "run this by cargo")?;
        let workspace = Path::new(&manifest)
            .parent()
            .ok_or("images/ must lie in the workspace")?;
        // target/PROFILE/build/PACKAGE/out
        let target = out
            .ancestors()
            .nth(4)
            .ok_or("OUT_DIR is not within a target directory")?;
        Ok(Self {
            workspace: workspace.to_path_buf(),
            target: target.join("guest"),
        })
    }

    /// Tell cargo what this build depends on.
    pub fn watch(&self) {
        let mut paths = vec![
            "Cargo.toml".into(),
            "rust-toolchain.toml".into(),
            ".cargo".into(),
            "images/build.rs".into(),
            "images/build".into(),
            "images/src/tree.rs".into(),
            "images/src/device.rs".into(),
        ];
        if let Ok(list) = fs::read_dir(self.workspace.join("guest")) {
            for entry in list.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                paths.extend(SOURCES.map(|source| format!("guest/{name}/{source}")));
            }
        }
        for path in paths {
            let path = self.workspace.join(path);
            if path.exists() {
                println!("cargo::rerun-if-changed={}", path.display());
            }
        }
    }

    /// A file below `guest/`.
    pub fn read(&self, path: &str) -> Result<String, String> {
        let path = self.workspace.join("guest").join(path);
        fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    }

    /// Build the packages' kernels, which are called as their packages; in that order.
    pub fn kernels<const N: usize>(&self, packages: [&str; N]) -> Result<[Vec<u8>; N], String> {
        self.build("kernels", &packages, packages, "x86_64-unknown-none", &[])
    }

    /// Build static programs of the packages; in the order of their names. They are linked to a
    /// fixed address: a relocation would be one page more to copy at each start.
    pub fn programs<const N: usize>(
        &self,
        packages: &[&str],
        names: [&str; N],
    ) -> Result<[Vec<u8>; N], String> {
        let target = "x86_64-unknown-linux-musl";
        let environment = [
            ("CARGO_PROFILE_GUEST_STRIP", "symbols"),
            ("CARGO_PROFILE_GUEST_OPT_LEVEL", "s"),
            (
                "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS",
                "-Crelocation-model=static -Ctarget-feature=+crt-static",
            ),
        ];
        self.build("programs", packages, names, target, &environment)
    }

    fn build<const N: usize>(
        &self,
        what: &str,
        packages: &[&str],
        names: [&str; N],
        target: &str,
        environment: &[(&str, &str)],
    ) -> Result<[Vec<u8>; N], String> {
        let target_dir = self.target.join(what);
        let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut command = Command::new(cargo);
        // The working directory decides which .cargo/config.toml counts.
        command
            .current_dir(&self.workspace)
            .args([
                "build",
                "--profile",
                "guest",
                "--target",
                target,
                "--target-dir",
            ])
            .arg(&target_dir)
            .args(packages.iter().flat_map(|package| ["--package", package]))
            .args(names.iter().flat_map(|name| ["--bin", name]));
        if self.workspace.join("Cargo.lock").exists() {
            command.arg("--locked");
        }
        for name in CLEARED {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        let output = command
            .output()
            .map_err(|error| format!("cannot run cargo for the guest's {what}: {error}"))?;
        if !output.status.success() {
            return Err(format!(
                "{}cannot build the guest's {what} for {target} (`rustup target add {target}` if \
                 the target is missing)",
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        let built = target_dir.join(target).join("guest");
        let mut programs = [const { Vec::new() }; N];
        for (program, name) in programs.iter_mut().zip(names) {
            let path = built.join(name);
            *program = fs::read(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        }
        Ok(programs)
    }
}
