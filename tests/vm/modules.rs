//! Which kernel modules the virtual machine loads, in which order. The package brings no list of what needs what (that is made
//! at its installation), so each module is asked itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What containers and their network use. The kernel would load most of it on demand, if it found a `modprobe`.
const WANTED: [&str; 19] = [
    "overlay",
    "bridge",
    "br_netfilter",
    "veth",
    "vxlan",
    "dummy",
    "nf_tables",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_redir",
    "nft_ct",
    "nft_numgen",
    "nft_hash",
    "nft_fib_ipv4",
    "nft_fib_inet",
    "nft_reject_inet",
];

/// Files of the wanted modules below `root`, each after those that it needs. What has no file is built in.
pub(crate) fn in_order(root: &Path) -> Vec<PathBuf> {
    let mut known = BTreeMap::new();
    collect(root, &mut known);
    let mut order = Vec::new();
    for name in WANTED {
        add(name, &known, &mut order);
    }
    order
}

fn collect(dir: &Path, known: &mut BTreeMap<String, PathBuf>) {
    for entry in fs::read_dir(dir).expect("read the kernel package").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, known);
        } else if path.extension().is_some_and(|e| e == "ko") {
            let name = path.file_stem().expect("a file has a name").to_string_lossy().replace('-', "_");
            known.insert(name, path);
        }
    }
}

fn add(name: &str, known: &BTreeMap<String, PathBuf>, order: &mut Vec<PathBuf>) {
    let Some(path) = known.get(&name.replace('-', "_")) else { return };
    if order.contains(path) {
        return;
    }
    for needed in needs(&fs::read(path).expect("read a module")) {
        add(&needed, known, order);
    }
    order.push(path.clone());
}

/// The `depends=` line of a module's information, which are strings that end with a zero.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(begin) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[begin + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(value).into_owned();
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
