package command

import "kelek/store/op"

// Session is what one connection remembers. Its own goroutine alone touches it; others see a
// ClientInfo.
type Session struct {
	ID            uint64
	DB            uint8
	Proto         uint8 // 2 or 3
	Authenticated bool  // true from the start when there is no password
	Name          string
	LibName       string
	LibVer        string
	Redirect      bool // CLIENT CAPA redirect: wants -REDIRECT on a follower
	ReadOnly      bool // READONLY: reads may be served here by a follower of the cluster listener
	NoEvict       bool
	NoTouch       bool
	Muted         bool // CLIENT REPLY OFF
	SkipNext      bool // CLIENT REPLY SKIP: the next command is not answered
	SkipThis      bool
	Closing       bool // QUIT: close once this was answered
	Tx            *Tx  // nil: no MULTI, and nothing is watched
	Read          ReadPromise
}

// Reset is the state of a new connection, and of one after RESET.
func (s *Session) Reset(face *Face) {
	*s = Session{ID: s.ID, Proto: 2, Authenticated: !face.Password, Read: face.Read,
		LibName: s.LibName, LibVer: s.LibVer}
}

// ClientInfo is a connection as CLIENT LIST shows it.
type ClientInfo struct {
	ID        uint64
	Addr      string
	LocalAddr string
	Name      string
	AgeSec    int64
	IdleSec   int64
	DB        uint8
	Proto     uint8
	Command   string // last one, lower case, "client|list"
	LibName   string
	LibVer    string
	NoEvict   bool
	NoTouch   bool
	ReadOnly  bool
	Queued    int // commands since MULTI; -1: none
	Watching  int // keys
}

// Face is how one listener presents the node; it does not change while the node runs.
type Face struct {
	Cluster  bool // cluster_enabled:1, MOVED, CLUSTER; else plain
	UseMain  bool // topology names the main addresses, not those of the cluster listener
	Password bool // clients must authenticate
	Read     ReadPromise
	// The node's own address here, for the time in which no member record is known.
	SelfHost string
	SelfPort int
}

// Host is the process around the handlers: everything they may ask, and the few things that they
// may change. Implemented by resp.Server, and by a fake in tests.
type Host interface {
	Face() *Face
	NowMicros() int64
	Status() *op.Status
	View() op.View
	CheckPassword(password []byte) bool
	Config() []ConfigOption
	Clients() []ClientInfo
	// Kill closes the connections that pick chooses and returns how many there were.
	Kill(pick func(*ClientInfo) bool) int
	// Pause holds writes, or all data commands, of all clients for so long; 0 ends a pause.
	Pause(ms int64, all bool)
	ResetStats()
	// Admin has the leader carry out a request, which args ask for: here, or, if relay is set, by
	// handing args on to it. It waits for the outcome, which is a text or an error line.
	Admin(request op.AdminRequest, args [][]byte, relay bool) (text, line string)
	// Facts gathers what INFO says. Counting keys may be slow: it is done only when asked for.
	Facts(keyspace bool) *Facts
}

// ConfigOption is one name of CONFIG GET. Set is nil for what is fixed while the node runs; it
// returns a reason that completes "argument ...".
type ConfigOption struct {
	Name string
	Get  func() string
	Set  func(value string) error
}
