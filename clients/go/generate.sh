#!/bin/sh
# Make the package generated/tidelogv1 from the proto files. Needs protoc; its plugins for Go are tools
# of go.mod.
set -eu
cd "$(dirname "$0")"
package=tidelog-client/generated/tidelogv1
names="common log_service group_service topic_service"
options=
for name in $names; do
  file=tidelog/v1/$name.proto # the proto files name no Go package: this does
  options="$options --go_opt=M$file=$package --go-grpc_opt=M$file=$package"
done
export GOBIN="$PWD/generated/bin"
go install tool
cd ../../proto
# shellcheck disable=SC2086 # words are meant to be split
PATH="$GOBIN:$PATH" protoc -I. --go_out="$GOBIN/../.." --go-grpc_out="$GOBIN/../.." \
  --go_opt=module=tidelog-client --go-grpc_opt=module=tidelog-client $options \
  $(printf 'tidelog/v1/%s.proto ' $names)
