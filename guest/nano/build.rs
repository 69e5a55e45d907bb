//! Links the nanobenchmarks at their physical address when they are built for the bare machine.

fn main() {
    println!("cargo::rerun-if-changed=nano.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo::rustc-link-arg-bins=-T{dir}/nano.ld");
    // Runs at its link address: with the addends in place there is nothing to relocate.
    println!("cargo::rustc-link-arg-bins=--apply-dynamic-relocs");
    println!("cargo::rustc-link-arg-bins=-znorelro");
    println!("cargo::rustc-link-arg-bins=--build-id=none");
    println!("cargo::rustc-link-arg-bins=--no-eh-frame-hdr");
}
