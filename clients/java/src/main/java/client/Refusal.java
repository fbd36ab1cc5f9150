package client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.Status;
import io.grpc.protobuf.StatusProto;
import java.util.Optional;

/**
 * A node's own words on why it refused a call; docs/reference/errors.md lists the reasons.
 *
 * @param outcome DONE, NOT_DONE or UNKNOWN: what became of the request
 * @param retryable the same request, unchanged, may succeed later
 */
record Refusal(String reason, String outcome, boolean retryable) {

  /**
   * Returns the ErrorInfo that every refusal of a node carries in its status; empty: no node said
   * it, the connection or the deadline failed.
   */
  static Optional<Refusal> of(Throwable error) {
    Status status = StatusProto.fromThrowable(error);
    if (status == null) {
      return Optional.empty();
    }
    for (Any detail : status.getDetailsList()) {
      if (!detail.is(ErrorInfo.class)) {
        continue;
      }
      try {
        ErrorInfo info = detail.unpack(ErrorInfo.class);
        if (info.getDomain().equals("tidelog")) {
          String outcome = info.getMetadataOrDefault("outcome", "UNKNOWN");
          boolean retryable = info.getMetadataOrDefault("retryable", "").equals("true");
          return Optional.of(new Refusal(info.getReason(), outcome, retryable));
        }
      } catch (InvalidProtocolBufferException malformed) {
        return Optional.empty(); // not a node's
      }
    }
    return Optional.empty();
  }

  /** Print why a whole call failed. */
  static void sayError(Throwable error) {
    Optional<Refusal> refusal = of(error);
    io.grpc.Status status = io.grpc.Status.fromThrowable(error);
    Events.say(
        "error",
        "status", status.getCode().name(),
        "reason", refusal.map(Refusal::reason).orElse(null),
        "outcome", refusal.map(Refusal::outcome).orElse("UNKNOWN"),
        "retryable", refusal.map(Refusal::retryable).orElse(false),
        "message", status.getDescription());
  }

  /** Print an event that a call's failure is the cause of. */
  static void sayStatus(String event, Throwable error) {
    Events.say(
        event,
        "status", io.grpc.Status.fromThrowable(error).getCode().name(),
        "reason", of(error).map(Refusal::reason).orElse(null));
  }
}
