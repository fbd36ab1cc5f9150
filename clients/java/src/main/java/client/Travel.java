package client;

import com.google.protobuf.util.Timestamps;
import io.grpc.Channel;
import java.util.concurrent.TimeUnit;
import tidelog.v1.Common.Clock;
import tidelog.v1.Common.Seek;
import tidelog.v1.ConsumerGroupServiceGrpc;
import tidelog.v1.GroupService.SeekOffsetsRequest;
import tidelog.v1.GroupService.SeekOffsetsResponse;

/** Sends a whole group to a moment, also while its members are at work. */
final class Travel {
  private Travel() {}

  /**
   * Print the plan, carry it out, and print what was done, in all partitions or in none. Members
   * are fenced by it and join anew by themselves.
   */
  static void seek(Channel channel, String group, String topic, Clock clock, long timeMs) {
    ConsumerGroupServiceGrpc.ConsumerGroupServiceBlockingStub groups =
        ConsumerGroupServiceGrpc.newBlockingStub(channel).withDeadlineAfter(20, TimeUnit.SECONDS);
    Seek moment =
        Seek.newBuilder().setTime(Timestamps.fromMillis(timeMs)).setClock(clock).build();
    SeekOffsetsRequest request =
        SeekOffsetsRequest.newBuilder()
            .setGroup(group)
            .addTopics(topic)
            .setSeek(moment)
            .setForce(true)
            .build();
    sayChanges("planned", groups.seekOffsets(request.toBuilder().setValidateOnly(true).build()));
    SeekOffsetsResponse done = groups.seekOffsets(request);
    sayChanges("sought", done);
    Events.say(
        "seek", "group_epoch", done.getGroupEpoch(), "member_count", done.getMemberCount());
  }

  private static void sayChanges(String event, SeekOffsetsResponse response) {
    for (SeekOffsetsResponse.Change change : response.getChangesList()) {
      int partition = change.getPartition().getPartition();
      if (change.hasError()) {
        Events.sayRowError(partition, change.getError());
        continue;
      }
      Events.say(
          event,
          "partition", partition,
          "before", change.hasBefore() ? change.getBefore() : null,
          "after", change.getAfter(),
          "redelivered", change.getRedelivered(),
          "skipped", change.getSkipped(),
          "truncated", change.getTruncated());
    }
  }
}
