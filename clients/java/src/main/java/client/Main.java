package client;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A client of Tidelog, from its proto files alone; README.md says how to run it. */
public final class Main {
  private static final String USAGE =
      """
      usage: client.Main ADDRESS COMMAND
        produce TOPIC                      append the lines of standard input
        read TOPIC CLOCK START_MS END_MS   read a time range
        consume GROUP TOPIC                be a member of a group until SIGTERM
        seek GROUP TOPIC CLOCK TIME_MS     send the group to a moment
        fail TOPIC                         see a partial failure and a whole one
      CLOCK is event or append.
      """;

  /** Messages hold up to 3 MiB of records; this leaves room around them. */
  private static final int MESSAGE_BYTES_MAX = 8 << 20;

  /** How long a member that was told to stop has for leaving. */
  private static final int LEAVE_MS = 5_000;

  private Main() {}

  public static void main(String[] arguments) throws Exception {
    System.setOut(new PrintStream(System.out, true, StandardCharsets.UTF_8));
    if (arguments.length < 2) {
      System.err.print(USAGE);
      System.exit(2);
    }
    ManagedChannel channel =
        Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create())
            .maxInboundMessageSize(MESSAGE_BYTES_MAX)
            .build();
    try {
      run(channel, arguments[1], Arrays.copyOfRange(arguments, 2, arguments.length));
    } catch (StatusException | StatusRuntimeException error) {
      Refusal.sayError(error);
      System.exit(1);
    } catch (Producer.Malformed line) {
      System.err.println(line.getMessage());
      System.exit(2);
    } finally {
      channel.shutdownNow();
    }
  }

  private static void run(ManagedChannel channel, String command, String[] words)
      throws Exception {
    switch (command + " " + words.length) {
      case "produce 1" -> {
        var input = new InputStreamReader(System.in, StandardCharsets.UTF_8);
        new Producer(channel, words[0]).send(new BufferedReader(input));
      }
      case "read 4" -> {
        long startMs = Long.parseLong(words[2]);
        long endMs = Long.parseLong(words[3]);
        Ranges.read(channel, words[0], Ranges.clock(words[1]), startMs, endMs);
      }
      case "consume 2" -> consume(new Member(channel, words[0], words[1]));
      case "seek 4" -> {
        long timeMs = Long.parseLong(words[3]);
        Travel.seek(channel, words[0], words[1], Ranges.clock(words[2]), timeMs);
      }
      case "fail 1" -> Failures.meet(channel, words[0]);
      default -> {
        System.err.print(USAGE);
        System.exit(2);
      }
    }
  }

  /** Be a member until SIGTERM or SIGINT; the process waits until it has left. */
  private static void consume(Member member) throws StatusException, InterruptedException {
    Thread working = Thread.currentThread();
    Thread leave =
        new Thread(
            () -> {
              member.leave();
              try {
                working.join(LEAVE_MS);
              } catch (InterruptedException hurry) {
                Thread.currentThread().interrupt();
              }
            });
    Runtime.getRuntime().addShutdownHook(leave);
    try {
      member.live();
    } finally {
      try {
        Runtime.getRuntime().removeShutdownHook(leave); // it would wait for this thread
      } catch (IllegalStateException stopping) {
        // it is at work, and has been waiting for us
      }
    }
  }
}
