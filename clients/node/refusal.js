// Why a call failed: the ErrorInfo that every refusal of a node carries in its status.

import grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import { say } from './events.js';

// google/rpc/status.proto and error_details.proto, as far as they are read here.
const { root } = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`);
const Status = root.lookupType('google.rpc.Status');
const ErrorInfo = root.lookupType('google.rpc.ErrorInfo');

// The node's own words, or null: no node said it, the connection or the deadline failed.
// docs/reference/errors.md lists the reasons. `outcome` is DONE, NOT_DONE or UNKNOWN: what became of
// the request. `retryable`: the same request, unchanged, may succeed later.
export function refusalOf(error) {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  for (const detail of bytes ? Status.decode(bytes).details : []) {
    if (!detail.typeUrl.endsWith('/google.rpc.ErrorInfo')) continue;
    const { reason, domain, metadata } = ErrorInfo.decode(detail.value);
    if (domain === 'tidelog') {
      return { reason, outcome: metadata.outcome, retryable: metadata.retryable === 'true' };
    }
  }
  return null;
}

export const statusOf = (error) => grpc.status[error.code];

// Print why a whole call failed.
export function sayError(error) {
  const { reason = null, outcome = 'UNKNOWN', retryable = false } = refusalOf(error) ?? {};
  say('error', { status: statusOf(error), reason, outcome, retryable, message: error.details });
}
