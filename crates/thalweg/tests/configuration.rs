//! `thalweg.toml`, the environment and the reference pages.

mod common;

use std::fs;
use std::path::Path;

use common::{run, thalweg};

#[test]
fn an_unknown_key_is_code_2_with_line_and_suggestion() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(
        folder.path().join("thalweg.toml"),
        "data = \"d\"\nkafka_prot = 1\n",
    )
    .expect("a file");
    let ended = run(
        thalweg(&["config", "validate"]).current_dir(folder.path()),
        "",
    );
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .stderr
            .contains("thalweg.toml:2: unknown key `kafka_prot`; did you mean `kafka_port`?"),
        "{}",
        ended.stderr
    );
}

#[test]
fn every_value_tells_where_it_comes_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.toml");
    fs::write(
        &file,
        "http_port = 8181\ndata = \"from-file\"\n[broker]\nnum.partitions = 3\n",
    )
    .expect("a file");
    let file = file.display().to_string();
    let mut command = thalweg(&[
        "config", "show", "--origin", "-c", &file, "--bind", "::1", "-o", "json",
    ]);
    let ended = run(command.env("THALWEG_DATA", "from-env"), "");
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let shown: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    let setting = |name: &str| {
        let text = |field: &str| {
            shown[name][field]
                .as_str()
                .unwrap_or_default()
                .replace(&file, "FILE")
        };
        format!("{} ({})", text("value"), text("origin"))
    };
    assert_eq!(setting("bind"), "::1 (flag --bind)");
    assert_eq!(setting("data"), "from-env (environment THALWEG_DATA)");
    assert_eq!(setting("http_port"), "8181 (FILE:1)");
    assert_eq!(setting("kafka_port"), "9092 (default)");
    assert_eq!(setting("broker.num.partitions"), "3 (FILE:4)");
}

#[test]
fn a_switch_is_set_by_its_variable() {
    for (value, expected) in [
        ("1", "true"),
        ("true", "true"),
        ("0", "false"),
        ("false", "false"),
    ] {
        let mut command = thalweg(&["config", "show", "-o", "template={ephemeral.value}"]);
        let ended = run(command.env("THALWEG_EPHEMERAL", value), "");
        assert_eq!(
            ended.stdout,
            format!("{expected}\n"),
            "{value}: {}",
            ended.stderr
        );
    }
}

#[test]
fn the_reference_pages_are_fresh() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = run(
        &mut thalweg(&["reference", &folder.path().display().to_string()]),
        "",
    );
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    for page in [
        "cli.md",
        "config.md",
        "openapi.json",
        "thalweg.http",
        "thalweg.postman_collection.json",
    ] {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs/reference")
            .join(page);
        let committed = fs::read_to_string(committed).unwrap_or_default();
        let fresh = fs::read_to_string(folder.path().join(page)).expect("a page was written");
        assert_eq!(
            committed, fresh,
            "{page} is stale: cargo run -- reference docs/reference"
        );
    }
}

#[test]
fn completion_scripts_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ended = run(&mut thalweg(&["completion", shell]), "");
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains("consume"), "{shell}");
    }
}
