//! The arrows between our crates, as drawn in docs/ARCHITECTURE.md, against what `cargo metadata` says; and the crates that the
//! sans-IO ones must not reach. A new arrow is a line here and a sentence there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process;

/// Package name, and the packages of ours that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("thalweg-log", &["wire"]),
    ("broker-state", &["wire"]),
    ("broker", &["thalweg-log", "broker-state", "wire"]),
    ("client", &["wire"]),
    ("operate", &["client"]),
    ("lab", &["client", "operate", "wire"]),
    ("gateway", &["client", "lab", "operate", "wire"]),
    (
        "thalweg",
        &["broker", "client", "gateway", "lab", "operate", "wire"],
    ),
    ("sim", &["broker", "broker-state", "thalweg-log", "wire"]),
    ("xtask", &[]),
];

/// These packages decide and never wait: no runtime, no clock, no randomness of their own.
const SANS_IO: &[&str] = &["wire", "thalweg-log", "broker-state"];
const FORBIDDEN_BELOW_SANS_IO: &[&str] = &[
    "tokio",
    "rand",
    "rand_core",
    "getrandom",
    "fastrand",
    "chrono",
    "time",
    "jiff",
];

pub fn check(root: &Path, findings: &mut Vec<String>) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = process::output_of(
        Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked"])
            .current_dir(root),
    )
    .or_else(|_| {
        process::output_of(
            Command::new("cargo")
                .args(["metadata", "--format-version", "1"])
                .current_dir(root),
        )
    })?;
    let metadata: Value =
        serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let graph = Graph::new(&metadata);
    for package in &graph.ours {
        check_package(package, &graph, findings);
    }
    for package in SANS_IO {
        for reached in graph.reachable(package) {
            if FORBIDDEN_BELOW_SANS_IO.contains(&reached.as_str()) {
                findings.push(format!("{package}: reaches {reached}, but decides without runtime, clock or randomness; take it in as an argument"));
            }
        }
    }
    Ok(())
}

fn check_package(package: &str, graph: &Graph, findings: &mut Vec<String>) {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package) else {
        findings.push(format!("{package}: a crate without a row in xtask/src/tidy/arrows.rs; add its arrows there and to docs/ARCHITECTURE.md"));
        return;
    };
    let Some(dependencies) = graph.edges.get(package) else {
        return;
    };
    for dependency in dependencies
        .iter()
        .filter(|name| graph.ours.contains(*name))
    {
        if !allowed.contains(&dependency.as_str()) {
            findings.push(format!(
                "{package}: depends on {dependency}, which is no arrow of ours"
            ));
        }
    }
}

/// Dependencies by package name: what ends up in the program, not what builds or tests it.
struct Graph {
    ours: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn new(metadata: &Value) -> Graph {
        let names: BTreeMap<&str, &str> = list(&metadata["packages"])
            .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect();
        let ours = list(&metadata["workspace_members"])
            .filter_map(|id| Some(names.get(id.as_str()?)?.to_string()))
            .collect();
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let Some(name) = node["id"].as_str().and_then(|id| names.get(id)) else {
                continue;
            };
            let dependencies = list(&node["deps"])
                .filter(|dependency| {
                    list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null())
                })
                .filter_map(|dependency| Some(names.get(dependency["pkg"].as_str()?)?.to_string()));
            edges
                .entry(name.to_string())
                .or_default()
                .extend(dependencies);
        }
        Graph { ours, edges }
    }

    fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![from.to_owned()];
        while let Some(name) = waiting.pop() {
            for next in self.edges.get(&name).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    waiting.push(next.clone());
                }
            }
        }
        seen
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_of_a_dependency_is_reached() {
        let edge = |from: &str, to: &[&str]| {
            (
                from.to_owned(),
                to.iter().map(|name| name.to_string()).collect(),
            )
        };
        let graph = Graph {
            ours: BTreeSet::new(),
            edges: BTreeMap::from([edge("wire", &["bytes"]), edge("bytes", &["tokio"])]),
        };
        assert!(graph.reachable("wire").contains("tokio"));
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_found() {
        let ours = BTreeSet::from(["wire".to_owned(), "broker".to_owned()]);
        let edges = BTreeMap::from([("wire".to_owned(), BTreeSet::from(["broker".to_owned()]))]);
        let mut findings = Vec::new();
        check_package("wire", &Graph { ours, edges }, &mut findings);
        assert_eq!(
            findings,
            ["wire: depends on broker, which is no arrow of ours"]
        );
    }
}
