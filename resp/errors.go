package resp

import (
	"errors"
	"fmt"
	"strings"

	"kelek/store/op"
)

// errorLine is what a client is told instead of a result. Words that clients retry by themselves
// are used only where the command was certainly never proposed; UNCERTAIN is a word that none of
// them retries.
func errorLine(err error, s *op.Status) string {
	switch {
	case errors.Is(err, op.ErrUncertain):
		return "UNCERTAIN " + uncertain(err, s)
	case errors.Is(err, op.ErrNoLeader):
		return "CLUSTERDOWN The cluster is down: " + err.Error()
	case errors.Is(err, op.ErrBusy), errors.Is(err, op.ErrStopping):
		return "TRYAGAIN " + err.Error()
	case errors.As(err, new(op.TooStaleError)):
		return "TRYAGAIN " + err.Error()
	case errors.Is(err, op.ErrTooLarge):
		return "ERR " + err.Error()
	}
	return "ERR internal error: " + err.Error()
}

// uncertain adds the id of the proposal as far as it is known: the node's error may carry the whole
// of it, otherwise it is this node and its boot.
func uncertain(err error, s *op.Status) string {
	text := err.Error()
	if strings.Contains(text, "(id ") {
		return text
	}
	return fmt.Sprintf("%s (id %s/%d)", text, s.Name, s.Boot)
}
