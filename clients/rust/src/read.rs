//! Reads exactly the records of a time range, on either clock.

use std::error::Error;

use serde_json::json;
use tonic::transport::Channel;

use crate::MESSAGE_BYTES_MAX;
use crate::events::{say, say_record, timestamp};
use crate::tidelog::log_service_client::LogServiceClient;
use crate::tidelog::subscribe_response::Event;
use crate::tidelog::time_range::{End, Start};
use crate::tidelog::{Clock, SubscribeRequest, TimeRange};

/// Returns the clock of a name.
pub fn clock(name: &str) -> Result<Clock, Box<dyn Error>> {
    match name {
        "event" => Ok(Clock::Event),
        "append" => Ok(Clock::Append),
        _ => Err(format!("no clock {name:?}: event or append").into()),
    }
}

/// Prints the records with start <= time < end; the call ends by itself.
pub async fn read(
    channel: Channel,
    topic: &str,
    clock: Clock,
    start_ms: i64,
    end_ms: i64,
) -> Result<(), Box<dyn Error>> {
    let mut log = LogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let range = TimeRange {
        clock: clock.into(),
        start: Some(Start::StartTime(timestamp(start_ms))),
        end: Some(End::EndTime(timestamp(end_ms))),
    };
    let request = SubscribeRequest {
        topics: vec![topic.into()],
        range: Some(range),
        ..SubscribeRequest::default()
    };
    let mut responses = log.subscribe(request).await?.into_inner();
    let mut count = 0;
    while let Some(response) = responses.message().await? {
        match response.event {
            Some(Event::Records(records)) => {
                for step in &records.partitions {
                    let partition = step.next.as_ref().map_or(0, |next| next.partition);
                    for batch in &step.batches {
                        for record in &batch.records {
                            say_record(partition, batch, record);
                            count += 1;
                        }
                    }
                }
            }
            // Retention was faster.
            Some(Event::Gap(gap)) => {
                say(
                    "gap",
                    json!({ "expected": gap.expected_offset, "next": gap.next_offset }),
                );
            }
            _ => {} // `opened` tells the bounds; `caught_up` is of no interest here
        }
    }
    say("end", json!({ "records": count }));
    Ok(())
}
