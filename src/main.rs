//! The one binary: the daemon and its command line.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the commands that print with these modules are written on top of them")
)]
mod cli;

fn main() {}
