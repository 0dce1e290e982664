//! DescribeClientQuotas: which entities a filter chooses.
//! Source of rules and sentences: Kafka's ClientQuotasImage (behaviour, checked against Kafka 4.3.1).

use wire::ErrorCode;

use super::{ClientQuotas, EntityName, QuotaEntity, QuotaValues};
use crate::refusal::Refusal;

/// What a filter asks of one part of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    Exact(EntityName),
    /// Any name, or the default.
    Specified,
}

/// What a filter asks of an entity, by part; `None`: nothing, or with `is_strict`: that it has no such part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaFilter {
    user: Option<Match>,
    client_id: Option<Match>,
    ip: Option<Match>,
    is_strict: bool,
}

impl QuotaFilter {
    /// Reads a filter's components: type, how to match (0 exactly, 1 the default, 2 any), and the name to match.
    ///
    /// # Errors
    /// `INVALID_REQUEST`, and `UNSUPPORTED_VERSION` for an entity type that is not known.
    pub fn from_components(
        components: &[(&str, i8, Option<&str>)],
        is_strict: bool,
    ) -> Result<Self, Refusal> {
        let mut filter = Self {
            is_strict,
            ..Self::default()
        };
        for (kind, match_type, name) in components {
            let slot = match *kind {
                "user" => &mut filter.user,
                "client-id" => &mut filter.client_id,
                "ip" => &mut filter.ip,
                "" => return Err(Refusal::invalid_request("Invalid empty entity type.")),
                other => {
                    let message = format!("Unsupported entity type {other}");
                    return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
                }
            };
            if slot.is_some() {
                return Err(Refusal::invalid_request(format!(
                    "Entity type {kind} cannot appear more than once in the filter."
                )));
            }
            *slot = Some(component(*match_type, *name)?);
        }
        if filter.ip.is_some() && (filter.user.is_some() || filter.client_id.is_some()) {
            return Err(Refusal::invalid_request(
                "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.",
            ));
        }
        Ok(filter)
    }

    fn takes(&self, entity: &QuotaEntity) -> bool {
        let parts = [
            (&self.user, &entity.user),
            (&self.client_id, &entity.client_id),
            (&self.ip, &entity.ip),
        ];
        parts
            .into_iter()
            .all(|(wanted, name)| match (wanted, name) {
                (Some(Match::Exact(wanted)), Some(name)) => wanted == name,
                (Some(Match::Specified), Some(_)) => true,
                (Some(_), None) => false,
                (None, Some(_)) => !self.is_strict,
                (None, None) => true,
            })
    }
}

fn component(match_type: i8, name: Option<&str>) -> Result<Match, Refusal> {
    let also = |kind: &str| {
        let message = format!("Request specified {kind}, but also specified a match string.");
        Err(Refusal::invalid_request(message))
    };
    match (match_type, name) {
        (0, Some(name)) => Ok(Match::Exact(EntityName::Named(name.into()))),
        (0, None) => Err(Refusal::invalid_request(
            "Request specified MATCH_TYPE_EXACT, but set match string to null.",
        )),
        (1, None) => Ok(Match::Exact(EntityName::Default)),
        (1, Some(_)) => also("MATCH_TYPE_DEFAULT"),
        (2, None) => Ok(Match::Specified),
        (2, Some(_)) => also("MATCH_TYPE_SPECIFIED"),
        (other, _) => Err(Refusal::invalid_request(format!(
            "Unknown match type {other}"
        ))),
    }
}

impl ClientQuotas {
    /// The entities that a filter chooses, with their values.
    pub fn describe(&self, filter: &QuotaFilter) -> Vec<(QuotaEntity, QuotaValues)> {
        self.iter()
            .filter(|(entity, _)| filter.takes(entity))
            .map(|(entity, values)| (entity.clone(), values.clone()))
            .collect()
    }
}
