//! What a machine with plain cgroup v2 does, in a virtual machine, because the machine of a developer or of CI may have the older
//! hierarchies. Today's distributions have no others.
//!
//! **How.** An emulator without hardware help boots a distribution's kernel (`prepare` unpacks both) with a first root filesystem that is
//! made here ([`archive`]): busybox, the kernel's modules ([`modules`]), the program under test, and a shell script of claims
//! (`guest/`). The machine prints a line for each claim and switches itself off; [`machine`] listens, and kills it when it is late.
//!
//! **What it cannot tell**: how fast anything is. Emulated processors are five to ten times slower.

mod archive;
mod machine;
mod modules;
mod parts;

use std::path::Path;

use machine::{Guest, Transcript};
use parts::Parts;

/// What only cgroups do. That these are among the claims shows that the machine has what the test is about.
const ENFORCED: [&str; 6] = [
    "memory_limit_kills_and_says_so",
    "pids_limit_stops_forks",
    "cpu_quota_is_in_force",
    "no_process_is_left_in_a_root_group",
    "foreign_devices_cannot_be_opened",
    "device_program_binds_the_members_of_its_group",
];

/// The claims about the whole product, in order: later ones build on what earlier ones left.
const PRODUCT: &str = concat!(include_str!("guest/lib"), include_str!("guest/product"), include_str!("guest/nested"));

/// Fails unless the machine had all controllers, came to its end, and every claim held.
fn assert_all_hold(transcript: &Transcript) {
    let remarks: Vec<&str> = transcript.remarks().collect();
    let [up, done] = remarks[..] else { panic!("the machine did not go from up to done: {transcript}") };
    assert!(up.starts_with("up ") && done.starts_with("done "), "{transcript}");
    assert!(["cpu", "memory", "pids"].iter().all(|c| up.split(' ').any(|word| word == *c)), "{transcript}");
    let claims = transcript.claims();
    let broken: Vec<&str> = claims.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect();
    assert!(broken.is_empty(), "broken: {broken:?}{transcript}");
    println!("{up}; {} claims hold; {done}", claims.len());
}

#[test]
fn containers_keep_their_promises_on_unified_cgroups() {
    let Some(parts) = Parts::find() else { return };
    let program = parts::container_tests();
    let guest =
        Guest { name: "containers", program: ("containers", &program), claims: include_str!("guest/containers") };
    let transcript = machine::run(&parts, &guest);
    assert_all_hold(&transcript);
    let claims = transcript.claims();
    assert!(ENFORCED.iter().all(|name| claims.contains(&(name, true))), "{transcript}");
}

#[test]
fn the_product_keeps_its_promises_on_unified_cgroups() {
    let Some(parts) = Parts::find() else { return };
    let skep = Path::new(env!("CARGO_BIN_EXE_skep"));
    let guest = Guest { name: "product", program: ("skep", skep), claims: PRODUCT };
    assert_all_hold(&machine::run(&parts, &guest));
}
