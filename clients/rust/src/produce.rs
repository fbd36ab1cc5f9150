//! Appends the lines of standard input, each once, however often an answer is lost.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::events::{milliseconds, say, say_row_error};
use crate::refusal::{Refusal, say_status};
use crate::tidelog::log_service_client::LogServiceClient;
use crate::tidelog::{
    Acks, InitProducerRequest, ProduceBatch, ProduceRequest, ProduceResponse, ProducerId,
    ProducerStamp, Record, RecordError,
};

pub const CALL: Duration = Duration::from_secs(10);
pub const PAUSE: Duration = Duration::from_millis(200);
const LINES_PER_REQUEST: usize = 60;
const ATTEMPTS_MAX: u32 = 50;
/// A sequence is 31 bits wide; after the last one comes 0.
const SEQUENCE_MASK: i32 = i32::MAX;

/// Sends lines of `PARTITION TIME_MS KEY VALUE`, with tabs between, one request at a time.
pub async fn produce(channel: Channel, topic: &str) -> Result<(), Box<dyn Error>> {
    let log = LogServiceClient::new(channel);
    // Asked for twice it is another producer: nothing is lost by that.
    let init = async || {
        log.clone()
            .init_producer(timed(InitProducerRequest::default()))
            .await
    };
    let (answer, _) = until_answered(init, |_| None).await?;
    let producer = answer.producer.ok_or("an answer without a producer")?;
    say(
        "producer",
        json!({ "id": producer.id, "epoch": producer.epoch }),
    );
    let mut sequences = HashMap::new();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let mut lines = Vec::with_capacity(LINES_PER_REQUEST);
        while lines.len() < LINES_PER_REQUEST {
            match input.next_line().await? {
                Some(line) => lines.push(line),
                None => break,
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        append(&log, stamped(topic, &lines, &producer, &mut sequences)?).await?;
    }
}

async fn append(
    log: &LogServiceClient<Channel>,
    request: ProduceRequest,
) -> Result<(), Box<dyn Error>> {
    let send = async || log.clone().produce(timed(request.clone())).await;
    let (response, attempts) = until_answered(send, retryable_row).await?;
    for (batch, result) in request.batches.iter().zip(&response.results) {
        if let Some(error) = &result.error {
            say_row_error(batch.partition(), error);
            return Err(format!("a batch was refused: {}", error.reason).into());
        }
        say(
            "produced",
            json!({
                "partition": result.partition,
                "base_offset": result.base_offset,
                "records": batch.records.len(),
                "append_time_ms": result.append_time.as_ref().map(milliseconds),
                "duplicate": result.duplicate,
                "attempts": attempts,
            }),
        );
    }
    Ok(())
}

/// Returns a request with a batch for each partition; its stamps make it safe to repeat.
fn stamped(
    topic: &str,
    lines: &[String],
    producer: &ProducerId,
    sequences: &mut HashMap<i32, i32>,
) -> Result<ProduceRequest, Malformed> {
    let mut records: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    for line in lines {
        let (partition, record) = parsed(line).ok_or_else(|| Malformed(line.clone()))?;
        records.entry(partition).or_default().push(record);
    }
    let batch = |(partition, records): (i32, Vec<Record>)| {
        let next = sequences.entry(partition).or_default();
        let base_sequence = *next;
        *next = base_sequence.wrapping_add(records.len() as i32) & SEQUENCE_MASK;
        ProduceBatch {
            topic: topic.into(),
            partition: Some(partition),
            records,
            producer: Some(ProducerStamp {
                producer: Some(*producer),
                base_sequence,
            }),
            ..ProduceBatch::default()
        }
    };
    Ok(ProduceRequest {
        batches: records.into_iter().map(batch).collect(),
        acks: Acks::All.into(),
        ..ProduceRequest::default()
    })
}

/// A line of the input that cannot be sent.
#[derive(Debug)]
pub struct Malformed(String);

impl Display for Malformed {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "not PARTITION TIME_MS KEY VALUE: {:?}", self.0)
    }
}

impl Error for Malformed {}

/// Returns the partition and the record of a line, if it has them.
fn parsed(line: &str) -> Option<(i32, Record)> {
    let [partition, time, key, value] = line.split('\t').collect::<Vec<_>>()[..] else {
        return None;
    };
    let record = Record {
        timestamp_ms: Some(time.parse().ok()?),
        key: Some(key.into()),
        value: Some(value.into()),
        ..Record::default()
    };
    Some((partition.parse().ok()?, record))
}

/// Sends the very same request until there is an answer that a repetition would not change.
///
/// A stamped batch that the log has already is answered with its first offset and `duplicate`: so a
/// lost answer, an expired deadline and a row that may succeed later are all repeated.
async fn until_answered<T>(
    mut call: impl AsyncFnMut() -> Result<Response<T>, Status>,
    retryable_row: fn(&T) -> Option<&RecordError>,
) -> Result<(T, u32), Status> {
    for attempt in 1..=ATTEMPTS_MAX {
        match call().await {
            Ok(response) => match retryable_row(response.get_ref()) {
                None => return Ok((response.into_inner(), attempt)),
                Some(waits) => say("retry", json!({ "status": "OK", "reason": waits.reason })),
            },
            Err(status) => {
                let refusal = Refusal::of(&status);
                if refusal.is_some_and(|it| !it.retryable && it.outcome != "UNKNOWN") {
                    return Err(status);
                }
                say_status("retry", &status);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Status::deadline_exceeded(format!(
        "no answer after {ATTEMPTS_MAX} attempts"
    )))
}

fn retryable_row(response: &ProduceResponse) -> Option<&RecordError> {
    let mut errors = response.results.iter().filter_map(|row| row.error.as_ref());
    errors.find(|error| error.retryable)
}

/// Returns a request that is to be answered within `CALL`.
pub fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL);
    request
}
