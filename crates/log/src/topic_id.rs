//! Which topic a partition's directory belongs to, in Kafka's file `partition.metadata`:
//!
//! ```text
//! version: 0
//! topic_id: K0uWYwqNSPuyXrTzUk8pCg
//! ```

use std::path::Path;
use std::sync::Arc;

use wire::Uuid;

use crate::disk::Disk;
use crate::error::{Context, LogError};

const FILE_NAME: &str = "partition.metadata";
const FILE_LIMIT: usize = 4096;

/// Writes the id of the topic into a partition's directory, which must exist, unless it is there.
///
/// # Errors
/// `Io` when the disk fails.
pub fn write_topic_id(disk: &Arc<dyn Disk>, dir: &Path, topic_id: Uuid) -> Result<(), LogError> {
    if read_topic_id(disk, dir)? == Some(topic_id) {
        return Ok(());
    }
    let path = dir.join(FILE_NAME);
    let content = format!("version: 0\ntopic_id: {topic_id}\n");
    disk.write_small_atomically(&path, content.as_bytes())
        .context("write", path)
}

/// The id of the topic that a partition's directory belongs to; `None` if it does not say, or not in a known form.
///
/// # Errors
/// `Io` when the disk fails.
pub fn read_topic_id(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<Uuid>, LogError> {
    let path = dir.join(FILE_NAME);
    let content = disk.read_small(&path, FILE_LIMIT).context("read", path)?;
    let text = content
        .and_then(|content| String::from_utf8(content).ok())
        .unwrap_or_default();
    let mut lines = text.lines();
    let is_known = lines.next() == Some("version: 0");
    let id = lines
        .next()
        .and_then(|line| line.strip_prefix("topic_id: "))
        .filter(|_| is_known);
    Ok(id.and_then(|id| id.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    #[test]
    fn the_topic_id_is_kept_in_kafkas_form() {
        let disk = MemoryDisk::shared();
        let dir = Path::new("orders-0");
        disk.create_dir_all(dir).unwrap();
        assert_eq!(read_topic_id(&disk, dir).unwrap(), None);
        write_topic_id(&disk, dir, Uuid([7; 16])).unwrap();
        assert_eq!(read_topic_id(&disk, dir).unwrap(), Some(Uuid([7; 16])));
        let text = disk.read_small(&dir.join(FILE_NAME), 100).unwrap().unwrap();
        assert_eq!(text, b"version: 0\ntopic_id: BwcHBwcHBwcHBwcHBwcHBw\n");
    }
}
