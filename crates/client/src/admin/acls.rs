//! Access rules (ACLs) of a cluster: which there are, adding, removing.

use wire::{create_acls, delete_acls, describe_acls};

use super::{Admin, check};
use crate::error::ClientError;

/// A closed list of the protocol: the number in requests, and Kafka's name in lists and tools.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            /// A number that this client does not know.
            Unknown = 0,
            $($variant = $number,)*
        }

        impl $name {
            pub fn name(self) -> &'static str {
                match self {
                    $name::Unknown => "UNKNOWN",
                    $($name::$variant => $text,)*
                }
            }

            /// The one of that name, in any case.
            pub fn from_name(name: &str) -> Option<$name> {
                $(if name.eq_ignore_ascii_case($text) {
                    return Some($name::$variant);
                })*
                None
            }

            fn from_number(number: i8) -> $name {
                match number {
                    $($number => $name::$variant,)*
                    _ => $name::Unknown,
                }
            }
        }
    };
}

numbered! {
    /// What a rule is about; `Any` only in filters.
    AclResource {
        Any = 1 "ANY",
        Topic = 2 "TOPIC",
        Group = 3 "GROUP",
        Cluster = 4 "CLUSTER",
        TransactionalId = 5 "TRANSACTIONAL_ID",
        DelegationToken = 6 "DELEGATION_TOKEN",
        User = 7 "USER",
    }
}

numbered! {
    /// How a resource's name is meant; `Any` and `Match` (whatever holds for the name) only in filters.
    AclPattern {
        Any = 1 "ANY",
        Match = 2 "MATCH",
        Literal = 3 "LITERAL",
        Prefixed = 4 "PREFIXED",
    }
}

numbered! {
    /// What is allowed or denied; `Any` only in filters.
    AclOperation {
        Any = 1 "ANY",
        All = 2 "ALL",
        Read = 3 "READ",
        Write = 4 "WRITE",
        Create = 5 "CREATE",
        Delete = 6 "DELETE",
        Alter = 7 "ALTER",
        Describe = 8 "DESCRIBE",
        ClusterAction = 9 "CLUSTER_ACTION",
        DescribeConfigs = 10 "DESCRIBE_CONFIGS",
        AlterConfigs = 11 "ALTER_CONFIGS",
        IdempotentWrite = 12 "IDEMPOTENT_WRITE",
        CreateTokens = 13 "CREATE_TOKENS",
        DescribeTokens = 14 "DESCRIBE_TOKENS",
        TwoPhaseCommit = 15 "TWO_PHASE_COMMIT",
    }
}

numbered! {
    /// What a rule says; `Any` only in filters.
    AclPermission {
        Any = 1 "ANY",
        Deny = 2 "DENY",
        Allow = 3 "ALLOW",
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    pub resource: AclResource,
    /// A name, a prefix, or `*`; `kafka-cluster` for the cluster.
    pub resource_name: String,
    pub pattern: AclPattern,
    /// As in `User:alice`.
    pub principal: String,
    /// An address, or `*`.
    pub host: String,
    pub operation: AclOperation,
    pub permission: AclPermission,
}

/// Which rules are meant; what is absent or `Any` matches all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclFilter<'a> {
    pub resource: AclResource,
    pub resource_name: Option<&'a str>,
    pub pattern: AclPattern,
    pub principal: Option<&'a str>,
    pub host: Option<&'a str>,
    pub operation: AclOperation,
    pub permission: AclPermission,
}

impl Default for AclFilter<'_> {
    fn default() -> Self {
        AclFilter {
            resource: AclResource::Any,
            resource_name: None,
            pattern: AclPattern::Any,
            principal: None,
            host: None,
            operation: AclOperation::Any,
            permission: AclPermission::Any,
        }
    }
}

impl Admin {
    /// The rules that match, sorted.
    ///
    /// # Errors
    /// `Refused` with SECURITY_DISABLED where the cluster has no authorizer.
    pub async fn acls(&mut self, filter: &AclFilter<'_>) -> Result<Vec<Acl>, ClientError> {
        let request = describe_acls::Request {
            resource_type_filter: filter.resource as i8,
            resource_name_filter: filter.resource_name,
            pattern_type_filter: filter.pattern as i8,
            principal_filter: filter.principal,
            host_filter: filter.host,
            operation: filter.operation as i8,
            permission_type: filter.permission as i8,
        };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, answer.error_message.as_deref(), || {
            "listing access rules".to_owned()
        })?;
        let mut acls = Vec::new();
        for resource in &answer.resources {
            acls.extend(resource.acls.iter().map(|rule| Acl {
                resource: AclResource::from_number(resource.resource_type),
                resource_name: resource.resource_name.to_string(),
                pattern: AclPattern::from_number(resource.pattern_type),
                principal: rule.principal.to_string(),
                host: rule.host.to_string(),
                operation: AclOperation::from_number(rule.operation),
                permission: AclPermission::from_number(rule.permission_type),
            }));
        }
        acls.sort();
        Ok(acls)
    }

    /// Adds rules; what became of each, in their order.
    pub async fn create_acls(
        &mut self,
        acls: &[Acl],
    ) -> Result<Vec<Result<(), ClientError>>, ClientError> {
        let creations = acls.iter().map(|acl| create_acls::AclCreation {
            resource_type: acl.resource as i8,
            resource_name: &acl.resource_name,
            resource_pattern_type: acl.pattern as i8,
            principal: &acl.principal,
            host: &acl.host,
            operation: acl.operation as i8,
            permission_type: acl.permission as i8,
        });
        let request = create_acls::Request {
            creations: creations.collect(),
        };
        let reply = self.any().call(&request).await?;
        let results = reply.read()?.results;
        let outcomes = acls.iter().zip(&results).map(|(acl, result)| {
            check(result.error_code, result.error_message.as_deref(), || {
                format!("adding a rule for {}", acl.principal)
            })
        });
        Ok(outcomes.collect())
    }

    /// Removes the rules that match and tells which they were.
    pub async fn delete_acls(&mut self, filter: &AclFilter<'_>) -> Result<Vec<Acl>, ClientError> {
        let request = delete_acls::Request {
            filters: vec![delete_acls::Filter {
                resource_type_filter: filter.resource as i8,
                resource_name_filter: filter.resource_name,
                pattern_type_filter: filter.pattern as i8,
                principal_filter: filter.principal,
                host_filter: filter.host,
                operation: filter.operation as i8,
                permission_type: filter.permission as i8,
            }],
        };
        let reply = self.any().call(&request).await?;
        let what = || "removing access rules".to_owned();
        let mut removed = Vec::new();
        for result in &reply.read()?.filter_results {
            check(result.error_code, result.error_message.as_deref(), what)?;
            for rule in &result.matching_acls {
                check(rule.error_code, rule.error_message.as_deref(), what)?;
                removed.push(Acl {
                    resource: AclResource::from_number(rule.resource_type),
                    resource_name: rule.resource_name.to_string(),
                    pattern: AclPattern::from_number(rule.pattern_type),
                    principal: rule.principal.to_string(),
                    host: rule.host.to_string(),
                    operation: AclOperation::from_number(rule.operation),
                    permission: AclPermission::from_number(rule.permission_type),
                });
            }
        }
        removed.sort();
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_kafka() {
        let operation = AclOperation::from_name("idempotent_write");
        assert_eq!(operation.map(|found| found as i8), Some(12));
        assert_eq!(AclOperation::from_number(12).name(), "IDEMPOTENT_WRITE");
        assert_eq!(AclResource::from_number(99), AclResource::Unknown);
        assert_eq!(AclResource::from_name("UNKNOWN"), None);
    }
}
