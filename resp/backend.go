package resp

import (
	"context"

	"kelek/store/op"
)

// Backend is everything resp needs from a node. Implemented by node.Node, and by fakes in tests.
type Backend interface {
	// Propose hands ops over for replication. It returns soon; the outcome comes to the submission's
	// Sink.
	Propose(s *op.Submission)
	// Read asks for a linearizable read point. It returns soon; the outcome comes to r.Resolve.
	Read(r *op.ReadRequest)
	// View opens the state of this node; see node.Storage.View.
	View(stable bool) op.View
	// Status is a cheap pointer load; what it points to is never changed.
	Status() *op.Status
	// Admin changes who the members are, or who leads. It returns when that is committed, refused, or
	// ctx ends, with an error that says whether the outcome is known. A node that does not lead
	// answers op.NotLeaderError, and nothing was begun.
	Admin(ctx context.Context, r op.AdminRequest) (op.AdminReply, error)
}
