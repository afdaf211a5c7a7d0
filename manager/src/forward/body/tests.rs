use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;

/// A body that says what is sent to it.
fn fed() -> (mpsc::Sender<Result<Frame<Bytes>, Status>>, Body) {
    let (feed, frames) = mpsc::channel(64);
    (feed, Body::new(StreamBody::new(ReceiverStream::new(frames))))
}

async fn say(feed: &mpsc::Sender<Result<Frame<Bytes>, Status>>, text: &'static str) {
    feed.send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).await.unwrap();
}

async fn hear(attempt: &mut Attempt) -> Bytes {
    attempt.frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn a_second_attempt_begins_at_the_beginning_and_ends_the_first() {
    let (feed, body) = fed();
    let replay = Replay::new(body);
    let mut first = replay.attempt().unwrap();
    say(&feed, "one").await;
    assert_eq!(hear(&mut first).await, "one");
    let mut second = replay.attempt().unwrap();
    assert!(first.frame().await.unwrap().is_err(), "two readers would share what comes");
    say(&feed, "two").await;
    assert_eq!(hear(&mut second).await, "one");
    assert_eq!(hear(&mut second).await, "two");
    let trailers = HeaderMap::from_iter([(http::header::TE, "x".parse().unwrap())]);
    feed.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
    drop(feed);
    assert_eq!(second.frame().await.unwrap().unwrap().into_trailers().unwrap(), trailers);
    let third = replay.attempt().unwrap().collect().await.unwrap();
    assert_eq!(third.trailers(), Some(&trailers));
    assert_eq!(third.to_bytes(), "onetwo");
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_sent_once() {
    let (feed, body) = fed();
    let replay = Replay::new(body);
    let mut first = replay.attempt().unwrap();
    let (chunk, mut length) = (Bytes::from(vec![7; 1 << 20]), 0);
    for _ in 0..6 {
        feed.send(Ok(Frame::data(chunk.clone()))).await.unwrap();
        length += hear(&mut first).await.len();
    }
    assert_eq!(length, 6 << 20);
    assert!(replay.0.lock().seen.is_empty());
    assert!(replay.attempt().is_none());
}

#[tokio::test]
async fn once_the_answer_has_begun_nothing_more_is_kept() {
    let (feed, body) = fed();
    let replay = Replay::new(body);
    let mut only = replay.attempt().unwrap();
    replay.settle();
    say(&feed, "one").await;
    assert_eq!(hear(&mut only).await, "one");
    assert!(replay.0.lock().seen.is_empty());
    drop(feed);
    assert!(only.frame().await.is_none());
}

#[tokio::test]
async fn an_empty_body_is_known_to_be_empty() {
    assert!(Replay::new(Body::empty()).attempt().unwrap().is_end_stream());
}

#[tokio::test]
async fn an_answer_that_is_there_is_told_even_if_leadership_has_ended() {
    let (feed, body) = fed();
    let mut answer = WhileLeading::new(body, std::future::ready(()));
    say(&feed, "done").await;
    assert_eq!(answer.frame().await.unwrap().unwrap().into_data().unwrap(), "done");
    let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
    let status = Status::from_header_map(&trailers).unwrap();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert!(status.message().contains("the leader of the swarm has changed"), "{status}");
    assert!(answer.frame().await.is_none() && answer.is_end_stream());
}

#[tokio::test]
async fn whoever_answers_here_gets_the_whole_body_whatever_was_sent_before() {
    for attempts in 0..2 {
        let (feed, body) = fed();
        let replay = Replay::new(body);
        say(&feed, "one").await;
        for _ in 0..attempts {
            assert_eq!(hear(&mut replay.attempt().unwrap()).await, "one");
        }
        let body = replay.into_body().unwrap();
        say(&feed, "two").await;
        drop(feed);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "onetwo", "after {attempts} attempts");
    }
}
