package client;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.protobuf.ByteString;
import com.google.protobuf.util.Timestamps;
import java.util.LinkedHashMap;
import java.util.Map;
import tidelog.v1.Common.Record;
import tidelog.v1.Common.RecordBatch;
import tidelog.v1.Common.RecordError;

/** What happened, as one line of JSON an event on standard output. */
final class Events {
  private static final Gson JSON =
      new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

  private Events() {}

  /** Print an event: its name, then names and values in turn. */
  static void say(String event, Object... told) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("event", event);
    for (int i = 0; i < told.length; i += 2) {
      line.put((String) told[i], told[i + 1]);
    }
    System.out.println(JSON.toJson(line));
  }

  /** Print a record; its append time is the batch's. */
  static void sayRecord(int partition, RecordBatch batch, Record record) {
    say(
        "record",
        "partition", partition,
        "offset", record.getOffset(),
        "timestamp_ms", record.hasTimestampMs() ? record.getTimestampMs() : null,
        "append_time_ms", Timestamps.toMillis(batch.getAppendTime()),
        "key", record.hasKey() ? text(record.getKey()) : null,
        "value", record.hasValue() ? text(record.getValue()) : null);
  }

  /** Print why one row of an answer was refused; the call itself went well. */
  static void sayRowError(int partition, RecordError error) {
    say(
        "row_error",
        "partition", partition,
        "reason", error.getReason(),
        "outcome", error.getOutcome().name(),
        "retryable", error.getRetryable(),
        "message", error.getMessage());
  }

  private static String text(ByteString bytes) {
    return bytes.toStringUtf8();
  }
}
