//! `true` and `false`.

/// `true`: succeeds.
pub fn r#true(_: &[Vec<u8>]) -> i32 {
    0
}

/// `false`: fails.
pub fn r#false(_: &[Vec<u8>]) -> i32 {
    1
}
