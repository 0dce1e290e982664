//! Users with SCRAM passwords that the cluster keeps (KIP-554). Passwords are salted here; the cluster never sees one.

use openssl::hash::MessageDigest;
use openssl::rand::rand_bytes;
use wire::{alter_user_scram_credentials as alter, describe_user_scram_credentials as describe};

use super::{Admin, check};
use crate::error::ClientError;
use crate::sasl::salted_password;
use crate::security::Secret;

/// As much salt as Kafka's tools take.
const SALT_BYTES: usize = 20;

/// What Kafka accepts: fewer are too easily guessed, more keep a broker busy at each login.
const ITERATIONS: std::ops::RangeInclusive<i32> = 4096..=16384;

/// The mechanisms, by the number in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramMechanism {
    Sha256 = 1,
    Sha512 = 2,
}

impl ScramMechanism {
    pub fn name(self) -> &'static str {
        match self {
            ScramMechanism::Sha256 => "SCRAM-SHA-256",
            ScramMechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    fn from_number(number: i8) -> Option<ScramMechanism> {
        match number {
            1 => Some(ScramMechanism::Sha256),
            2 => Some(ScramMechanism::Sha512),
            _ => None,
        }
    }

    fn hash(self) -> MessageDigest {
        match self {
            ScramMechanism::Sha256 => MessageDigest::sha256(),
            ScramMechanism::Sha512 => MessageDigest::sha512(),
        }
    }
}

/// A user and the mechanisms with which they can log in, each with its number of iterations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramUser {
    pub name: String,
    pub credentials: Vec<(ScramMechanism, i32)>,
}

impl Admin {
    /// All users that have a SCRAM password, sorted by name.
    pub async fn scram_users(&mut self) -> Result<Vec<ScramUser>, ClientError> {
        let request = describe::Request { users: None };
        let reply = self.any().call(&request).await?;
        let answer = reply.read()?;
        check(answer.error_code, answer.error_message.as_deref(), || {
            "listing users".to_owned()
        })?;
        let mut users = Vec::with_capacity(answer.results.len());
        for user in &answer.results {
            check(user.error_code, user.error_message.as_deref(), || {
                format!("user {}", user.user)
            })?;
            let credentials = user.credential_infos.iter().filter_map(|info| {
                Some((
                    ScramMechanism::from_number(info.mechanism)?,
                    info.iterations,
                ))
            });
            users.push(ScramUser {
                name: user.user.to_string(),
                credentials: credentials.collect(),
            });
        }
        users.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(users)
    }

    /// Gives a user a password for one mechanism, in place of an earlier one; the user is made when there is none.
    ///
    /// # Errors
    /// `Client` when the password is empty or the iterations are not 4,096 to 16,384.
    pub async fn set_scram_password(
        &mut self,
        user: &str,
        mechanism: ScramMechanism,
        password: &Secret,
        iterations: i32,
    ) -> Result<(), ClientError> {
        let (salt, salted) = salt(mechanism, password.clone(), iterations)
            .await
            .map_err(|reason| ClientError::Client {
                what: format!("setting the password of {user}"),
                reason,
            })?;
        self.alter_scram(&alter::Request {
            deletions: Vec::new(),
            upsertions: vec![alter::Upsertion {
                name: user,
                mechanism: mechanism as i8,
                iterations,
                salt: &salt,
                salted_password: &salted,
            }],
        })
        .await
    }

    /// Takes a user's password for one mechanism away.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn delete_scram_password(
        &mut self,
        user: &str,
        mechanism: ScramMechanism,
    ) -> Result<(), ClientError> {
        self.alter_scram(&alter::Request {
            deletions: vec![alter::Deletion {
                name: user,
                mechanism: mechanism as i8,
            }],
            upsertions: Vec::new(),
        })
        .await
    }

    async fn alter_scram(&mut self, request: &alter::Request<'_>) -> Result<(), ClientError> {
        let reply = self.any().call(request).await?;
        for result in &reply.read()?.results {
            let what = || format!("changing the password of {}", result.user);
            check(result.error_code, result.error_message.as_deref(), what)?;
        }
        Ok(())
    }
}

/// A new salt and the password salted with it.
async fn salt(
    mechanism: ScramMechanism,
    password: Secret,
    iterations: i32,
) -> Result<(Vec<u8>, Vec<u8>), String> {
    if password.reveal().is_empty() {
        return Err("the password is empty".to_owned());
    }
    if !ITERATIONS.contains(&iterations) {
        let (least, most) = (ITERATIONS.start(), ITERATIONS.end());
        return Err(format!(
            "{iterations} iterations; Kafka takes {least} to {most}"
        ));
    }
    let rounds = usize::try_from(iterations).map_err(|error| error.to_string())?;
    // Some milliseconds of work.
    let salting = tokio::task::spawn_blocking(move || {
        let mut salt = vec![0; SALT_BYTES];
        rand_bytes(&mut salt)?;
        let salted = salted_password(mechanism.hash(), password.reveal(), &salt, rounds)?;
        Ok::<_, openssl::error::ErrorStack>((salt, salted))
    });
    match salting.await {
        Ok(Ok(salted)) => Ok(salted),
        _ => Err("the password could not be salted".to_owned()),
    }
}
