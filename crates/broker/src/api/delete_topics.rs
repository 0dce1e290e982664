//! DeleteTopics, key 20, v1–6: deletes topics, their records and the offsets that groups have in them.
//! v4 flexible · v5 error messages · v6 by id. Rules: broker_state::topics.

use broker_state::topics::{Command, Reply, TopicDeletion, TopicRef};
use wire::delete_topics::{Request, Response, TopicResult};
use wire::{ApiKey, ErrorCode, Uuid};

use super::{Api, Call};
use crate::connection::Connection;

pub const API: Api = Api::all(ApiKey::DeleteTopics, 1, 6);

/// Since this version topics can be named by their ids.
const BY_ID: i16 = 6;

pub async fn handle(
    connection: &Connection,
    request: Request<'_>,
    call: &Call<'_>,
) -> Response<'static> {
    let topics: Vec<TopicRef> = if call.header.api_version >= BY_ID {
        let topic = |topic: &wire::delete_topics::TopicState<'_>| TopicRef {
            name: topic.name.map(str::to_owned),
            id: topic.topic_id,
        };
        request.topics.iter().map(topic).collect()
    } else {
        request
            .topic_names
            .iter()
            .map(|name| TopicRef {
                name: Some((*name).to_owned()),
                id: Uuid::ZERO,
            })
            .collect()
    };
    let command = Command::DeleteTopics {
        topics: topics.clone(),
    };
    let responses = match connection.core.controller.ask(command).await {
        Some(Reply::TopicsDeleted(deleted)) => deleted.into_iter().map(respond).collect(),
        _ => topics.into_iter().map(unavailable).collect(),
    };
    Response {
        responses,
        ..Response::default()
    }
}

fn respond(deletion: TopicDeletion) -> TopicResult<'static> {
    let refusal = deletion.result.err();
    TopicResult {
        name: deletion.name.map(Into::into),
        topic_id: deletion.id,
        error_code: refusal
            .as_ref()
            .map_or(ErrorCode::None, |refusal| refusal.error)
            .code(),
        error_message: refusal.map(|refusal| refusal.message.into()),
    }
}

fn unavailable(topic: TopicRef) -> TopicResult<'static> {
    TopicResult {
        name: topic.name.map(Into::into),
        topic_id: topic.id,
        error_code: ErrorCode::NotController.code(),
        error_message: Some("the broker is stopping".into()),
    }
}
