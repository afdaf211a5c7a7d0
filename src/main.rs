//! The one binary: the daemon and its command line.

#[cfg_attr(not(test), expect(dead_code, reason = "the commands are written on top of these modules"))]
#[expect(unused_imports, reason = "the commands are written on top of these modules")]
mod cli;

fn main() {}
