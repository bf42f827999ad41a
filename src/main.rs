//! The `verbex-gateway` program.

fn main() {}
