package main

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// refusal is a node's own words; docs/reference/errors.md lists the reasons.
type refusal struct {
	reason    string
	outcome   string // DONE, NOT_DONE or UNKNOWN: what became of the request
	retryable bool   // the same request, unchanged, may succeed later
}

// refusalOf returns why a node refused: the ErrorInfo that each of its statuses carries. It is nil if no
// node said it: the connection or the deadline failed.
func refusalOf(err error) *refusal {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "tidelog" {
			told := info.GetMetadata()
			return &refusal{info.GetReason(), told["outcome"], told["retryable"] == "true"}
		}
	}
	return nil
}

// sayError prints why a whole call failed.
func sayError(err error) {
	told := fields{
		"status":  status.Code(err).String(),
		"outcome": "UNKNOWN", "reason": nil, "retryable": false,
		"message": status.Convert(err).Message(),
	}
	if refused := refusalOf(err); refused != nil {
		told["reason"] = refused.reason
		told["outcome"] = refused.outcome
		told["retryable"] = refused.retryable
	}
	say("error", told)
}

// sayStatus prints an event that a call's failure is the cause of.
func sayStatus(event string, err error) {
	told := fields{"status": status.Code(err).String(), "reason": nil}
	if refused := refusalOf(err); refused != nil {
		told["reason"] = refused.reason
	}
	say(event, told)
}
