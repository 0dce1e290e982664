//! Share sessions (KIP-932): which partitions a member of a share group reads, so that it need not say so each time.
//!
//! Keeps true: a session belongs to one member and one connection; its epoch grows by one with every request, so a
//! request that comes twice is noticed. There are never more than the limit, and a session ends with its connection.

use std::collections::{HashMap, HashSet};

use wire::{ErrorCode, Uuid};

use crate::groups::{GroupId, MemberId};

/// Opens a session.
pub const OPENING: i32 = 0;
/// Closes the session.
pub const CLOSING: i32 = -1;

/// Names the connection that a session ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShareSessionKey {
    pub group: GroupId,
    pub member: MemberId,
}

/// A partition by its topic's id.
pub type SharedPartition = (Uuid, i32);

#[derive(Debug)]
struct Session {
    epoch: i32,
    connection: ConnectionId,
    /// In the order in which they came.
    partitions: Vec<SharedPartition>,
}

/// What a ShareFetch request says of its session.
#[derive(Clone, Debug)]
pub struct ShareSessionRequest {
    pub key: ShareSessionKey,
    pub epoch: i32,
    pub connection: ConnectionId,
    pub partitions: Vec<SharedPartition>,
    pub forgotten: Vec<SharedPartition>,
    /// Whether it acknowledges records; nothing can have been acquired before the session.
    pub has_acknowledgements: bool,
}

/// What the request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareContext {
    /// All partitions of the session; none when it closes.
    pub partitions: Vec<SharedPartition>,
    /// Those that were not in the session before.
    pub added: Vec<SharedPartition>,
}

#[derive(Debug)]
pub struct ShareSessions {
    sessions: HashMap<ShareSessionKey, Session>,
    by_connection: HashMap<ConnectionId, Vec<ShareSessionKey>>,
    limit: usize,
    /// Partitions that one session may have.
    partitions_limit: usize,
}

impl ShareSessions {
    /// `limit` sessions at most (`group.share.max.share.sessions`), of `partitions_limit` partitions each.
    pub fn new(limit: usize, partitions_limit: usize) -> Self {
        Self {
            sessions: HashMap::new(),
            by_connection: HashMap::new(),
            limit,
            partitions_limit,
        }
    }

    /// Takes in a fetch: opens, goes on with or looks at the session to be closed.
    ///
    /// # Errors
    /// `SHARE_SESSION_NOT_FOUND`, `INVALID_SHARE_SESSION_EPOCH`, `SHARE_SESSION_LIMIT_REACHED`, and `INVALID_REQUEST`
    /// for acknowledgements before there is a session.
    pub fn fetch(&mut self, request: ShareSessionRequest) -> Result<ShareContext, ErrorCode> {
        match request.epoch {
            CLOSING => {
                self.known(&request.key)?;
                Ok(ShareContext {
                    partitions: Vec::new(),
                    added: Vec::new(),
                })
            }
            OPENING if request.has_acknowledgements => Err(ErrorCode::InvalidRequest),
            OPENING => self.open(request),
            _ => self.update(request),
        }
    }

    /// Takes in an acknowledgement.
    ///
    /// # Errors
    /// As `fetch`; it cannot open a session.
    pub fn acknowledge(&mut self, key: &ShareSessionKey, epoch: i32) -> Result<(), ErrorCode> {
        match epoch {
            OPENING => Err(ErrorCode::InvalidShareSessionEpoch),
            CLOSING => self.known(key).map(drop),
            _ => self.advance(key, epoch).map(drop),
        }
    }

    /// Ends a session; gives the partitions that its member may have acquired records of.
    pub fn close(&mut self, key: &ShareSessionKey) -> Option<Vec<SharedPartition>> {
        let session = self.sessions.remove(key)?;
        if let Some(keys) = self.by_connection.get_mut(&session.connection) {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.by_connection.remove(&session.connection);
            }
        }
        Some(session.partitions)
    }

    /// Ends the sessions of a connection.
    pub fn disconnect(&mut self, connection: ConnectionId) -> Vec<ShareSessionKey> {
        let keys = self.by_connection.remove(&connection).unwrap_or_default();
        for key in &keys {
            self.sessions.remove(key);
        }
        keys
    }

    /// Ends all sessions of a group.
    pub fn close_group(&mut self, group: &GroupId) {
        let of_group = self.sessions.keys().filter(|key| key.group == *group);
        for key in of_group.cloned().collect::<Vec<_>>() {
            self.close(&key);
        }
    }

    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn known(&mut self, key: &ShareSessionKey) -> Result<&mut Session, ErrorCode> {
        let session = self.sessions.get_mut(key);
        session.ok_or(ErrorCode::ShareSessionNotFound)
    }

    fn advance(&mut self, key: &ShareSessionKey, epoch: i32) -> Result<&mut Session, ErrorCode> {
        let session = self.known(key)?;
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidShareSessionEpoch);
        }
        // 0 and -1 mean something else, so the epochs begin at 1 again.
        session.epoch = session.epoch.checked_add(1).unwrap_or(1);
        Ok(session)
    }

    fn open(&mut self, request: ShareSessionRequest) -> Result<ShareContext, ErrorCode> {
        // A member that begins anew has lost its session.
        self.close(&request.key);
        if self.sessions.len() >= self.limit {
            return Err(ErrorCode::ShareSessionLimitReached);
        }
        let mut session = Session {
            epoch: OPENING + 1,
            connection: request.connection,
            partitions: Vec::new(),
        };
        let limit = self.partitions_limit;
        let added = session.add(request.partitions, limit)?;
        let partitions = session.partitions.clone();
        let keys = self.by_connection.entry(request.connection).or_default();
        keys.push(request.key.clone());
        self.sessions.insert(request.key, session);
        Ok(ShareContext { partitions, added })
    }

    fn update(&mut self, request: ShareSessionRequest) -> Result<ShareContext, ErrorCode> {
        let limit = self.partitions_limit;
        let session = self.advance(&request.key, request.epoch)?;
        let added = session.add(request.partitions, limit)?;
        let forgotten: HashSet<SharedPartition> = request.forgotten.into_iter().collect();
        session
            .partitions
            .retain(|partition| !forgotten.contains(partition));
        let partitions = session.partitions.clone();
        Ok(ShareContext { partitions, added })
    }
}

impl Session {
    /// Adds partitions; gives those that are new.
    fn add(
        &mut self,
        partitions: Vec<SharedPartition>,
        limit: usize,
    ) -> Result<Vec<SharedPartition>, ErrorCode> {
        let mut known: HashSet<SharedPartition> = self.partitions.iter().copied().collect();
        let mut added = Vec::new();
        for partition in partitions {
            if known.insert(partition) {
                added.push(partition);
            }
            if known.len() > limit {
                return Err(ErrorCode::InvalidRequest);
            }
        }
        self.partitions.extend(&added);
        Ok(added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid([1; 16]);

    fn key(member: &str) -> ShareSessionKey {
        ShareSessionKey {
            group: GroupId::from("workers"),
            member: MemberId::from(member),
        }
    }

    fn request(member: &str, epoch: i32, partitions: &[i32]) -> ShareSessionRequest {
        ShareSessionRequest {
            key: key(member),
            epoch,
            connection: ConnectionId(7),
            partitions: partitions.iter().map(|p| (TOPIC, *p)).collect(),
            forgotten: Vec::new(),
            has_acknowledgements: false,
        }
    }

    fn numbers(partitions: &[SharedPartition]) -> Vec<i32> {
        partitions.iter().map(|(_, partition)| *partition).collect()
    }

    #[test]
    fn a_session_remembers_its_partitions() {
        let mut sessions = ShareSessions::new(10, 10);
        let opened = sessions.fetch(request("a", 0, &[0, 1])).expect("it opens");
        assert_eq!(numbers(&opened.added), [0, 1]);
        let mut next = request("a", 1, &[2, 1]);
        next.forgotten = vec![(TOPIC, 0)];
        let next = sessions.fetch(next).expect("it goes on");
        assert_eq!(numbers(&next.partitions), [1, 2]);
        assert_eq!(numbers(&next.added), [2]);
        assert_eq!(sessions.acknowledge(&key("a"), 2), Ok(()));
        assert!(sessions.fetch(request("a", 3, &[])).is_ok());
    }

    #[test]
    fn a_request_that_comes_twice_or_out_of_order_is_refused() {
        let mut sessions = ShareSessions::new(10, 10);
        let not_found = Err(ErrorCode::ShareSessionNotFound);
        let invalid = ErrorCode::InvalidShareSessionEpoch;
        assert_eq!(sessions.acknowledge(&key("a"), 1), not_found);
        assert_eq!(sessions.acknowledge(&key("a"), -1), not_found);
        assert!(sessions.fetch(request("a", -1, &[])).is_err());
        assert!(sessions.fetch(request("a", 0, &[0])).is_ok());
        assert_eq!(sessions.acknowledge(&key("a"), 0), Err(invalid));
        assert_eq!(sessions.fetch(request("a", 2, &[])), Err(invalid));
        assert!(sessions.fetch(request("a", 1, &[])).is_ok());
        assert_eq!(sessions.fetch(request("a", 1, &[])), Err(invalid));
    }

    #[test]
    fn nothing_can_be_acknowledged_before_there_is_a_session() {
        let mut sessions = ShareSessions::new(10, 10);
        let mut first = request("a", 0, &[0]);
        first.has_acknowledgements = true;
        assert_eq!(sessions.fetch(first), Err(ErrorCode::InvalidRequest));
        assert!(sessions.is_empty());
    }

    #[test]
    fn there_are_no_more_sessions_and_partitions_than_the_limits_say() {
        let mut sessions = ShareSessions::new(1, 2);
        assert!(sessions.fetch(request("a", 0, &[0])).is_ok());
        let full = Err(ErrorCode::ShareSessionLimitReached);
        assert_eq!(sessions.fetch(request("b", 0, &[0])), full);
        assert!(sessions.fetch(request("a", 0, &[0])).is_ok(), "its own");
        let large = Err(ErrorCode::InvalidRequest);
        assert_eq!(sessions.fetch(request("a", 1, &[1, 2])), large);
    }

    #[test]
    fn a_session_ends_with_its_connection_its_group_and_on_request() {
        let mut sessions = ShareSessions::new(10, 10);
        assert!(sessions.fetch(request("a", 0, &[0, 3])).is_ok());
        assert_eq!(
            sessions.close(&key("a")),
            Some(vec![(TOPIC, 0), (TOPIC, 3)])
        );
        assert_eq!(sessions.close(&key("a")), None);
        assert!(sessions.disconnect(ConnectionId(7)).is_empty());
        assert!(sessions.fetch(request("a", 0, &[0])).is_ok());
        assert_eq!(sessions.disconnect(ConnectionId(7)), [key("a")]);
        assert!(sessions.fetch(request("b", 0, &[0])).is_ok());
        sessions.close_group(&GroupId::from("workers"));
        assert!(sessions.is_empty() && sessions.disconnect(ConnectionId(7)).is_empty());
    }
}
