//! Every Rust file opens with `//!`: what it is, what it keeps true, where it is called from.

use super::Tree;

pub fn check(tree: &Tree, findings: &mut Vec<String>) {
    for file in tree.rust() {
        let opening = file.text.lines().find(|line| {
            !line.trim().is_empty() && !line.starts_with("#!") && !line.starts_with("// @generated")
        });
        if !opening.is_some_and(|line| line.starts_with("//!")) {
            findings.push(format!(
                "{}:1: does not open with `//!`; say what the file is",
                file.path
            ));
        }
    }
}
