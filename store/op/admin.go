package op

import "fmt"

// AdminAction is a change of the membership or of the leadership that a person asks for.
type AdminAction uint8

const (
	MemberAdd      AdminAction = 1 // add the waiting node at Addr, as a learner; it becomes a voter unless Learner
	MemberRemove   AdminAction = 2 // remove Name for good
	MemberReplace  AdminAction = 3 // With votes in the place of Name, which is removed: one change
	MemberPromote  AdminAction = 4 // the learner Name becomes a voter
	MemberDemote   AdminAction = 5 // the voter Name becomes a learner, and stays one
	LeaderTransfer AdminAction = 6 // Name leads, or the most caught-up voter if it is empty
)

// String is the action as commands and messages call it.
func (a AdminAction) String() string {
	words := [...]string{MemberAdd: "add", MemberRemove: "remove", MemberReplace: "replace",
		MemberPromote: "promote", MemberDemote: "demote", LeaderTransfer: "transfer"}
	if int(a) < len(words) && words[a] != "" {
		return words[a]
	}
	return fmt.Sprintf("action %d", a)
}

// AdminRequest asks for one AdminAction. Which fields it uses is said at the action. A name is that
// of a member; its node id, 16 hexadecimal digits, is taken as well, since a node that lost its disk
// may be there under one name twice.
type AdminRequest struct {
	Action  AdminAction
	Name    string // MemberAdd: the name that the node must have; empty: any
	With    string
	Addr    string // MemberAdd: the peer address, host:port
	Learner bool   // MemberAdd: it stays a learner
}

// AdminReply says what has been done, durably.
type AdminReply struct {
	Text  string // for people: a sentence, with a warning if there is cause for one
	Index uint64 // log index of the configuration that was committed; 0 for LeaderTransfer
}

// NotLeaderError refuses an AdminRequest on a node that does not lead: nothing was begun.
type NotLeaderError struct {
	Addr string // where clients reach the leader; empty while none is known
}

func (e NotLeaderError) Error() string {
	if e.Addr == "" {
		return "this node does not lead, and no leader is known: try again in a moment"
	}
	return "this node does not lead: ask the leader, at " + e.Addr
}
