//! What the README shows is run: its requests by curl, as they stand there, against the running binary.

mod common;

use std::process::Command;

use common::Server;

const README: &str = include_str!("../../../README.md");

/// The commands of the blocks marked `sh`, continued lines put together.
fn shown() -> Vec<String> {
    let blocks = README.split("```sh\n").skip(1);
    let texts = blocks.filter_map(|block| block.split("\n```").next());
    let joined: Vec<String> = texts.map(|text| text.replace("\\\n", " ")).collect();
    joined
        .iter()
        .flat_map(|text| text.lines())
        .filter(|line| line.starts_with("curl "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_request_of_the_readme_is_answered_as_it_says() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: curl is not installed");
        return;
    }
    let server = Server::start();
    let http = server.ready["http"].as_str().expect("the HTTP address");
    let address = http.trim_start_matches("http://");
    let commands = shown();
    assert!(commands.len() >= 4, "{commands:?}");
    let mut answers = Vec::new();
    for command in &commands {
        let here = command.replace("localhost:8080", address);
        // An answer that is no success is an exit code; a live stream is left by its time limit, 28.
        let here = here.replacen("curl ", "curl --fail-with-body ", 1);
        let output = Command::new("sh")
            .args(["-c", &here])
            .output()
            .expect("sh is there");
        let is_stream = command.contains("text/event-stream");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let expected = if is_stream { 28 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{command}\n{text}");
        answers.push(text);
    }
    let all = answers.join("\n");
    assert!(
        all.contains("9007199254740993"),
        "every digit is there: {all}"
    );
    assert!(all.contains("event: records"), "{all}");
}
