//! Fails in both ways: one row of an answer, and a whole call.

use std::error::Error;

use serde_json::json;
use tonic::transport::Channel;

use crate::events::{say, say_row_error};
use crate::produce::timed;
use crate::refusal::say_error;
use crate::tidelog::log_service_client::LogServiceClient;
use crate::tidelog::topic_service_client::TopicServiceClient;
use crate::tidelog::{GetTopicRequest, ProduceBatch, ProduceRequest, Record};

const NO_SUCH_PARTITION: i32 = 99;

/// Appends to three partitions, one of which does not exist; describes a topic that does not.
pub async fn fail(channel: Channel, topic: &str) -> Result<(), Box<dyn Error>> {
    one_row(channel.clone(), topic).await?;
    whole_call(channel, format!("{topic}-that-does-not-exist")).await;
    Ok(())
}

/// A call that goes well tells of each batch by itself: look at every row.
async fn one_row(channel: Channel, topic: &str) -> Result<(), Box<dyn Error>> {
    let batch = |partition| {
        let value = format!("for partition {partition}").into_bytes();
        ProduceBatch {
            topic: topic.into(),
            partition: Some(partition),
            records: vec![Record {
                value: Some(value),
                ..Record::default()
            }],
            ..ProduceBatch::default()
        }
    };
    let batches: Vec<_> = [0, NO_SUCH_PARTITION, 1].map(batch).into();
    let request = ProduceRequest {
        batches: batches.clone(),
        ..ProduceRequest::default()
    };
    let response = LogServiceClient::new(channel)
        .produce(timed(request))
        .await?;
    for (batch, result) in batches.iter().zip(response.into_inner().results) {
        match result.error {
            Some(error) => say_row_error(batch.partition(), &error),
            None => {
                let (partition, base_offset) = (result.partition, result.base_offset);
                say(
                    "row",
                    json!({ "partition": partition, "base_offset": base_offset }),
                );
            }
        }
    }
    Ok(())
}

/// A call that fails carries an ErrorInfo in its status: decide by it, not by the text.
async fn whole_call(channel: Channel, name: String) {
    let request = timed(GetTopicRequest { name });
    if let Err(status) = TopicServiceClient::new(channel).get_topic(request).await {
        say_error(&status);
    }
}
