//! Words that do not belong into a repository that others clone: paths of one machine, addresses of package registries (each
//! builder has their own), and forgotten markers of a merge.

use super::Tree;

/// Split, so that this file does not find itself.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("/wo", "rk/", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
    ("/ho", "me/", "a path of one machine"),
    ("registry.npm", "js.org", "a registry's address"),
    ("repo1.maven", ".org", "a registry's address"),
    ("repo.maven", ".apache.org", "a registry's address"),
    ("proxy.go", "lang.org", "a registry's address"),
    ("files.python", "hosted.org", "a registry's address"),
    ("pypi.org", "/simple", "a registry's address"),
    ("index.crates", ".io", "a registry's address"),
    ("static.crates", ".io", "a registry's address"),
    ("<<<<", "<<< ", "a marker of an unfinished merge"),
    (">>>>", ">>> ", "a marker of an unfinished merge"),
];

pub fn check(tree: &Tree, findings: &mut Vec<String>) {
    let forbidden: Vec<(String, &str)> = FORBIDDEN
        .iter()
        .map(|(head, tail, why)| (format!("{head}{tail}"), *why))
        .collect();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            for (word, why) in &forbidden {
                if line.contains(word.as_str()) {
                    findings.push(format!(
                        "{}:{}: `{word}` is {why}; leave it out",
                        file.path,
                        number + 1
                    ));
                }
            }
        }
    }
}
