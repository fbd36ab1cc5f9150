// A client of Tidelog, from its proto files alone. README.md beside this file says how to run it.
package main

//go:generate sh generate.sh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

const usage = `usage: client ADDRESS COMMAND
  produce TOPIC                      append the lines of standard input
  read TOPIC CLOCK START_MS END_MS   read a time range
  consume GROUP TOPIC                be a member of a group until SIGTERM
  seek GROUP TOPIC CLOCK TIME_MS     send the group to a moment
  fail TOPIC                         see a partial failure and a whole one
CLOCK is event or append.
`

// messageBytesMax leaves room around the 3 MiB of records that a message holds at most.
const messageBytesMax = 8 << 20

// reconnect comes back soon: a member's place is kept for seconds only.
var reconnect = grpc.ConnectParams{
	Backoff: backoff.Config{
		BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second,
	},
	MinConnectTimeout: 5 * time.Second,
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1], os.Args[2], os.Args[3:])
	var line malformed
	switch {
	case errors.As(err, &line):
		fmt.Fprintln(os.Stderr, line)
		os.Exit(2)
	case err != nil:
		sayError(err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, command string, words []string) error {
	connection, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(reconnect),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)))
	if err != nil {
		return err
	}
	defer connection.Close()
	switch {
	case command == "produce" && len(words) == 1:
		return produce(ctx, connection, words[0], os.Stdin)
	case command == "read" && len(words) == 4:
		times, err := numbers(words[2:])
		if err != nil {
			return err
		}
		return read(ctx, connection, words[0], words[1], times[0], times[1])
	case command == "consume" && len(words) == 2:
		return newMember(connection, words[0], words[1]).live(ctx)
	case command == "seek" && len(words) == 4:
		times, err := numbers(words[3:])
		if err != nil {
			return err
		}
		return seek(ctx, connection, words[0], words[1], words[2], times[0])
	case command == "fail" && len(words) == 1:
		return fail(ctx, connection, words[0])
	}
	fmt.Fprint(os.Stderr, usage)
	os.Exit(2)
	return nil
}

func numbers(words []string) ([]int64, error) {
	found := make([]int64, len(words))
	for i, word := range words {
		number, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return nil, err
		}
		found[i] = number
	}
	return found, nil
}
