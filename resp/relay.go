package resp

import (
	"context"
	"errors"
	"fmt"
	"time"

	respclient "kelek/resp/client"
	"kelek/store/op"
)

// adminTimeout bounds an administrative command: a new member has to be found, and a change of
// members needs two rounds of replication.
const adminTimeout = 30 * time.Second

// relayDialTimeout bounds the connection to the leader.
const relayDialTimeout = 3 * time.Second

// Admin is command.Host. The request is carried out here if this node leads. Otherwise the command
// goes to the leader's plain listener, as it is, with this node's password: one cluster has one.
// There it is carried out or refused, but not handed on: the connection says REDIRECT to that. So a
// command makes at most one hop, however wrong nodes are about who leads.
func (s *Server) Admin(
	request op.AdminRequest, args [][]byte, relay bool,
) (text, line string) {
	ctx, cancel := context.WithTimeout(s.running, adminTimeout)
	defer cancel()
	reply, err := s.backend.Admin(ctx, request)
	var elsewhere op.NotLeaderError
	switch {
	case err == nil:
		return reply.Text, ""
	case !errors.As(err, &elsewhere):
		return "", s.adminLine(err)
	case elsewhere.Addr == "":
		return "", "CLUSTERDOWN The cluster is down: " + err.Error()
	case !relay:
		return "", "REDIRECT " + elsewhere.Addr
	}
	return s.relay(ctx, elsewhere.Addr, args)
}

// adminLine words a refusal. Whether anything was begun is in its text.
func (s *Server) adminLine(err error) string {
	for _, known := range []error{op.ErrUncertain, op.ErrNoLeader, op.ErrBusy, op.ErrStopping} {
		if errors.Is(err, known) {
			return errorLine(err, s.backend.Status())
		}
	}
	return "ERR " + err.Error()
}

// relay has the leader carry out a command. Until it is sent, every failure is a certain no.
func (s *Server) relay(ctx context.Context, addr string, args [][]byte) (text, line string) {
	conn, line := s.dialLeader(addr)
	if line != "" {
		return "", line
	}
	defer conn.Close() // the reply was read, or there is none
	defer context.AfterFunc(ctx, conn.Interrupt)()
	conn.Timeout = adminTimeout
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = string(arg)
	}
	reply, err := conn.Do(words...)
	var said respclient.ServerError
	switch {
	case err != nil:
		return "", "UNCERTAIN the leader was asked and did not answer; RAFT.MEMBER LIST and " +
			"RAFT.LEADER SHOW tell what became of it: " + err.Error()
	case !errors.As(reply.Err(), &said):
		return reply.Text, ""
	case said.Word() == "REDIRECT":
		return "", "TRYAGAIN the leader has changed, and nothing was changed: try again"
	}
	return "", string(said)
}

// dialLeader opens a connection that will not be relayed.
func (s *Server) dialLeader(addr string) (conn *respclient.Conn, line string) {
	dialer := respclient.Dialer{Addrs: []string{addr}, Password: s.options.Password,
		Timeout: relayDialTimeout}
	conn, err := dialer.Dial()
	if err == nil {
		var reply respclient.Reply
		if reply, err = conn.Do("CLIENT", "CAPA", "redirect"); err == nil {
			err = reply.Err()
		}
		if err == nil {
			return conn, ""
		}
		conn.Close() // the reason is err
	}
	var said respclient.ServerError
	if errors.As(err, &said) {
		return nil, fmt.Sprintf("ERR the leader at %s does not let this node in (%s), and nothing was "+
			"changed: give all nodes the same password, or ask that one", addr, said)
	}
	return nil, "TRYAGAIN the leader cannot be reached, and nothing was changed: " + err.Error()
}
