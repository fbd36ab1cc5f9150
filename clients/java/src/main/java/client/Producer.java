package client;

import com.google.protobuf.ByteString;
import com.google.protobuf.util.Timestamps;
import io.grpc.Channel;
import io.grpc.StatusRuntimeException;
import java.io.BufferedReader;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import tidelog.v1.Common.ProducerId;
import tidelog.v1.Common.Record;
import tidelog.v1.Common.RecordError;
import tidelog.v1.LogServiceGrpc;
import tidelog.v1.LogServiceOuterClass.Acks;
import tidelog.v1.LogServiceOuterClass.InitProducerRequest;
import tidelog.v1.LogServiceOuterClass.ProduceBatch;
import tidelog.v1.LogServiceOuterClass.ProduceRequest;
import tidelog.v1.LogServiceOuterClass.ProduceResponse;
import tidelog.v1.LogServiceOuterClass.ProduceResult;
import tidelog.v1.LogServiceOuterClass.ProducerStamp;

/** Appends lines, each once, however often an answer is lost. */
final class Producer {
  private static final int LINES_PER_REQUEST = 60;
  private static final int CALL_S = 10;
  private static final int PAUSE_MS = 200;
  private static final int ATTEMPTS_MAX = 50;

  private final LogServiceGrpc.LogServiceBlockingStub log;
  private final String topic;

  /** Sequence of the next record, for each partition; 31 bits wide, after the last one comes 0. */
  private final Map<Integer, Integer> sequences = new HashMap<>();

  private ProducerId id;

  Producer(Channel channel, String topic) {
    this.log = LogServiceGrpc.newBlockingStub(channel);
    this.topic = topic;
  }

  /** Send lines of {@code PARTITION TIME_MS KEY VALUE}, with tabs between, a request at a time. */
  void send(BufferedReader lines) throws IOException, InterruptedException {
    // Asked for twice it is another producer: nothing is lost by that.
    InitProducerRequest init = InitProducerRequest.getDefaultInstance();
    id = untilAnswered(() -> stub().initProducer(init), none -> Optional.empty()).response()
        .getProducer();
    Events.say("producer", "id", id.getId(), "epoch", id.getEpoch());
    List<String> run = new ArrayList<>();
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      run.add(line);
      if (run.size() == LINES_PER_REQUEST) {
        append(stamped(run));
        run.clear();
      }
    }
    if (!run.isEmpty()) {
      append(stamped(run));
    }
  }

  private void append(ProduceRequest request) throws InterruptedException {
    Answer<ProduceResponse> answer =
        untilAnswered(() -> stub().produce(request), Producer::retryableRow);
    for (int row = 0; row < request.getBatchesCount(); row++) {
      ProduceBatch batch = request.getBatches(row);
      ProduceResult result = answer.response().getResults(row);
      if (result.hasError()) {
        Events.sayRowError(batch.getPartition(), result.getError());
        throw new IllegalStateException("a batch was refused: " + result.getError().getReason());
      }
      Events.say(
          "produced",
          "partition", result.getPartition(),
          "base_offset", result.getBaseOffset(),
          "records", batch.getRecordsCount(),
          "append_time_ms", Timestamps.toMillis(result.getAppendTime()),
          "duplicate", result.getDuplicate(),
          "attempts", answer.attempts());
    }
  }

  /** Returns a request with a batch for each partition; its stamps make it safe to repeat. */
  private ProduceRequest stamped(List<String> lines) {
    Map<Integer, ProduceBatch.Builder> batches = new LinkedHashMap<>();
    for (String line : lines) {
      Line taken = Line.parsed(line);
      batches.computeIfAbsent(taken.partition(), this::batch).addRecords(taken.record());
    }
    ProduceRequest.Builder request = ProduceRequest.newBuilder().setAcks(Acks.ACKS_ALL);
    batches.forEach(
        (partition, batch) -> {
          request.addBatches(batch);
          int next = batch.getProducer().getBaseSequence() + batch.getRecordsCount();
          sequences.put(partition, next & Integer.MAX_VALUE);
        });
    return request.build();
  }

  /** What a line says. */
  private record Line(int partition, Record record) {
    /**
     * Takes a line apart.
     *
     * @throws Malformed it is none
     */
    static Line parsed(String line) {
      String[] words = line.split("\t", -1);
      if (words.length != 4) {
        throw new Malformed(line);
      }
      try {
        Record.Builder record =
            Record.newBuilder()
                .setTimestampMs(Long.parseLong(words[1]))
                .setKey(ByteString.copyFromUtf8(words[2]))
                .setValue(ByteString.copyFromUtf8(words[3]));
        return new Line(Integer.parseInt(words[0]), record.build());
      } catch (NumberFormatException none) {
        throw new Malformed(line);
      }
    }
  }

  /** A line of the input that cannot be sent. */
  static final class Malformed extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private Malformed(String line) {
      super("not PARTITION TIME_MS KEY VALUE: \"" + line + '"');
    }
  }

  private ProduceBatch.Builder batch(int partition) {
    int sequence = sequences.getOrDefault(partition, 0);
    return ProduceBatch.newBuilder()
        .setTopic(topic)
        .setPartition(partition)
        .setProducer(ProducerStamp.newBuilder().setProducer(id).setBaseSequence(sequence));
  }

  private LogServiceGrpc.LogServiceBlockingStub stub() {
    return log.withDeadlineAfter(CALL_S, TimeUnit.SECONDS);
  }

  /** An answer, and how often the request was sent. */
  private record Answer<T>(T response, int attempts) {}

  /** One attempt. */
  private interface Call<T> {
    T send() throws StatusRuntimeException;
  }

  /**
   * Sends the very same request until there is an answer that a repetition would not change.
   *
   * <p>A stamped batch that the log has already is answered with its first offset and {@code
   * duplicate}: so a lost answer, an expired deadline and a row that may succeed later are all
   * repeated.
   */
  private static <T> Answer<T> untilAnswered(
      Call<T> call, Function<T, Optional<RecordError>> retryableRow) throws InterruptedException {
    for (int attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      try {
        T response = call.send();
        Optional<RecordError> waits = retryableRow.apply(response);
        if (waits.isEmpty()) {
          return new Answer<>(response, attempt);
        }
        Events.say("retry", "status", "OK", "reason", waits.get().getReason());
      } catch (StatusRuntimeException error) {
        Optional<Refusal> refusal = Refusal.of(error);
        if (refusal.isPresent()
            && !refusal.get().retryable()
            && !refusal.get().outcome().equals("UNKNOWN")) {
          throw error;
        }
        Refusal.sayStatus("retry", error);
      }
      Thread.sleep(PAUSE_MS);
    }
    throw new IllegalStateException("no answer after " + ATTEMPTS_MAX + " attempts");
  }

  private static Optional<RecordError> retryableRow(ProduceResponse response) {
    return response.getResultsList().stream()
        .map(ProduceResult::getError)
        .filter(RecordError::getRetryable)
        .findFirst();
  }
}
