//! Publishing under an id that the client chose: however often a client goes away in the middle, its message is stored once.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::door::{Door, request};

const PATIENCE: Duration = Duration::from_secs(20);

fn publish(id: &str) -> Request<Body> {
    let body = json!({ "producerId": "shop", "topicName": "t", "content": "c", "id": id });
    let request =
        request("POST", "/api/messages/publish").header("content-type", "application/json");
    request.body(body.to_string().into()).expect("a request")
}

/// Publishes, and goes away when the answer is not there after so many looks.
async fn publish_and_leave(door: &Door, id: &str, looks: usize) {
    let mut asking = pin!(door.ask(publish(id)));
    for _ in 0..looks {
        let is_over =
            std::future::poll_fn(|context| Poll::Ready(asking.as_mut().poll(context).is_ready()));
        if is_over.await {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_is_stored_once_although_its_client_went_away_and_sent_it_again() {
    //
    const CLIENTS: usize = 30;
    let door = Door::open();
    door.topic("t", 1).await;
    let producer = json!({ "producerId": "shop", "name": "Shop" }).to_string();
    let registered = door.json("POST", "/api/producers", producer).await;
    assert!(registered.status.is_success(), "{}", registered.text);
    let deadline = Instant::now() + PATIENCE;
    for client in 0..CLIENTS {
        let id = format!("order-{client}");
        publish_and_leave(&door, &id, client * client).await;
        loop {
            let again = door.ask(publish(&id)).await;
            if again.status == 200 {
                break;
            }
            let is_under_way = again.status == 409 && again.text.contains("is being published");
            assert!(is_under_way && Instant::now() < deadline, "{}", again.text);
            sleep(Duration::from_millis(5)).await;
        }
    }
    let page = door
        .get("/v1/topics/t/records?from=earliest&limit=100")
        .await;
    let stored = page.expect(200).json()["records"].as_array().map(Vec::len);
    assert_eq!(stored, Some(CLIENTS));
}
