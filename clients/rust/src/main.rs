//! A client of Tidelog, from its proto files alone. README.md says how to run it.

mod consume;
mod events;
mod fail;
mod produce;
mod read;
mod refusal;
mod seek;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// What the proto files say, as Rust.
#[allow(clippy::all)]
pub mod tidelog {
    tonic::include_proto!("tidelog.v1");
}

const USAGE: &str = "\
usage: client ADDRESS COMMAND
  produce TOPIC                      append the lines of standard input
  read TOPIC CLOCK START_MS END_MS   read a time range
  consume GROUP TOPIC                be a member of a group until SIGTERM
  seek GROUP TOPIC CLOCK TIME_MS     send the group to a moment
  fail TOPIC                         see a partial failure and a whole one
CLOCK is event or append.";

/// Messages hold up to 3 MiB of records; this leaves room around them.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
        Err(error) if error.is::<produce::Malformed>() => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) => {
            match error.downcast_ref::<Status>() {
                Some(status) => refusal::say_error(status),
                None => eprintln!("{error}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Does one thing; false: the command line names none.
async fn run(words: &[&str]) -> Result<bool, Box<dyn Error>> {
    match *words {
        [address, "produce", topic] => produce::produce(channel(address)?, topic).await?,
        [address, "read", topic, clock, start, end] => {
            let (start_ms, end_ms) = (start.parse()?, end.parse()?);
            read::read(
                channel(address)?,
                topic,
                read::clock(clock)?,
                start_ms,
                end_ms,
            )
            .await?;
        }
        [address, "consume", group, topic] => {
            consume::Member::new(channel(address)?, group, topic)
                .live()
                .await?;
        }
        [address, "seek", group, topic, clock, time] => {
            let time_ms = time.parse()?;
            seek::seek(
                channel(address)?,
                group,
                topic,
                read::clock(clock)?,
                time_ms,
            )
            .await?;
        }
        [address, "fail", topic] => fail::fail(channel(address)?, topic).await?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Returns a channel that connects at the first call, and again whenever a call finds it broken.
fn channel(address: &str) -> Result<Channel, Box<dyn Error>> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_lazy())
}
