//! `GET /openapi.json`: the OpenAPI 3.1 document of every route, made from the handlers themselves.
//!
//! Each router brings the descriptions of its own routes; here they get what is true of all of them: the answer for any other
//! error, the headers of every answer, the tags. `docs/reference` has a copy of it, with what is made from it; a test compares.

mod http_file;
mod postman;
mod samples;

use utoipa::openapi::path::Operation;
use utoipa::openapi::{
    ContentBuilder, Header, HeaderBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem,
    Ref, Response, ResponseBuilder, Server, Tag,
};

use crate::{legacy, problem};

const TITLE: &str = "Thalweg";
const ABOUT: &str = "Event streaming over HTTP, on the embedded broker or on any Kafka cluster. `/v1` is the API for new programs; \
    `/api` is that of the documents, unchanged. Errors of `/v1` are RFC 9457 problems whose `type` is a page of this server.";

/// The tags in the order in which they are shown; the legacy API's controllers follow.
const TAGS: &[(&str, &str)] = &[
    ("Topics", "Named logs of records, in partitions"),
    ("Records", "Produce, read, follow live"),
    (
        "Groups",
        "Consumer groups: members, offsets, lag; work queues",
    ),
    ("Cluster", "The cluster and its brokers"),
    ("Hybrid", "What is forwarded to Kafka, and how far that is"),
    (
        "Lab",
        "Guided runs: partitions, keys, order, rebalancing, offset semantics",
    ),
];

/// The document, the requests for editors and the Postman collection, by the names of their files.
pub fn reference(document: &OpenApi) -> Vec<(&'static str, String)> {
    let json = document.to_pretty_json().expect("the document is JSON");
    let parsed = serde_json::from_str(&json).expect("just written");
    vec![
        ("thalweg.http", http_file::requests(&parsed)),
        (
            "thalweg.postman_collection.json",
            postman::collection(&parsed),
        ),
        ("openapi.json", json + "\n"),
    ]
}

/// Adds to the routes' own descriptions what is true of all.
pub fn complete(mut routes: OpenApi) -> OpenApi {
    let info = InfoBuilder::new()
        .title(TITLE)
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(License::new("Apache-2.0")));
    for (path, item) in &mut routes.paths.paths {
        let is_ours = path.starts_with("/v1/");
        operations(item)
            .filter(|_| is_ours)
            .for_each(complete_operation);
    }
    let mut document = OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([Server::new("/")]))
        .tags(Some(tags()))
        .paths(std::mem::take(&mut routes.paths))
        .build();
    document.components = routes.components;
    document
}

fn tags() -> Vec<Tag> {
    let tag = |(name, about): &(&str, &str)| {
        let mut tag = Tag::new(*name);
        tag.description = Some((*about).to_owned());
        tag
    };
    TAGS.iter().chain(legacy::CONTROLLERS).map(tag).collect()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ];
    all.into_iter().flatten()
}

fn complete_operation(operation: &mut Operation) {
    let any_error = ResponseBuilder::new()
        .description("Any other error")
        .content(
            problem::MEDIA_TYPE,
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("ProblemBody")))
                .build(),
        )
        .build();
    let responses = &mut operation.responses.responses;
    responses
        .entry("default".to_owned())
        .or_insert(any_error.into());
    for response in responses.values_mut() {
        if let utoipa::openapi::RefOr::T(response) = response {
            add_request_id(response);
        }
    }
}

fn add_request_id(response: &mut Response) {
    let about = Some("Names this request in logs");
    let header = HeaderBuilder::from(Header::default()).description(about);
    response
        .headers
        .insert("X-Request-Id".to_owned(), header.build().into());
}
