//! Links the program without symbols, whatever the profile: it is put into the guest's root image,
//! which is embedded into the monitor.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-s");
}
