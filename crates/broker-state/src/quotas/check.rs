//! What AlterClientQuotas may set, for whom.
//! Source of rules and sentences: Kafka's ClientQuotaControlManager (behaviour, checked against Kafka 4.3.1). Different here:
//! an address is an address, no name is looked up; a value that is not a number is refused.

use std::net::IpAddr;

use wire::Float64;

use super::{ClientQuotas, EntityName, QuotaEntity, QuotaKey};
use crate::refusal::Refusal;

/// The longest user, client id or address that has a quota.
const MAX_NAME_BYTES: usize = 1 << 10;
/// Entities with quotas; a further one is refused.
const MAX_ENTITIES: usize = 10_000;

/// A value to set, or `None` to remove the one that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaOperation {
    pub key: String,
    pub value: Option<Float64>,
}

impl QuotaEntity {
    /// The entity of these parts: type and name, `None` for the default.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for what cannot be.
    pub fn from_parts(parts: &[(&str, Option<&str>)]) -> Result<Self, Refusal> {
        let mut entity = Self::default();
        for (kind, name) in parts {
            let slot = match *kind {
                "user" => &mut entity.user,
                "client-id" => &mut entity.client_id,
                "ip" => &mut entity.ip,
                other => return invalid(format!("Unhandled client quota entity type: {other}")),
            };
            if slot.is_some() {
                return invalid(format!(
                    "Invalid client quota entity, duplicate entity entry {kind}"
                ));
            }
            *slot = Some(match name {
                None => EntityName::Default,
                Some("") => return invalid(format!("Empty {kind} not supported")),
                Some(name) if name.len() > MAX_NAME_BYTES => {
                    return invalid(format!("{kind} is longer than {MAX_NAME_BYTES} bytes"));
                }
                Some(name) => EntityName::Named((*name).into()),
            });
        }
        entity.checked()
    }

    fn checked(mut self) -> Result<Self, Refusal> {
        let is_client = self.user.is_some() || self.client_id.is_some();
        match &self.ip {
            Some(_) if is_client => invalid(
                "Invalid quota entity combination, IP entity should not be combined with User or ClientId"
                    .to_owned(),
            ),
            Some(EntityName::Named(name)) => match name.parse::<IpAddr>() {
                Ok(address) => {
                    let text = address.to_canonical().to_string();
                    self.ip = Some(EntityName::Named(text.into()));
                    Ok(self)
                }
                Err(_) => invalid(format!("{name} is not a valid IP or resolvable host.")),
            },
            None if !is_client => invalid("Invalid empty client quota entity".to_owned()),
            _ => Ok(self),
        }
    }

    /// The parts that are given: type and name, `None` for the default.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        let parts = [
            ("client-id", &self.client_id),
            ("ip", &self.ip),
            ("user", &self.user),
        ];
        parts.into_iter().filter_map(|(kind, name)| {
            Some(match name.as_ref()? {
                EntityName::Default => (kind, None),
                EntityName::Named(name) => (kind, Some(name.as_ref())),
            })
        })
    }

    fn may_have(&self, key: QuotaKey) -> bool {
        self.ip.is_some() == (key == QuotaKey::ConnectionCreationRate)
    }
}

impl ClientQuotas {
    /// The changes that these operations make to an entity's values.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, and `POLICY_VIOLATION` when there are as many entities as may be.
    pub fn check(
        &self,
        entity: &QuotaEntity,
        operations: &[QuotaOperation],
    ) -> Result<Vec<(QuotaKey, Option<Float64>)>, Refusal> {
        let mut changes: Vec<(QuotaKey, Option<Float64>)> = Vec::new();
        let present = self.values(entity);
        for QuotaOperation { key: name, value } in operations {
            let key = QuotaKey::named(name).filter(|key| entity.may_have(*key));
            let Some(key) = key else {
                return invalid(format!("Invalid configuration key {name}"));
            };
            if changes.iter().any(|(seen, _)| *seen == key) {
                return invalid(format!("Duplicate quota key {name}"));
            }
            if let Some(value) = value {
                check_value(key, value.0)?;
            }
            changes.push((key, *value));
        }
        let value_now =
            |key: &QuotaKey| present.and_then(|values| values.get(key).copied().map(Float64));
        changes.retain(|(key, value)| value_now(key) != *value);
        let adds = changes.iter().any(|(_, value)| value.is_some());
        if present.is_none() && adds && self.len() >= MAX_ENTITIES {
            let message = format!(
                "{MAX_ENTITIES} entities have quotas, which is the limit; remove one first"
            );
            return Err(Refusal::new(wire::ErrorCode::PolicyViolation, message));
        }
        Ok(changes)
    }
}

fn check_value(key: QuotaKey, value: f64) -> Result<(), Refusal> {
    let name = key.name();
    if value <= 0.0 || !value.is_finite() {
        return invalid(format!("Quota {name} must be greater than 0"));
    }
    let (most, kind) = match key {
        QuotaKey::ConnectionCreationRate => (f64::from(i32::MAX), "an INT"),
        QuotaKey::ConsumerByteRate | QuotaKey::ProducerByteRate => (i64::MAX as f64, "a LONG"),
        QuotaKey::ControllerMutationRate | QuotaKey::RequestPercentage => return Ok(()),
    };
    if value > most {
        return invalid(format!(
            "Proposed value for {name} is too large for {kind}."
        ));
    }
    if value.fract() > 1e-6 {
        return invalid(format!("{name} cannot be a fractional value."));
    }
    Ok(())
}

fn invalid<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal::invalid_request(message))
}
