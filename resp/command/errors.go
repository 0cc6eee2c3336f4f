package command

import (
	"fmt"
	"strings"

	"kelek/store/op"
)

// Error lines, as Redis words them: clients match their beginnings, people search for them.
const (
	errSyntax       = "ERR syntax error"
	errNotInteger   = "ERR value is not an integer or out of range"
	errOverflow     = "ERR increment or decrement would overflow"
	errDecrOverflow = "ERR decrement would overflow"
	errTooLong      = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
	errWrongType    = "WRONGTYPE Operation against a key holding the wrong kind of value"
	errWrongPass    = "WRONGPASS invalid username-password pair or user is disabled."
	errNoPassword   = "ERR AUTH <password> called without any password configured for the " +
		"default user. Are you sure your configuration is correct?"
	errNoProto         = "NOPROTO unsupported protocol version"
	errProtoNotInteger = "ERR Protocol version is not an integer or out of range"
	errHelloNoAuth     = "NOAUTH HELLO must be called with the client already authenticated, " +
		"otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client " +
		"and select the RESP protocol version at the same time"
	errClientName      = "ERR Client names cannot contain spaces, newlines or special characters."
	errDBIndex         = "ERR DB index is out of range"
	errSelectCluster   = "ERR SELECT is not allowed in cluster mode"
	errClusterDisabled = "ERR This instance has cluster support disabled"
	errTopology        = "ERR the topology follows the Raft members: use kelek member, not CLUSTER"
	errExpireNX        = "ERR NX and XX, GT or LT options at the same time are not compatible"
	errExpireGTLT      = "ERR GT and LT options at the same time are not compatible"
	errCaching         = "ERR CLIENT CACHING can be called only when the client is in tracking " +
		"mode with OPTIN or OPTOUT mode enabled"
	errTracking = "ERR CLIENT TRACKING is not supported: invalidations are not sent. " +
		"Disable client-side caching"
	errOffset      = "ERR offset is out of range"
	errNotFloat    = "ERR value is not a valid float"
	errNotFinite   = "ERR increment would produce NaN or Infinity"
	errNoKey       = "ERR no such key"
	errSameObject  = "ERR source and destination objects are the same"
	errMoveCluster = "ERR MOVE is not allowed in cluster mode"
	errCopyCluster = "ERR Copying to another database is not allowed in cluster mode"
	errNoLFU       = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. " +
		"Please note that when switching between policies at runtime LRU and LFU data will take " +
		"some time to adjust."
	errFunctions   = "ERR functions are not supported by this server"
	errOnceExpired = "ERR ONCE: the reply of this request id is no longer kept, so it cannot " +
		"be told whether the command was executed"
	errOnceMismatch = "ERR ONCE: this request id was used for another command"
	errOnceRequest  = "ERR ONCE: request id is not a positive integer"
	errOnceInner    = "ERR ONCE takes a command that writes"
	errOnceExec     = "ERR ONCE takes one command, not a transaction: put ONCE inside MULTI"
	errOnceClient   = "ERR ONCE: client is empty or longer than 128 bytes"
)

// Transactions.
const (
	errNestedMulti         = "ERR MULTI calls can not be nested"
	errWatchInMulti        = "ERR WATCH inside MULTI is not allowed"
	errExecWithoutMulti    = "ERR EXEC without MULTI"
	errDiscardWithoutMulti = "ERR DISCARD without MULTI"
	errExecAbort           = "EXECABORT Transaction discarded because of previous errors."
	errNotInMulti          = "ERR Command not allowed inside a transaction"
)

// Those that the dispatcher gives.
const (
	ErrNoAuth       = "NOAUTH Authentication required."
	ErrReplyTooLong = "ERR reply exceeds the output buffer limit: ask for fewer values at once"
)

// nameBytesMax is how much of a name or argument an error quotes.
const nameBytesMax = 128

func cut(b []byte) []byte { return b[:min(len(b), nameBytesMax)] }

// ErrUnknownCommand quotes the name and the first arguments; a blank follows each argument.
func ErrUnknownCommand(args [][]byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "ERR unknown command '%s', with args beginning with: ", cut(args[0]))
	quoted := 0
	for _, arg := range args[1:] {
		if quoted >= nameBytesMax {
			break
		}
		arg = arg[:min(len(arg), nameBytesMax-quoted)]
		fmt.Fprintf(&b, "'%s' ", arg)
		quoted += len(arg) + 3
	}
	return b.String()
}

func errUnknownSubcommand(container string, name []byte) string {
	return fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.",
		cut(name), strings.ToUpper(container))
}

func errArity(name string) string {
	return "ERR wrong number of arguments for '" + name + "' command"
}

func errInvalidExpire(name string) string {
	return "ERR invalid expire time in '" + name + "' command"
}

// resultError is the text of a failure that every replica saw alike.
func resultError(code op.ErrorCode, name string) string {
	switch code {
	case op.ErrWrongType:
		return errWrongType
	case op.ErrNotInteger:
		return errNotInteger
	case op.ErrOverflow:
		return errOverflow
	case op.ErrTooLong:
		return errTooLong
	case op.ErrInvalidExpire:
		return errInvalidExpire(name)
	case op.ErrNotFloat:
		return errNotFloat
	case op.ErrNotFinite:
		return errNotFinite
	case op.ErrOnceExpired:
		return errOnceExpired
	case op.ErrOnceMismatch:
		return errOnceMismatch
	}
	return fmt.Sprintf("ERR op failed with code %d", code)
}
