//! Choosing ports: a busy default moves to the next free one, a busy one that was asked for is an error that names its holder.

use std::collections::HashSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

/// How far a default port may move.
const MOST_MOVES: u16 = 100;

/// A port and whether another one would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortChoice {
    pub port: u16,
    pub may_move: bool,
}

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} port {port} is in use{}; stop that, choose another port, or 0 for any free one",
    by(holder)
)]
pub struct PortError {
    pub what: &'static str,
    pub port: u16,
    pub holder: Option<String>,
}

fn by(holder: &Option<String>) -> String {
    holder
        .as_ref()
        .map(|holder| format!(" by {holder}"))
        .unwrap_or_default()
}

/// The port to listen on, free on all of its addresses, and what to tell when it is not the one that was wanted.
///
/// # Errors
/// The wanted port is busy and may not move, or a hundred ports after it are busy too.
pub fn choose(
    what: &'static str,
    choice: PortChoice,
    addresses: impl Fn(u16) -> Vec<SocketAddr>,
) -> Result<(u16, Option<String>), PortError> {
    let wanted = choice.port;
    if wanted == 0 || addresses(wanted).into_iter().all(is_free) {
        return Ok((wanted, None));
    }
    let holder = holder(wanted);
    let error = PortError {
        what,
        port: wanted,
        holder: holder.clone(),
    };
    if !choice.may_move {
        return Err(error);
    }
    let next = (wanted.saturating_add(1)..wanted.saturating_add(MOST_MOVES))
        .find(|port| addresses(*port).into_iter().all(is_free))
        .ok_or(error)?;
    let note = format!(
        "{what} port {wanted} is in use{}: using {next}",
        by(&holder)
    );
    Ok((next, Some(note)))
}

/// Whether the address can be bound; one that this machine does not have (IPv6 switched off) does not count as taken.
fn is_free(address: SocketAddr) -> bool {
    match TcpListener::bind(address) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}

/// Who listens on `port`, if `/proc` tells: `postgres (process 812)`.
pub fn holder(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes: HashSet<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let links: HashSet<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    for process in processes {
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if has_open(&process.path(), &links) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (process {pid})", command.trim()));
        }
    }
    None
}

fn has_open(process: &Path, links: &HashSet<String>) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| links.contains(link)))
}

/// The inodes of sockets that listen on `port`, from the text of `/proc/net/tcp`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let matches =
            u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTEN;
        matches.then(|| fields.get(9).map(ToString::to_string))?
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([127, 0, 0, 1], port))]
    }

    fn taken() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        (listener, port)
    }

    #[test]
    fn a_busy_default_port_moves_and_says_so() {
        let (_listener, port) = taken();
        let choice = PortChoice {
            port,
            may_move: true,
        };
        let (chosen, note) = choose("Kafka", choice, loopback).expect("one of the next is free");
        assert!(chosen > port);
        let note = note.expect("a move is told");
        assert!(
            note.starts_with(&format!("Kafka port {port} is in use")),
            "{note}"
        );
        assert!(note.ends_with(&format!("using {chosen}")), "{note}");
    }

    #[test]
    fn a_busy_port_that_was_asked_for_is_an_error_that_names_the_holder() {
        let (_listener, port) = taken();
        let choice = PortChoice {
            port,
            may_move: false,
        };
        let error = choose("HTTP", choice, loopback).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("HTTP port {port} is in use")),
            "{error}"
        );
        if cfg!(target_os = "linux") {
            let this = format!("(process {})", std::process::id());
            assert!(error.contains(&this), "{error}");
        }
    }

    #[test]
    fn port_zero_is_left_to_the_system() {
        let choice = PortChoice {
            port: 0,
            may_move: false,
        };
        let (port, note) = choose("Kafka", choice, loopback).expect("always possible");
        assert_eq!((port, note), (0, None));
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:2384 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0\n\
            1: 0100007F:2384 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0\n\
            2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0\n";
        assert_eq!(listening_inodes(table, 9092), ["111"]);
    }
}
