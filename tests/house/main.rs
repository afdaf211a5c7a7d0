//! The house rules that no lint can hold: what a pure file may not do, who may import whom, and what the project never says.
//! Each rule's reason stands beside it; the rules themselves are explained in CONTRIBUTING.md.
#![expect(clippy::unwrap_used, reason = "a test that cannot read its own source tree has failed")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders of these names may do I/O; every other file of a crate is pure.
const DRIVERS: [&str; 7] = ["run", "service", "client", "disk", "net", "sys", "executor"];

/// What a pure file may not contain, and why.
const IMPURE: [(&str, &str); 7] = [
    ("async fn", "a decision that waits cannot be replayed"),
    ("tracing::", "only drivers log; a decision says its reasons in its result"),
    ("println!", "only the binary prints"),
    ("eprintln!", "only the binary prints"),
    ("Instant::now", "time comes in as a value"),
    ("SystemTime::now", "time comes in as a value"),
    ("disallowed_methods", "a file that needs a banned call is a driver: name it so"),
];

/// Longest file, in lines of code before its tests. Past it, a newcomer sees two rooms in one.
const FILE_LINES_MAX: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a folder.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn crate_files(name: &str) -> Vec<PathBuf> {
    rust_files(&root().join(name).join("src"))
}

/// The code before the tests, and whether the file is all tests.
fn product_code(path: &Path) -> String {
    let is_test =
        path.file_name().is_some_and(|n| n == "tests.rs") || path.components().any(|c| c.as_os_str() == "tests");
    if is_test {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

fn is_driver(path: &Path, crate_root: &Path) -> bool {
    let inside = path.strip_prefix(crate_root).unwrap();
    inside.with_extension("").components().any(|part| DRIVERS.iter().any(|name| part.as_os_str() == *name))
}

/// Lines that are code: comments may speak of what the code may not do.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn pure_files_are_pure() {
    let mut problems = Vec::new();
    for name in ["proto", "manager", "agent", "runtime"] {
        let crate_root = root().join(name).join("src");
        for path in crate_files(name).iter().filter(|path| !is_driver(path, &crate_root)) {
            let text = product_code(path);
            for (number, line) in code_lines(&text) {
                let broken = IMPURE.iter().filter(|(word, _)| line.contains(word));
                problems.extend(broken.map(|(word, why)| format!("{}:{number}: {word}: {why}", path.display())));
            }
        }
    }
    report(&problems);
}

#[test]
fn crates_point_one_way() {
    let forbidden = [
        ("proto", &["skep_manager", "skep_agent", "skep_runtime"][..]),
        ("manager", &["skep_agent", "skep_runtime"][..]),
        ("agent", &["skep_manager"][..]),
        ("runtime", &["skep_proto", "skep_manager", "skep_agent"][..]),
    ];
    let mut problems = Vec::new();
    for (name, words) in forbidden {
        for path in crate_files(name) {
            let text = product_code(&path);
            for (number, line) in code_lines(&text) {
                let broken = words.iter().filter(|word| line.contains(**word));
                problems.extend(broken.map(|word| format!("{}:{number}: {name} may not know {word}", path.display())));
            }
        }
    }
    report(&problems);
}

#[test]
fn a_managers_component_does_not_know_its_siblings() {
    let components = ["orchestrator", "scheduler", "allocator", "dispatcher", "ca", "api", "logs", "forward", "raft"];
    let mut problems = Vec::new();
    for component in components {
        let folder = root().join("manager/src").join(component);
        if !folder.is_dir() {
            continue;
        }
        for path in rust_files(&folder) {
            let text = product_code(&path);
            for (number, line) in code_lines(&text) {
                for sibling in components.iter().filter(|s| **s != component) {
                    if line.contains(&format!("crate::{sibling}::")) || line.contains(&format!("crate::{sibling};")) {
                        problems.push(format!("{}:{number}: {component} may not import {sibling}", path.display()));
                    }
                }
            }
        }
    }
    report(&problems);
}

#[test]
fn only_one_folder_names_the_raft_crate() {
    let mut problems = Vec::new();
    for name in ["proto", "manager", "agent", "runtime"] {
        for path in crate_files(name).iter().filter(|p| !p.starts_with(root().join("manager/src/raft"))) {
            let text = product_code(path);
            let named =
                code_lines(&text).filter(|(_, line)| line.contains("raft::eraftpb") || line.contains("use raft::"));
            problems.extend(named.map(|(number, _)| format!("{}:{number}: names the raft crate", path.display())));
        }
    }
    report(&problems);
}

#[test]
fn files_are_small_enough_to_read() {
    let mut problems = Vec::new();
    for folder in ["src", "proto/src", "manager/src", "agent/src", "runtime/src"] {
        for path in rust_files(&root().join(folder)) {
            let lines = product_code(&path).lines().count();
            if lines > FILE_LINES_MAX {
                problems.push(format!("{}: {lines} lines of code, at most {FILE_LINES_MAX}", path.display()));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_file_begins_with_its_theory() {
    let mut problems = Vec::new();
    for folder in ["src", "proto/src", "manager/src", "agent/src", "runtime/src"] {
        for path in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            if !text.starts_with("//!") && path.file_name().is_some_and(|n| n != "tests.rs") {
                problems.push(format!("{}: does not begin with what it is for", path.display()));
            }
        }
    }
    report(&problems);
}

#[test]
fn nothing_is_left_undone_in_the_code() {
    let words = ["todo!(", "unimplemented!(", "TODO", "FIXME", "#[ignore]"];
    let mut problems = Vec::new();
    for folder in ["src", "proto/src", "manager/src", "agent/src", "runtime/src"] {
        for path in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in text.lines().enumerate() {
                let found = words.iter().filter(|word| line.contains(**word));
                problems.extend(found.map(|word| format!("{}:{}: {word}", path.display(), number + 1)));
            }
        }
    }
    report(&problems);
}
