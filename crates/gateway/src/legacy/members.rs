//! The members of Kafka consumer groups that this process reads with: one for each group and topic, however many consumers are
//! registered in the group.
//!
//! What it keeps true: a message is given to one caller, and is not lost when that caller goes away before it was committed. Callers
//! of one member take and commit in turn, so that its cursor never passes a message that was not delivered and never goes back. A
//! member joins at the first consume and leaves when nobody consumed for a while; there is a bounded number of them, and the one
//! that was idle longest makes room.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use client::{ClientError, ErrorKind, GroupReader, GroupRecord};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::refusal::Refusal;
use crate::backend::Backend;

/// Each member has threads and connections of its own.
const MOST: usize = 128;
/// How long a member stays that nobody reads with.
const IDLE_LIMIT: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long a consume waits for its member to be given partitions.
const JOIN_LIMIT: Duration = Duration::from_secs(20);
/// A member that has only just joined has still to find its place: a shorter wait would miss what is there.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// A fetch takes its time also when nobody wants to wait.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// Which group reads which topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    group: String,
    topic: String,
}

#[derive(Clone)]
struct Member {
    reader: GroupReader,
    turn: Arc<Turn>,
    /// Callers that read with it now, and when the last one began or ended.
    users: usize,
    used_at: Instant,
    has_read: bool,
}

/// The members of this process; clones are handles to the same.
#[derive(Clone, Default)]
pub struct Members(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    members: HashMap<Key, Member>,
    /// Whether a task looks for idle ones.
    is_watched: bool,
}

/// Held from taking messages to their commit.
type Turn = tokio::sync::Mutex<()>;

/// Messages that were taken and are not committed: dropping them gives them back, so that another caller gets them.
pub struct Taken {
    reader: GroupReader,
    records: Vec<GroupRecord>,
}

impl Members {
    /// At most `max` messages of a topic for one consumer of a group, committed: nobody of the group gets them again.
    ///
    /// Empty when there is none within `wait`. The first call of a group may take longer, until partitions are assigned.
    ///
    /// # Errors
    /// The cluster does not answer; every member is in use.
    pub async fn consume(
        &self,
        backend: &Backend,
        group: &str,
        topic: &str,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<GroupRecord>, Refusal> {
        let user = self.join(backend, group, topic)?;
        let wait = user.patience(wait);
        let Ok(_turn) = timeout(wait.max(user.join_limit()), user.turn.lock()).await else {
            return Ok(Vec::new());
        };
        let deadline = Instant::now() + JOIN_LIMIT;
        loop {
            let taken = user.take(max, wait, deadline).await?;
            match taken.commit().await {
                Ok(records) => return Ok(records),
                // The partition went to another member meanwhile, which reads the same again.
                Err(error) if error.kind() == ErrorKind::Conflict && Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends the members of a group, so that it can be deleted.
    pub async fn leave_group(&self, group: &str) {
        self.leave_where(|key, _| key.group == group).await;
    }

    /// Ends the members that read a topic.
    pub async fn leave_topic(&self, topic: &str) {
        self.leave_where(|key, _| key.topic == topic).await;
    }

    fn join(&self, backend: &Backend, group: &str, topic: &str) -> Result<User<'_>, Refusal> {
        let key = Key {
            group: group.to_owned(),
            topic: topic.to_owned(),
        };
        let mut state = self.0.lock();
        if !state.is_watched {
            state.is_watched = true;
            tokio::spawn(leave_idle(Arc::downgrade(&self.0)));
        }
        let members = &mut state.members;
        let now = Instant::now();
        if !members.contains_key(&key) {
            let left = make_room(members)?;
            if let Some(left) = left {
                tokio::spawn(left.reader.leave());
            }
            let reader = backend.cluster().group_reader(group, &[topic], &[])?;
            let member = Member {
                reader,
                turn: Arc::default(),
                users: 0,
                used_at: now,
                has_read: false,
            };
            members.insert(key.clone(), member);
        }
        let member = members.get_mut(&key).expect("it is there or was put there");
        member.users += 1;
        member.used_at = now;
        Ok(User {
            members: self,
            reader: member.reader.clone(),
            turn: Arc::clone(&member.turn),
            has_read: member.has_read,
            key,
        })
    }

    async fn leave_where(&self, goes: impl Fn(&Key, &Member) -> bool) {
        leave_where(&self.0, goes).await;
    }
}

async fn leave_where(state: &Mutex<State>, goes: impl Fn(&Key, &Member) -> bool) {
    let gone: Vec<Member> = {
        let members = &mut state.lock().members;
        let keys: Vec<Key> = members
            .iter()
            .filter(|(key, member)| goes(key, member))
            .map(|(key, _)| key.clone())
            .collect();
        keys.iter().filter_map(|key| members.remove(key)).collect()
    };
    for member in gone {
        member.reader.leave().await;
    }
}

/// The member that was idle longest when there is no room; refused when all are in use.
fn make_room(members: &mut HashMap<Key, Member>) -> Result<Option<Member>, Refusal> {
    if members.len() < MOST {
        return Ok(None);
    }
    let idle = members.iter().filter(|(_, member)| member.users == 0);
    let oldest = idle.min_by_key(|(_, member)| member.used_at);
    let Some(key) = oldest.map(|(key, _)| key.clone()) else {
        let error = format!(
            "{MOST} groups and topics are being read at once, which is the most; try again soon"
        );
        return Err(Refusal::Domain(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            error,
        ));
    };
    Ok(members.remove(&key))
}

/// Ends idle members for as long as there are any; the next join starts it again.
async fn leave_idle(state: Weak<Mutex<State>>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(state) = state.upgrade() else {
            return;
        };
        let now = Instant::now();
        leave_where(&state, |_, member| {
            member.users == 0 && now.duration_since(member.used_at) >= IDLE_LIMIT
        })
        .await;
        let mut state = state.lock();
        if state.members.is_empty() {
            state.is_watched = false;
            return;
        }
    }
}

/// One caller's hold on a member.
struct User<'a> {
    members: &'a Members,
    reader: GroupReader,
    turn: Arc<Turn>,
    has_read: bool,
    key: Key,
}

impl User<'_> {
    /// How long to wait for a message.
    fn patience(&self, wait: Duration) -> Duration {
        match self.has_read {
            true => wait.max(SHORTEST_WAIT),
            false => wait.max(FIRST_WAIT),
        }
    }

    /// How long to wait for the first caller, who waits for the assignment.
    fn join_limit(&self) -> Duration {
        match self.has_read {
            true => Duration::ZERO,
            false => JOIN_LIMIT,
        }
    }

    async fn take(
        &self,
        max: usize,
        wait: Duration,
        deadline: Instant,
    ) -> Result<Taken, ClientError> {
        loop {
            match self.reader.take(max, wait).await {
                Ok(records) => {
                    self.note_read();
                    let reader = self.reader.clone();
                    return Ok(Taken { reader, records });
                }
                // Not yet assigned.
                Err(error) if error.kind() == ErrorKind::TimedOut && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn note_read(&self) {
        if let Some(member) = self.members.0.lock().members.get_mut(&self.key) {
            member.has_read = true;
        }
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        if let Some(member) = self.members.0.lock().members.get_mut(&self.key) {
            member.users = member.users.saturating_sub(1);
            member.used_at = Instant::now();
        }
    }
}

impl Taken {
    async fn commit(mut self) -> Result<Vec<GroupRecord>, ClientError> {
        if !self.records.is_empty() {
            self.reader.commit(&self.records).await?;
        }
        Ok(std::mem::take(&mut self.records))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.records.is_empty() {
            self.reader.give_back(&self.records);
        }
    }
}
