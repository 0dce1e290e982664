//! A Kafka client of a few lines for the broker's own tests: one connection, one request at a time unless told otherwise.
#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::net::SocketAddr;
use std::path::Path;

use broker::{Broker, BrokerSettings, Storage};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire::records::{BatchBuilder, Compression, RecordIter, decompress, scan_batches};
use wire::{
    ApiKey, ErrorCode, Reader, Request, RequestHeader, Response, ResponseHeader, encode_request,
};

pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

/// An answer, still encoded: `read` borrows from it.
pub struct Reply {
    body: Vec<u8>,
    version: i16,
}

impl Reply {
    pub fn read<'a, R: Response<'a>>(&'a self) -> R {
        let mut reader = Reader::new(&self.body);
        ResponseHeader::decode(&mut reader, R::KEY, self.version).expect("a response header");
        let response = R::decode(&mut reader, self.version).expect("a response body");
        assert_eq!(reader.remaining(), 0, "nothing follows the response");
        response
    }

    pub fn correlation_id(&self) -> i32 {
        i32::from_be_bytes(self.body[..4].try_into().expect("a response header"))
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the broker listens");
        Self {
            stream,
            correlation_id: 0,
        }
    }

    pub async fn send<'a, R: Request<'a>>(&mut self, version: i16, request: &R) {
        self.correlation_id += 1;
        let header = RequestHeader {
            api_key: R::KEY as i16,
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some("test"),
        };
        self.send_bytes(&encode_request(&header, request)).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the broker reads");
    }

    /// Sends these bytes and nothing after them, as far as the broker still takes them.
    pub async fn send_and_end(&mut self, bytes: &[u8]) {
        // Who is refused may find the connection closed while it sends.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.shutdown().await;
    }

    /// Reads until the broker closes the connection.
    pub async fn receive_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.stream.read_to_end(&mut bytes).await;
        bytes
    }

    /// The next answer; `None` once the broker has closed the connection.
    pub async fn receive(&mut self, version: i16) -> Option<Reply> {
        let size = self.stream.read_u32().await.ok()?;
        let mut body = vec![0; size as usize];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Reply { body, version })
    }

    pub async fn call<'a, R: Request<'a>>(&mut self, version: i16, request: &R) -> Reply {
        self.send(version, request).await;
        self.receive(version).await.expect("the broker answers")
    }

    pub async fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        use wire::create_topics::{CreatableTopic, CreatableTopicConfig, Request, Response};
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name,
                value: Some(value),
            })
            .collect();
        let topic = CreatableTopic {
            name,
            num_partitions: partitions,
            replication_factor: -1,
            configs,
            ..Default::default()
        };
        let reply = self
            .call(
                7,
                &Request {
                    topics: vec![topic],
                    ..Default::default()
                },
            )
            .await;
        let response: Response<'_> = reply.read();
        assert_eq!(
            response.topics[0].error_code, 0,
            "{:?}",
            response.topics[0].error_message
        );
    }

    /// Sets one configuration of a topic.
    pub async fn set_config(&mut self, topic: &str, name: &str, value: &str) {
        use wire::incremental_alter_configs::{AlterableConfig, Request, Resource, Response};
        let configs = vec![AlterableConfig {
            name,
            config_operation: 0,
            value: Some(value),
        }];
        let resources = vec![Resource {
            resource_type: 2,
            resource_name: topic,
            configs,
        }];
        let request = Request {
            resources,
            ..Default::default()
        };
        let reply = self.call(1, &request).await;
        let response: Response<'_> = reply.read();
        assert_eq!(response.responses[0].error_code, 0);
    }

    /// Produces one batch and gives the error and the base offset.
    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: &Bytes,
    ) -> (ErrorCode, i64) {
        let reply = self
            .call(9, &produce_request(topic, partition, batch, -1))
            .await;
        let response: wire::produce::Response<'_> = reply.read();
        let partition = &response.responses[0].partition_responses[0];
        (
            ErrorCode::from_code(partition.error_code).expect("a known error"),
            partition.base_offset,
        )
    }

    /// Waits until no transaction is ending: who ends one is answered before its markers are written.
    pub async fn transactions_settled(&mut self) {
        loop {
            let request = wire::list_transactions::Request {
                state_filters: vec!["PrepareCommit", "PrepareAbort"],
                ..Default::default()
            };
            let reply = self.call(0, &request).await;
            let response: wire::list_transactions::Response<'_> = reply.read();
            if response.transaction_states.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads from `offset` to the end that is there now: the values.
    pub async fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> Vec<String> {
        let reply = self
            .call(11, &fetch_request(topic, partition, offset, 0))
            .await;
        values(&reply, offset)
    }
}

pub fn produce_request<'a>(
    topic: &'a str,
    partition: i32,
    batch: &'a Bytes,
    acks: i16,
) -> wire::produce::Request<'a> {
    use wire::produce::{PartitionData, Request, TopicData};
    let partition_data = vec![PartitionData {
        index: partition,
        records: Some(batch),
    }];
    let topic_data = vec![TopicData {
        name: topic,
        partition_data,
        ..Default::default()
    }];
    Request {
        acks,
        timeout_ms: 1000,
        topic_data,
        ..Default::default()
    }
}

pub fn fetch_request(
    topic: &str,
    partition: i32,
    offset: i64,
    max_wait_ms: i32,
) -> wire::fetch::Request<'_> {
    use wire::fetch::{FetchPartition, FetchTopic, Request};
    let partitions = vec![FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }];
    Request {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 10 << 20,
        topics: vec![FetchTopic {
            topic,
            partitions,
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The values of the one partition in a fetch answer, from `offset` on.
pub fn values(reply: &Reply, offset: i64) -> Vec<String> {
    let response: wire::fetch::Response<'_> = reply.read();
    assert_eq!(response.error_code, 0);
    let partition = &response.responses[0].partitions[0];
    assert_eq!(
        ErrorCode::from_code(partition.error_code),
        Some(ErrorCode::None)
    );
    let bytes = partition.records.to_bytes().unwrap_or_default();
    values_of(&bytes, offset)
}

pub fn values_of(bytes: &[u8], offset: i64) -> Vec<String> {
    let mut values = Vec::new();
    for batch in scan_batches(bytes) {
        let (header, batch) = batch.expect("a whole batch");
        assert!(wire::records::verify_crc(batch), "the checksum is right");
        let records = decompress(&header, batch, 1 << 20).expect("readable records");
        for record in RecordIter::new(&header, &records) {
            let record = record.expect("a record");
            if record.offset >= offset {
                values.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
            }
        }
    }
    values
}

/// A batch with these values.
pub fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(1_000);
    for value in values {
        builder.push(1_000, None, Some(value.as_bytes()), &[]);
    }
    builder.build(Compression::None)
}

/// A batch of an idempotent producer.
pub fn idempotent_batch(producer_id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(1_000).producer(producer_id, epoch, sequence);
    for value in values {
        builder.push(1_000, None, Some(value.as_bytes()), &[]);
    }
    builder.build(Compression::None)
}

pub async fn start(storage: Storage) -> (Broker, Client) {
    let mut settings = BrokerSettings::new(storage);
    let delay = "group.initial.rebalance.delay.ms".to_owned();
    settings.broker_config.insert(delay, "0".to_owned());
    let broker = Broker::start(settings).await.expect("the broker starts");
    let client = Client::connect(broker.kafka_addresses()[0]).await;
    (broker, client)
}

pub async fn start_on(directory: &Path) -> (Broker, Client) {
    start(Storage::Directory(directory.to_owned())).await
}

/// The key of an api, for raw frames.
pub fn frame(key: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend_from_slice(&((10 + body.len()) as u32).to_be_bytes());
    frame.extend_from_slice(&(key as i16).to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(&(-1_i16).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}
