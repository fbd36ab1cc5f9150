package client;

import com.google.protobuf.util.Timestamps;
import io.grpc.Channel;
import java.util.Iterator;
import tidelog.v1.Common.Clock;
import tidelog.v1.Common.PartitionRecords;
import tidelog.v1.Common.Record;
import tidelog.v1.Common.RecordBatch;
import tidelog.v1.Common.TimeRange;
import tidelog.v1.LogServiceGrpc;
import tidelog.v1.LogServiceOuterClass.SubscribeRequest;
import tidelog.v1.LogServiceOuterClass.SubscribeResponse;

/** Reads exactly the records of a time range, on either clock. */
final class Ranges {
  private Ranges() {}

  /** Returns the clock of a name, {@code event} or {@code append}. */
  static Clock clock(String name) {
    return switch (name) {
      case "event" -> Clock.CLOCK_EVENT;
      case "append" -> Clock.CLOCK_APPEND;
      default -> throw new IllegalArgumentException("no clock " + name + ": event or append");
    };
  }

  /** Print the records with start <= time < end; the call ends by itself. */
  static void read(Channel channel, String topic, Clock clock, long startMs, long endMs) {
    TimeRange.Builder range =
        TimeRange.newBuilder()
            .setClock(clock)
            .setStartTime(Timestamps.fromMillis(startMs))
            .setEndTime(Timestamps.fromMillis(endMs));
    SubscribeRequest request =
        SubscribeRequest.newBuilder().addTopics(topic).setRange(range).build();
    Iterator<SubscribeResponse> responses =
        LogServiceGrpc.newBlockingStub(channel).subscribe(request);
    int count = 0;
    while (responses.hasNext()) {
      SubscribeResponse response = responses.next();
      switch (response.getEventCase()) {
        case RECORDS -> {
          for (PartitionRecords step : response.getRecords().getPartitionsList()) {
            for (RecordBatch batch : step.getBatchesList()) {
              for (Record record : batch.getRecordsList()) {
                Events.sayRecord(step.getNext().getPartition(), batch, record);
                count++;
              }
            }
          }
        }
        case GAP -> // retention was faster
            Events.say(
                "gap",
                "expected", response.getGap().getExpectedOffset(),
                "next", response.getGap().getNextOffset());
        default -> {} // `opened` tells the bounds; `caught_up` is of no interest here
      }
    }
    Events.say("end", "records", count);
  }
}
