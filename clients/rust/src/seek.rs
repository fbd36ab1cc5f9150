//! Sends a whole group to a moment, also while its members are at work.

use std::error::Error;

use serde_json::json;
use tonic::transport::Channel;

use crate::events::{say, say_row_error, timestamp};
use crate::produce::timed;
use crate::tidelog::consumer_group_service_client::ConsumerGroupServiceClient;
use crate::tidelog::seek::To;
use crate::tidelog::seek_offsets_request::Target;
use crate::tidelog::{Clock, Seek, SeekOffsetsRequest, SeekOffsetsResponse};

/// Prints the plan, carries it out, and prints what was done, in all partitions or in none. Members
/// are fenced by it and join anew by themselves.
pub async fn seek(
    channel: Channel,
    group: &str,
    topic: &str,
    clock: Clock,
    time_ms: i64,
) -> Result<(), Box<dyn Error>> {
    let mut groups = ConsumerGroupServiceClient::new(channel);
    let moment = Seek {
        to: Some(To::Time(timestamp(time_ms))),
        clock: clock.into(),
    };
    let mut request = SeekOffsetsRequest {
        group: group.into(),
        topics: vec![topic.into()],
        target: Some(Target::Seek(moment)),
        force: true,
        validate_only: true,
        ..SeekOffsetsRequest::default()
    };
    let plan = groups
        .seek_offsets(timed(request.clone()))
        .await?
        .into_inner();
    say_changes("planned", &plan);
    request.validate_only = false;
    let done = groups.seek_offsets(timed(request)).await?.into_inner();
    say_changes("sought", &done);
    let (epoch, members) = (done.group_epoch, done.member_count);
    say(
        "seek",
        json!({ "group_epoch": epoch, "member_count": members }),
    );
    Ok(())
}

fn say_changes(event: &str, response: &SeekOffsetsResponse) {
    for change in &response.changes {
        let partition = change.partition.as_ref().map_or(0, |place| place.partition);
        match &change.error {
            Some(error) => say_row_error(partition, error),
            None => say(
                event,
                json!({
                    "partition": partition,
                    "before": change.before, // null: nothing was committed
                    "after": change.after,
                    "redelivered": change.redelivered,
                    "skipped": change.skipped,
                    "truncated": change.truncated,
                }),
            ),
        }
    }
}
