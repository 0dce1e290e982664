//! The clients: what each needs on the machine, how it is installed from its registry, and the program that drives it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kafka::Jars;
use crate::process::{exists, output_of};
use crate::repository;

pub struct Client {
    pub name: &'static str,
    /// Where it is installed from, for the report.
    pub source: &'static str,
    /// Programs without which it is skipped.
    pub needs: &'static [&'static str],
    /// A reason to skip it although the programs are here.
    pub refuses: fn() -> Option<String>,
    /// Installs what is missing and returns the program, without its `--bootstrap`.
    pub prepare: fn() -> Result<Command, String>,
}

pub const CLIENTS: &[Client] = &[
    Client {
        name: "kcat",
        source: "Debian",
        needs: &["kcat", "python3"],
        refuses: never,
        prepare: kcat,
    },
    Client {
        name: "confluent-kafka",
        source: "PyPI",
        needs: &["python3"],
        refuses: no_venv,
        prepare: || python("confluent_client.py"),
    },
    Client {
        name: "kafka-python",
        source: "PyPI",
        needs: &["python3"],
        refuses: no_venv,
        prepare: || python("kafka_python_client.py"),
    },
    Client {
        name: "aiokafka",
        source: "PyPI",
        needs: &["python3"],
        refuses: no_venv,
        prepare: || python("aiokafka_client.py"),
    },
    Client {
        name: "kafkajs",
        source: "npm",
        needs: &["node", "npm"],
        refuses: never,
        prepare: kafkajs,
    },
    Client {
        name: "java",
        source: "Maven",
        needs: &["java", "javac", "mvn"],
        refuses: never,
        prepare: || java("Interop"),
    },
    Client {
        name: "kafka-streams",
        source: "Maven",
        needs: &["java", "javac", "mvn"],
        refuses: never,
        prepare: || java("Streams"),
    },
    Client {
        name: "kafka-tools",
        source: "Maven",
        needs: &["java", "mvn", "python3"],
        refuses: never,
        prepare: kafka_tools,
    },
    Client {
        name: "franz-go",
        source: "Go modules",
        needs: &["go"],
        refuses: old_go,
        prepare: franz_go,
    },
];

/// The first of these programs that is not on this machine.
pub fn missing(programs: &[&str]) -> Option<String> {
    programs
        .iter()
        .find(|program| !exists(program))
        .map(|program| format!("{program} is not installed"))
}

fn never() -> Option<String> {
    None
}

/// Debian ships Python without the module that makes virtual environments.
fn no_venv() -> Option<String> {
    let found = output_of(Command::new("python3").args(["-c", "import venv, ensurepip"]));
    found
        .err()
        .map(|_| "python3 has no venv module (Debian: python3-venv)".to_owned())
}

/// franz-go asks for a recent Go; an older one would fetch a toolchain, which is not ours to do.
pub fn old_go() -> Option<String> {
    let wanted = std::fs::read_to_string(folder("go").join("go.mod")).ok()?;
    let wanted = version(wanted.lines().find_map(|line| line.strip_prefix("go "))?);
    let text = output_of(Command::new("go").args(["env", "GOVERSION"])).ok()?;
    let found = version(text.trim().trim_start_matches("go"));
    (found < wanted).then(|| {
        format!(
            "{} is older than franz-go wants ({}.{})",
            text.trim(),
            wanted.0,
            wanted.1
        )
    })
}

fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn folder(language: &str) -> PathBuf {
    repository::root().join("interop").join(language)
}

fn kcat() -> Result<Command, String> {
    let mut command = Command::new("python3");
    command
        .arg(folder("python").join("kcat_client.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if missing(&["java", "mvn"]).is_none() {
        command.args(["--classpath", &Jars::fetch()?.class_path()]);
    }
    Ok(command)
}

fn kafka_tools() -> Result<Command, String> {
    let mut command = Command::new("python3");
    command
        .arg(folder("python").join("kafka_tools_client.py"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["--classpath", &Jars::fetch()?.class_path()]);
    Ok(command)
}

/// A virtual environment with what requirements.txt lists, shared by the Python clients.
fn python(script: &str) -> Result<Command, String> {
    let home = home("python")?;
    let requirements = folder("python").join("requirements.txt");
    once(&home, &requirements, || {
        output_of(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(home.join("venv")),
        )?;
        let pip = home.join("venv/bin/pip");
        output_of(
            Command::new(pip)
                .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(&requirements),
        )
    })?;
    let mut command = Command::new(home.join("venv/bin/python"));
    command
        .arg(folder("python").join(script))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn kafkajs() -> Result<Command, String> {
    let home = home("node")?;
    let package = folder("node").join("package.json");
    once(&home, &package, || {
        copy(&package, &home.join("package.json"))?;
        output_of(
            Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund"])
                .current_dir(&home),
        )
    })?;
    let mut command = Command::new("node");
    command
        .arg(folder("node").join("kafkajs_client.js"))
        .env("NODE_PATH", home.join("node_modules"));
    Ok(command)
}

/// Compiles our Java programs and starts one.
pub fn java(main_class: &str) -> Result<Command, String> {
    let jars = Jars::fetch()?;
    let home = home("java")?;
    let sources = std::fs::read_dir(folder("java")).map_err(|error| error.to_string())?;
    let sources = sources
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "java")
        });
    output_of(
        Command::new("javac")
            .arg("-d")
            .arg(&home)
            .args(["-cp", &jars.class_path()])
            .args(sources),
    )?;
    let mut command = Command::new("java");
    command
        .args([
            "-Xmx256m",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            "-cp",
        ])
        .arg(format!("{}:{}", home.display(), jars.class_path()))
        .arg(main_class);
    Ok(command)
}

fn franz_go() -> Result<Command, String> {
    let home = home("go")?;
    for file in ["go.mod", "go.sum", "main.go", "newer.go"] {
        copy(&folder("go").join(file), &home.join(file))?;
    }
    output_of(
        Command::new("go")
            .args(["build", "-o", "client", "."])
            .env("GOTOOLCHAIN", "local")
            .current_dir(&home),
    )?;
    Ok(Command::new(home.join("client")))
}

fn home(client: &str) -> Result<PathBuf, String> {
    let home = repository::cache()?.join("clients").join(client);
    std::fs::create_dir_all(&home).map_err(|error| format!("{}: {error}", home.display()))?;
    Ok(home)
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    std::fs::copy(from, to)
        .map(|_| ())
        .map_err(|error| format!("{}: {error}", from.display()))
}

/// Installs unless the last installation was by the same `list`; two runs at once do it one after the other.
pub fn once(
    home: &Path,
    list: &Path,
    install: impl FnOnce() -> Result<String, String>,
) -> Result<(), String> {
    let say = |error: std::io::Error| format!("{}: {error}", home.display());
    let lock = File::create(home.join("lock")).map_err(say)?;
    lock.lock().map_err(say)?;
    let wanted =
        std::fs::read_to_string(list).map_err(|error| format!("{}: {error}", list.display()))?;
    let stamp = home.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("   installing");
    install()?;
    std::fs::write(&stamp, wanted).map_err(say)
}
