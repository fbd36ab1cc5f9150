package client;

import com.google.protobuf.ByteString;
import io.grpc.Channel;
import io.grpc.StatusRuntimeException;
import java.util.List;
import java.util.concurrent.TimeUnit;
import tidelog.v1.Common.Record;
import tidelog.v1.LogServiceGrpc;
import tidelog.v1.LogServiceOuterClass.ProduceBatch;
import tidelog.v1.LogServiceOuterClass.ProduceRequest;
import tidelog.v1.LogServiceOuterClass.ProduceResponse;
import tidelog.v1.LogServiceOuterClass.ProduceResult;
import tidelog.v1.TopicServiceGrpc;
import tidelog.v1.TopicServiceOuterClass.GetTopicRequest;

/** Fails in both ways: one row of an answer, and a whole call. */
final class Failures {
  private static final int NO_SUCH_PARTITION = 99;
  private static final int CALL_S = 10;

  private Failures() {}

  /** Append to three partitions, one of which does not exist; describe a topic that does not. */
  static void meet(Channel channel, String topic) {
    oneRow(channel, topic);
    wholeCall(channel, topic + "-that-does-not-exist");
  }

  /** A call that goes well tells of each batch by itself: look at every row. */
  private static void oneRow(Channel channel, String topic) {
    ProduceRequest.Builder request = ProduceRequest.newBuilder();
    for (int partition : List.of(0, NO_SUCH_PARTITION, 1)) {
      ByteString value = ByteString.copyFromUtf8("for partition " + partition);
      request.addBatches(
          ProduceBatch.newBuilder()
              .setTopic(topic)
              .setPartition(partition)
              .addRecords(Record.newBuilder().setValue(value)));
    }
    ProduceResponse response =
        LogServiceGrpc.newBlockingStub(channel)
            .withDeadlineAfter(CALL_S, TimeUnit.SECONDS)
            .produce(request.build());
    for (int row = 0; row < request.getBatchesCount(); row++) {
      ProduceResult result = response.getResults(row);
      if (result.hasError()) {
        Events.sayRowError(request.getBatches(row).getPartition(), result.getError());
      } else {
        Events.say(
            "row", "partition", result.getPartition(), "base_offset", result.getBaseOffset());
      }
    }
  }

  /** A call that fails carries an ErrorInfo in its status: decide by it, not by the text. */
  private static void wholeCall(Channel channel, String topic) {
    try {
      TopicServiceGrpc.newBlockingStub(channel)
          .withDeadlineAfter(CALL_S, TimeUnit.SECONDS)
          .getTopic(GetTopicRequest.newBuilder().setName(topic).build());
    } catch (StatusRuntimeException error) {
      Refusal.sayError(error);
    }
  }
}
