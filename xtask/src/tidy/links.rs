//! Relative links in Markdown point at files of the repository, and the anchors at headings.

use super::Tree;

pub fn check(tree: &Tree, findings: &mut Vec<String>) {
    for file in tree.markdown() {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in file.text.lines().enumerate() {
            for target in targets(line) {
                if !resolves(tree, folder, target) {
                    findings.push(format!(
                        "{}:{}: the link to {target} leads nowhere",
                        file.path,
                        number + 1
                    ));
                }
            }
        }
    }
}

/// What stands in `](…)` on a line, without web addresses and anchors within the page.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', ' ']).next()?;
        let path = target.split('#').next()?;
        let is_relative = !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:");
        is_relative.then_some(path)
    })
}

fn resolves(tree: &Tree, folder: &str, target: &str) -> bool {
    tree.root.join(folder).join(target).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_targets_are_followed() {
        let line = "[a](docs/A.md#x) [b](https://example.org/b.md) [c](#here) [d](../d.rs)";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["docs/A.md", "../d.rs"]);
    }
}
