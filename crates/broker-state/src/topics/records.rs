//! The records of the cluster metadata log, and their bytes.
//!
//! A record is one record value of the metadata log:
//!
//! ```text
//! byte 0      kind (the table below)
//! byte 1      version of this kind's body, 0 today
//! byte 2…     body, in the compact form: varints, text as length and UTF-8, topic ids as 16 raw bytes
//!
//! kind  name                  body
//!    1  TopicCreated          id, name, partitions, replication factor asked for (signed, -1: default),
//!                             count of configs, then per config: name, value
//!    2  PartitionsAdded       id, partitions there are now
//!    3  TopicDeleted          id
//!    4  TopicConfigSet        id, name, value
//!    5  TopicConfigRemoved    id, name
//!    6  BrokerConfigSet       scope (0 all brokers, 1 this broker), name, value
//!    7  BrokerConfigRemoved   scope, name
//!    8  ProducerIdsReserved   first producer id that is not reserved
//!    9  LeaderEpochSet        id, first partition, count of partitions, epoch
//!   10  LeaderEpochsRaised    nothing: every partition's epoch grows by one
//!   11  ResourceConfigSet     resource type (16 client metrics, 32 group), resource name, name, value
//!   12  ResourceConfigRemoved resource type, resource name, name
//!   13  FeatureLevelSet       feature name, level (signed), epoch of the features after it
//!   14  ClientQuotaSet        entity: count of parts, per part its type, whether it has a name (0 default, 1), name;
//!                             key, value (8 bytes, IEEE 754, the highest first)
//!   15  ClientQuotaRemoved    entity, key
//! ```
//!
//! Room to grow: a new kind gets the next number, a changed body the next version of its kind. A kind or version
//! that this program does not know stops the start, because guessing would lose what a newer program wrote.

use thiserror::Error;
use wire::{Float64, Uuid};

use super::commands::ConfigResource;
use super::names::MAX_NAME_BYTES;
use crate::compact::{Decoder, Encoder, Malformed};
use crate::configs::{BrokerScope, MAX_VALUE_BYTES};
use crate::quotas::{QuotaEntity, QuotaKey};

/// More partitions than this in one topic are not believed.
pub const MAX_PARTITIONS: i32 = 1_000_000;
const MAX_CONFIG_NAME_BYTES: usize = 1_024;
const MAX_CONFIGS: usize = 1_024;
/// The longest name of a group or of a client-metrics resource that is stored.
pub(super) const MAX_RESOURCE_NAME_BYTES: usize = i16::MAX as usize;
const VERSION: u8 = 0;
const LAST_KIND: u8 = 15;

/// One change of the cluster metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRecord {
    TopicCreated {
        id: Uuid,
        name: String,
        partitions: i32,
        /// As the creator asked; one broker keeps one replica.
        replication_factor: i16,
        configs: Vec<(String, String)>,
    },
    PartitionsAdded {
        id: Uuid,
        /// All partitions that the topic has now.
        partitions: i32,
    },
    TopicDeleted {
        id: Uuid,
    },
    TopicConfigSet {
        id: Uuid,
        name: String,
        value: String,
    },
    TopicConfigRemoved {
        id: Uuid,
        name: String,
    },
    BrokerConfigSet {
        scope: BrokerScope,
        name: String,
        value: String,
    },
    BrokerConfigRemoved {
        scope: BrokerScope,
        name: String,
    },
    /// Producer ids below `next` are handed out or may be.
    ProducerIdsReserved {
        next: i64,
    },
    LeaderEpochSet {
        id: Uuid,
        first_partition: i32,
        partitions: i32,
        epoch: i32,
    },
    /// Every partition that exists now has a new leader epoch, one above its last.
    LeaderEpochsRaised,
    /// Of a group or a client-metrics resource.
    ResourceConfigSet {
        resource: ConfigResource,
        name: String,
        value: String,
    },
    ResourceConfigRemoved {
        resource: ConfigResource,
        name: String,
    },
    FeatureLevelSet {
        name: String,
        level: i16,
        epoch: i64,
    },
    ClientQuotaSet {
        entity: QuotaEntity,
        key: QuotaKey,
        value: Float64,
    },
    ClientQuotaRemoved {
        entity: QuotaEntity,
        key: QuotaKey,
    },
}

/// Why the bytes of a metadata record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    #[error(
        "metadata record kind {kind} is not known to this version; start the version that wrote this data directory, or a newer one"
    )]
    UnknownKind { kind: u8 },
    #[error(
        "version {version} of metadata record kind {kind} is not known to this version; start the version that wrote this data directory, or a newer one"
    )]
    UnknownVersion { kind: u8, version: u8 },
    #[error("metadata record of kind {kind} is damaged: {source}")]
    Malformed { kind: u8, source: Malformed },
    #[error("metadata record is empty")]
    Empty,
}

impl MetadataRecord {
    fn kind(&self) -> u8 {
        match self {
            Self::TopicCreated { .. } => 1,
            Self::PartitionsAdded { .. } => 2,
            Self::TopicDeleted { .. } => 3,
            Self::TopicConfigSet { .. } => 4,
            Self::TopicConfigRemoved { .. } => 5,
            Self::BrokerConfigSet { .. } => 6,
            Self::BrokerConfigRemoved { .. } => 7,
            Self::ProducerIdsReserved { .. } => 8,
            Self::LeaderEpochSet { .. } => 9,
            Self::LeaderEpochsRaised => 10,
            Self::ResourceConfigSet { .. } => 11,
            Self::ResourceConfigRemoved { .. } => 12,
            Self::FeatureLevelSet { .. } => 13,
            Self::ClientQuotaSet { .. } => 14,
            Self::ClientQuotaRemoved { .. } => 15,
        }
    }

    /// The bytes of the record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.byte(self.kind());
        out.byte(VERSION);
        self.write_body(&mut out);
        out.finish()
    }

    fn write_body(&self, out: &mut Encoder) {
        match self {
            Self::TopicCreated {
                id,
                name,
                partitions,
                replication_factor,
                configs,
            } => {
                out.raw(&id.0);
                out.text(name);
                out.signed((*partitions).into());
                out.signed((*replication_factor).into());
                out.unsigned(configs.len() as u64);
                for (name, value) in configs {
                    out.text(name);
                    out.text(value);
                }
            }
            Self::PartitionsAdded { id, partitions } => {
                out.raw(&id.0);
                out.signed((*partitions).into());
            }
            Self::TopicDeleted { id } => out.raw(&id.0),
            Self::TopicConfigSet { id, name, value } => {
                out.raw(&id.0);
                out.text(name);
                out.text(value);
            }
            Self::TopicConfigRemoved { id, name } => {
                out.raw(&id.0);
                out.text(name);
            }
            Self::BrokerConfigSet { scope, name, value } => {
                out.byte(scope_byte(*scope));
                out.text(name);
                out.text(value);
            }
            Self::BrokerConfigRemoved { scope, name } => {
                out.byte(scope_byte(*scope));
                out.text(name);
            }
            Self::ProducerIdsReserved { next } => out.signed(*next),
            Self::LeaderEpochSet {
                id,
                first_partition,
                partitions,
                epoch,
            } => {
                out.raw(&id.0);
                for number in [first_partition, partitions, epoch] {
                    out.signed((*number).into());
                }
            }
            Self::LeaderEpochsRaised => {}
            Self::ResourceConfigSet { .. }
            | Self::ResourceConfigRemoved { .. }
            | Self::FeatureLevelSet { .. }
            | Self::ClientQuotaSet { .. }
            | Self::ClientQuotaRemoved { .. } => self.write_setting(out),
        }
    }

    /// The records of resources, features and quotas.
    fn write_setting(&self, out: &mut Encoder) {
        match self {
            Self::ResourceConfigSet {
                resource,
                name,
                value,
            } => {
                write_resource(out, resource);
                out.text(name);
                out.text(value);
            }
            Self::ResourceConfigRemoved { resource, name } => {
                write_resource(out, resource);
                out.text(name);
            }
            Self::FeatureLevelSet { name, level, epoch } => {
                out.text(name);
                out.signed((*level).into());
                out.signed(*epoch);
            }
            Self::ClientQuotaSet { entity, key, value } => {
                write_entity(out, entity);
                out.text(key.name());
                out.raw(&value.0.to_be_bytes());
            }
            Self::ClientQuotaRemoved { entity, key } => {
                write_entity(out, entity);
                out.text(key.name());
            }
            _ => unreachable!("write_body writes the others"),
        }
    }

    /// Reads what `encode` wrote.
    ///
    /// # Errors
    /// `UnknownKind` and `UnknownVersion` for what a newer version wrote, `Malformed` and `Empty` for damage.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut from = Decoder::new(bytes);
        let kind = from.byte("kind").map_err(|_| RecordError::Empty)?;
        if !(1..=LAST_KIND).contains(&kind) {
            return Err(RecordError::UnknownKind { kind });
        }
        let damaged = |source| RecordError::Malformed { kind, source };
        let version = from.byte("version").map_err(damaged)?;
        if version != VERSION {
            return Err(RecordError::UnknownVersion { kind, version });
        }
        let record = Self::decode_body(kind, &mut from).map_err(damaged)?;
        from.finish().map_err(damaged)?;
        Ok(record)
    }

    fn decode_body(kind: u8, from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            1 => Self::TopicCreated {
                id: id(from)?,
                name: from.text(MAX_NAME_BYTES, "topic name")?.to_owned(),
                partitions: partitions(from)?,
                replication_factor: from.signed_in(-1, i16::MAX.into(), "replication factor")?
                    as i16,
                configs: configs(from)?,
            },
            2 => Self::PartitionsAdded {
                id: id(from)?,
                partitions: partitions(from)?,
            },
            3 => Self::TopicDeleted { id: id(from)? },
            4 => Self::TopicConfigSet {
                id: id(from)?,
                name: config_name(from)?,
                value: config_value(from)?,
            },
            5 => Self::TopicConfigRemoved {
                id: id(from)?,
                name: config_name(from)?,
            },
            6 => Self::BrokerConfigSet {
                scope: scope(from)?,
                name: config_name(from)?,
                value: config_value(from)?,
            },
            7 => Self::BrokerConfigRemoved {
                scope: scope(from)?,
                name: config_name(from)?,
            },
            8 => Self::ProducerIdsReserved {
                next: from.signed_in(0, i64::MAX, "producer id")?,
            },
            9 => Self::LeaderEpochSet {
                id: id(from)?,
                first_partition: from.signed_in(0, MAX_PARTITIONS.into(), "first partition")?
                    as i32,
                partitions: partitions(from)?,
                epoch: from.signed_in(0, i32::MAX.into(), "leader epoch")? as i32,
            },
            10 => Self::LeaderEpochsRaised,
            11 => Self::ResourceConfigSet {
                resource: resource(from)?,
                name: config_name(from)?,
                value: config_value(from)?,
            },
            12 => Self::ResourceConfigRemoved {
                resource: resource(from)?,
                name: config_name(from)?,
            },
            14 => Self::ClientQuotaSet {
                entity: entity(from)?,
                key: quota_key(from)?,
                value: quota_value(from)?,
            },
            15 => Self::ClientQuotaRemoved {
                entity: entity(from)?,
                key: quota_key(from)?,
            },
            _ => Self::FeatureLevelSet {
                name: config_name(from)?,
                level: from.signed_in(0, i16::MAX.into(), "feature level")? as i16,
                epoch: from.signed_in(0, i64::MAX, "epoch of the features")?,
            },
        })
    }
}

fn write_resource(out: &mut Encoder, resource: &ConfigResource) {
    out.byte(resource.resource_type.unsigned_abs());
    out.text(&resource.name);
}

fn resource(from: &mut Decoder<'_>) -> Result<ConfigResource, Malformed> {
    let resource_type = from.byte("resource type")? as i8;
    if ![ConfigResource::CLIENT_METRICS, ConfigResource::GROUP].contains(&resource_type) {
        return Err(Malformed::OutOfRange {
            what: "resource type",
            value: resource_type.into(),
            least: ConfigResource::CLIENT_METRICS.into(),
            most: ConfigResource::GROUP.into(),
        });
    }
    let name = from.text(MAX_RESOURCE_NAME_BYTES, "resource name")?;
    Ok(ConfigResource {
        resource_type,
        name: name.to_owned(),
    })
}

fn write_entity(out: &mut Encoder, entity: &QuotaEntity) {
    out.unsigned(entity.parts().count() as u64);
    for (kind, name) in entity.parts() {
        out.text(kind);
        out.byte(u8::from(name.is_some()));
        if let Some(name) = name {
            out.text(name);
        }
    }
}

fn entity(from: &mut Decoder<'_>) -> Result<QuotaEntity, Malformed> {
    let what = "quota entity";
    let count = from.count(3, what)?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = from.text(MAX_CONFIG_NAME_BYTES, what)?;
        let has_name = from.byte(what)? != 0;
        let name = has_name.then(|| from.text(MAX_RESOURCE_NAME_BYTES, what));
        parts.push((kind, name.transpose()?));
    }
    QuotaEntity::from_parts(&parts).map_err(|_| Malformed::Unknown { what })
}

fn quota_key(from: &mut Decoder<'_>) -> Result<QuotaKey, Malformed> {
    let what = "quota key";
    QuotaKey::named(from.text(MAX_CONFIG_NAME_BYTES, what)?).ok_or(Malformed::Unknown { what })
}

fn quota_value(from: &mut Decoder<'_>) -> Result<Float64, Malformed> {
    let what = "quota value";
    let bytes = from.raw(8, what)?;
    let value = f64::from_be_bytes(bytes.try_into().expect("8 bytes were asked for"));
    match value.is_finite() && value > 0.0 {
        true => Ok(Float64(value)),
        false => Err(Malformed::Unknown { what }),
    }
}

fn scope_byte(scope: BrokerScope) -> u8 {
    match scope {
        BrokerScope::AllBrokers => 0,
        BrokerScope::ThisBroker => 1,
    }
}

fn scope(from: &mut Decoder<'_>) -> Result<BrokerScope, Malformed> {
    match from.byte("scope")? {
        0 => Ok(BrokerScope::AllBrokers),
        1 => Ok(BrokerScope::ThisBroker),
        other => Err(Malformed::OutOfRange {
            what: "scope",
            value: other.into(),
            least: 0,
            most: 1,
        }),
    }
}

fn id(from: &mut Decoder<'_>) -> Result<Uuid, Malformed> {
    let bytes = from.raw(16, "topic id")?;
    Ok(Uuid(bytes.try_into().expect("16 bytes were asked for")))
}

fn partitions(from: &mut Decoder<'_>) -> Result<i32, Malformed> {
    Ok(from.signed_in(1, MAX_PARTITIONS.into(), "partitions")? as i32)
}

fn config_name(from: &mut Decoder<'_>) -> Result<String, Malformed> {
    Ok(from.text(MAX_CONFIG_NAME_BYTES, "config name")?.to_owned())
}

fn config_value(from: &mut Decoder<'_>) -> Result<String, Malformed> {
    Ok(from.text(MAX_VALUE_BYTES, "config value")?.to_owned())
}

fn configs(from: &mut Decoder<'_>) -> Result<Vec<(String, String)>, Malformed> {
    let count = from.count(MAX_CONFIGS, "count of configs")?;
    (0..count)
        .map(|_| Ok((config_name(from)?, config_value(from)?)))
        .collect()
}
