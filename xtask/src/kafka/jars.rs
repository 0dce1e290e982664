//! Apache Kafka's jars: from the cache, or fetched by Maven; and Kafka's tools, started by main class.
//!
//! Also part of the contract suite (`contract/main.rs` includes this file), so that both keep one copy of the jars.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::{process, repository};

pub const VERSION: &str = "4.3.1";
const SCALA: &str = "2.13";

/// A folder with Kafka's jars and all they need.
pub struct Jars {
    libs: PathBuf,
}

impl Jars {
    /// Takes them from the cache, or has Maven fetch them; two processes at once do it one after the other.
    pub fn fetch() -> Result<Jars, String> {
        let home = repository::cache()?.join(format!("kafka-{VERSION}"));
        let say = |error: std::io::Error| format!("{}: {error}", home.display());
        std::fs::create_dir_all(&home).map_err(say)?;
        let lock = File::create(home.join("lock")).map_err(say)?;
        lock.lock().map_err(say)?;
        let libs = home.join("libs");
        if libs.join(format!("kafka_{SCALA}-{VERSION}.jar")).exists()
            && libs.join(format!("kafka-streams-{VERSION}.jar")).exists()
            && libs.join("slf4j-simple-1.7.36.jar").exists()
        {
            return Ok(Jars { libs });
        }
        eprintln!("fetching Apache Kafka {VERSION} with Maven");
        let partial = home.join("libs.partial");
        let _ = std::fs::remove_dir_all(&partial);
        std::fs::write(home.join("pom.xml"), pom()).map_err(say)?;
        process::output_of(
            Command::new("mvn")
                .args([
                    "-q",
                    "-B",
                    "dependency:copy-dependencies",
                    "-DincludeScope=runtime",
                ])
                .arg(format!("-DoutputDirectory={}", partial.display()))
                .current_dir(&home),
        )?;
        let _ = std::fs::remove_dir_all(&libs);
        std::fs::rename(&partial, &libs).map_err(say)?;
        Ok(Jars { libs })
    }

    pub fn class_path(&self) -> String {
        format!("{}/*", self.libs.display())
    }

    /// One of Kafka's tools, with a small heap and quiet logging.
    pub fn tool(&self, main_class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args([
                "-Xmx256m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            ])
            .args(["-cp", &self.class_path(), main_class]);
        command
    }

    /// A load tool: as Kafka's own scripts start it, with the optimizing compiler.
    pub fn load_tool(&self, main_class: &str) -> Command {
        let mut command = Command::new("java");
        command
            .args([
                "-Xmx512m",
                "-XX:+UseG1GC",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
            ])
            .args(["-cp", &self.class_path(), main_class]);
        command
    }
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", &format!("kafka_{SCALA}"), VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.apache.kafka", "kafka-streams", VERSION),
        dependency("org.slf4j", "slf4j-simple", "1.7.36"),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\n\
         <groupId>thalweg.interop</groupId><artifactId>libs</artifactId><version>1</version>\n\
         <dependencies>\n{}</dependencies></project>\n",
        dependencies.concat()
    )
}
