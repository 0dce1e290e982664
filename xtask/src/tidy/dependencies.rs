//! docs/DEPENDENCIES.md has a row for each dependency of the workspace, and none for what is gone.

use std::collections::BTreeSet;

use super::Tree;

const LIST: &str = "docs/DEPENDENCIES.md";

pub fn check(tree: &Tree, findings: &mut Vec<String>) {
    let text = |path: &str| {
        tree.files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
            .unwrap_or_default()
    };
    let declared = declared(text("Cargo.toml"));
    let listed = listed(text(LIST));
    for name in declared.difference(&listed) {
        findings.push(format!("{LIST}: no row for {name}; say why we take it"));
    }
    for name in listed.difference(&declared) {
        findings.push(format!(
            "{LIST}: {name} is no dependency of the workspace; drop its row"
        ));
    }
    for file in tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml") && !file.path.contains("/fuzz/"))
    {
        for (number, line) in outside_workspace(&file.text) {
            findings.push(format!(
                "{}:{number}: `{line}` is declared here; declare it in the workspace's Cargo.toml",
                file.path
            ));
        }
    }
}

/// Names in `[workspace.dependencies]` that are not crates of ours.
fn declared(manifest: &str) -> BTreeSet<String> {
    section(manifest, |name| name == "workspace.dependencies")
        .filter(|(_, line)| !line.contains("path ="))
        .filter_map(|(_, line)| Some(line.split_once('=')?.0.trim().to_owned()))
        .collect()
}

/// Names that open a table row: `| `name` | …`.
fn listed(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| Some(rest.split_once('`')?.0.to_owned()))
        .collect()
}

/// Dependencies of a crate that do not come from the workspace.
fn outside_workspace(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    section(manifest, |name| name.ends_with("dependencies"))
        .filter(|(_, line)| !line.contains("workspace"))
}

/// Lines of the sections whose name is wanted, with their numbers; comments and blank lines left out.
fn section(manifest: &str, wanted: fn(&str) -> bool) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    manifest
        .lines()
        .enumerate()
        .filter_map(move |(number, line)| {
            if let Some(name) = line.strip_prefix('[') {
                inside = wanted(name.trim_end().trim_end_matches(']'));
                return None;
            }
            let is_entry = !line.trim().is_empty() && !line.starts_with('#');
            (inside && is_entry).then_some((number + 1, line))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_ours_need_no_reason() {
        let manifest = "[workspace.dependencies]\nwire = { path = \"crates/wire\" }\n\nbytes = \"1\"\n[profile.dev]\ndebug = 1\n";
        assert_eq!(declared(manifest), BTreeSet::from(["bytes".to_owned()]));
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        let manifest = "[dependencies]\nbytes.workspace = true\nrand = \"1\"\n";
        assert_eq!(
            outside_workspace(manifest).collect::<Vec<_>>(),
            [(3, "rand = \"1\"")]
        );
    }
}
