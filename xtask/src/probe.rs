//! The smallest Kafka client: one Metadata request over TCP, to tell when a broker answers and how long that took.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Metadata v4 about no topic, without auto-creation: every broker of the last ten years serves it.
fn metadata_request() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&3i16.to_be_bytes()); // Metadata
    body.extend_from_slice(&4i16.to_be_bytes()); // version
    body.extend_from_slice(&1i32.to_be_bytes()); // correlation id
    body.extend_from_slice(&5i16.to_be_bytes());
    body.extend_from_slice(b"probe");
    body.extend_from_slice(&0i32.to_be_bytes()); // no topic
    body.push(0); // no auto-creation
    let mut frame = (body.len() as i32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}

/// Asks once; the number of brokers in the answer.
pub fn metadata(address: SocketAddr, patience: Duration) -> Result<i32, String> {
    let say = |error: std::io::Error| format!("{address}: {error}");
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(say)?;
    stream.set_read_timeout(Some(patience)).map_err(say)?;
    stream.set_nodelay(true).map_err(say)?;
    stream.write_all(&metadata_request()).map_err(say)?;
    let mut head = [0; 16];
    stream.read_exact(&mut head).map_err(say)?;
    let field =
        |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if field(4) != 1 {
        return Err(format!(
            "{address}: an answer to correlation id {}, asked with 1",
            field(4)
        ));
    }
    Ok(field(12)) // after size, correlation id and throttle time
}

/// Asks until a Metadata answer names a broker. Returns the time since `start`.
pub fn wait_for_metadata(
    address: SocketAddr,
    start: Instant,
    patience: Duration,
    mut gone: impl FnMut() -> bool,
) -> Result<Duration, String> {
    loop {
        let last = match metadata(address, Duration::from_secs(2)) {
            Ok(brokers) if brokers > 0 => return Ok(start.elapsed()),
            Ok(_) => format!("{address}: no broker registered yet"),
            Err(error) => error,
        };
        if gone() {
            return Err(format!("the broker ended before it answered ({last})"));
        }
        if start.elapsed() > patience {
            return Err(format!(
                "no Metadata answer within {} s: {last}",
                patience.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Whether nobody listens on this port of loopback.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Loopback ports that were free a moment ago, all different.
pub fn free_ports<const N: usize>() -> Result<[u16; N], String> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener =
            TcpListener::bind("127.0.0.1:0").map_err(|error| format!("127.0.0.1: {error}"))?;
        *port = listener
            .local_addr()
            .map_err(|error| error.to_string())?
            .port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// Creates a topic with configs that Kafka's own tool would refuse to send, such as ours. CreateTopics v4.
pub fn create_topic(
    address: SocketAddr,
    topic: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<(), String> {
    let mut body = 1i32.to_be_bytes().to_vec();
    string(&mut body, topic);
    body.extend_from_slice(&partitions.to_be_bytes());
    body.extend_from_slice(&1i16.to_be_bytes()); // replication factor
    body.extend_from_slice(&0i32.to_be_bytes()); // no assignment by hand
    body.extend_from_slice(&(configs.len() as i32).to_be_bytes());
    for (key, value) in configs {
        string(&mut body, key);
        string(&mut body, value);
    }
    body.extend_from_slice(&30_000i32.to_be_bytes()); // time limit
    body.push(0); // not only validated
    // Correlation id, throttle time, one topic, its name, its error code.
    let answer = call(address, 19, 4, &body)?;
    error_code(&answer, 12 + 2 + topic.len(), "CreateTopics")
}

/// Deletes a topic. DeleteTopics v3.
pub fn delete_topic(address: SocketAddr, topic: &str) -> Result<(), String> {
    let mut body = 1i32.to_be_bytes().to_vec();
    string(&mut body, topic);
    body.extend_from_slice(&30_000i32.to_be_bytes());
    let answer = call(address, 20, 3, &body)?;
    error_code(&answer, 12 + 2 + topic.len(), "DeleteTopics")
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as i16).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// One request with header version 1; the whole answer after its size.
fn call(address: SocketAddr, key: i16, version: i16, body: &[u8]) -> Result<Vec<u8>, String> {
    let say = |error: std::io::Error| format!("{address}: {error}");
    let mut frame = key.to_be_bytes().to_vec();
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&1i32.to_be_bytes());
    string(&mut frame, "probe");
    frame.extend_from_slice(body);
    let mut stream = TcpStream::connect(address).map_err(say)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .map_err(say)?;
    stream
        .write_all(&(frame.len() as i32).to_be_bytes())
        .map_err(say)?;
    stream.write_all(&frame).map_err(say)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size).map_err(say)?;
    let size = u32::from_be_bytes(size) as usize;
    if size > 1 << 20 {
        return Err(format!("{address}: an answer of {size} bytes"));
    }
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer).map_err(say)?;
    Ok(answer)
}

fn error_code(answer: &[u8], at: usize, what: &str) -> Result<(), String> {
    match answer.get(at..at + 2) {
        Some([0, 0]) => Ok(()),
        Some(code) => Err(format!(
            "{what}: error code {}",
            i16::from_be_bytes([code[0], code[1]])
        )),
        None => Err(format!("{what}: an answer of {} bytes", answer.len())),
    }
}
