package command

// Class says where a command is decided, and what it waits for. A command that is not in the table
// has none: it is refused.
type Class uint8

const (
	Local Class = iota // answered at once by this node, on any listener, without a leader
	Read               // a linearizable read: a Query
	Write              // an op in the log: a Proposed
)

// Flag is a property that the dispatcher or COMMAND INFO needs.
type Flag uint16

const (
	Fast      Flag = 1 << iota // constant time
	Grows                      // may enlarge the data: refused when disk or memory is short
	NoAuth                     // allowed before AUTH
	Barrier                    // waits for the commands before it: it is about more than its session
	Admin                      // for administrators
	Dangerous                  // slow, or destroys much
	Whole                      // reads more than its keys: wants one stable View
	Wraps                      // carries another command: ONCE
	Control                    // about the transaction itself, or its end: MULTI does not queue it
	NoMulti                    // not allowed between MULTI and EXEC; nor is what has Barrier
	Last                       // its batch ends with it: what follows depends on it
)

// Row is one line of the table: a command or a subcommand.
type Row struct {
	// Name is lower case; a subcommand's is its own word alone.
	Name string
	// Arity counts the name; negative means at least. A subcommand's counts the container, too.
	Arity int
	Class Class
	Flags Flag
	// Keys are first, last and step of the keys among the arguments, as in Redis: last may count
	// from the end; zeros mean none.
	Keys    [3]int
	Handler Handler
	Subs    []Row // subcommands; Handler may then be nil
	Summary string
}

// section is the commands of one Redis group.
type section struct {
	group    string
	commands []Row
}

var (
	noKeys    = [3]int{}
	oneKey    = [3]int{1, 1, 1}
	allKeys   = [3]int{1, -1, 1}
	secondKey = [3]int{2, 2, 1}
	twoKeys   = [3]int{1, 2, 1}
	pairs     = [3]int{1, -1, 2}
)

// commands is THE command table. A new command is a line here, a handler and a script.
//
//	name  arity  class  flags  keys  handler  subcommands  summary
var commands = []section{
	{"string", []Row{
		{"get", 2, Read, Fast, oneKey, get, nil, "the string at a key"},
		{"set", -3, Write, Grows, oneKey, set, nil, "set a string, with conditions and a deadline"},
		{"append", 3, Write, Grows | Fast, oneKey, appendTo, nil, "append to a string"},
		{"strlen", 2, Read, Fast, oneKey, strlen, nil, "length of a string in bytes"},
		{"incr", 2, Write, Grows | Fast, oneKey, incr, nil, "add one to an integer"},
		{"decr", 2, Write, Grows | Fast, oneKey, decr, nil, "subtract one from an integer"},
		{"incrby", 3, Write, Grows | Fast, oneKey, incrby, nil, "add to an integer"},
		{"decrby", 3, Write, Grows | Fast, oneKey, decrby, nil, "subtract from an integer"},
		{"getrange", 4, Read, 0, oneKey, getRange, nil, "part of a string"},
		{"substr", 4, Read, 0, oneKey, getRange, nil, "part of a string"},
		{"mget", -2, Read, Fast, allKeys, mget, nil, "the strings at several keys"},
		{"mset", -3, Write, Grows, pairs, mset, nil, "set several strings at once"},
		{"msetnx", -3, Write, Grows, pairs, msetnx, nil, "set several strings unless one exists"},
		{"setrange", 4, Write, Grows, oneKey, setrange, nil, "write over a part of a string"},
		{"getex", -2, Write, Fast, oneKey, getex, nil, "return a string and change its deadline"},
		{"incrbyfloat", 3, Write, Grows | Fast, oneKey, incrbyfloat, nil, "add to a decimal"},
		{"setnx", 3, Write, Grows | Fast, oneKey, setnx, nil, "set a string unless the key exists"},
		{"setex", 4, Write, Grows, oneKey, setex, nil, "set a string for some seconds"},
		{"psetex", 4, Write, Grows, oneKey, psetex, nil, "set a string for some milliseconds"},
		{"getset", 3, Write, Grows | Fast, oneKey, getset, nil, "set a string, return the old one"},
		{"getdel", 2, Write, Fast, oneKey, getdel, nil, "return a string and delete it"},
	}},
	{"generic", []Row{
		{"del", -2, Write, 0, allKeys, del, nil, "delete keys"},
		{"unlink", -2, Write, Fast, allKeys, del, nil, "delete keys"},
		{"rename", 3, Write, 0, twoKeys, rename, nil, "give a key another name"},
		{"renamenx", 3, Write, Fast, twoKeys, renamenx, nil, "rename a key unless the name is taken"},
		{"copy", -3, Write, Grows, twoKeys, copyKey, nil, "copy a key"},
		{"move", 3, Write, Fast, oneKey, move, nil, "move a key to another database"},
		{"exists", -2, Read, Fast, allKeys, exists, nil, "how many of the keys exist"},
		{"touch", -2, Read, Fast, allKeys, exists, nil, "how many of the keys exist"},
		{"type", 2, Read, Fast, oneKey, typeOf, nil, "what a key holds"},
		{"expire", -3, Write, Fast, oneKey, expire, nil, "let a key live for some seconds"},
		{"pexpire", -3, Write, Fast, oneKey, pexpire, nil, "let a key live for some milliseconds"},
		{"expireat", -3, Write, Fast, oneKey, expireat, nil, "let a key live until a second"},
		{"pexpireat", -3, Write, Fast, oneKey, pexpireat, nil, "let a key live until a millisecond"},
		{"persist", 2, Write, Fast, oneKey, persist, nil, "let a key live for ever"},
		{"ttl", 2, Read, Fast, oneKey, ttl, nil, "seconds a key has left"},
		{"pttl", 2, Read, Fast, oneKey, pttl, nil, "milliseconds a key has left"},
		{"expiretime", 2, Read, Fast, oneKey, expiretime, nil, "second at which a key ends"},
		{"pexpiretime", 2, Read, Fast, oneKey, pexpiretime, nil, "millisecond at which a key ends"},
		{"scan", -2, Read, Whole, noKeys, scan, nil, "keys, some at a time, by a cursor"},
		{"keys", 2, Read, Whole | Dangerous, noKeys, keys, nil, "all keys that match a pattern"},
		{"randomkey", 1, Read, Whole, noKeys, randomKey, nil, "some key"},
		{"object", -2, Read, 0, noKeys, nil, objectCommands, "about the value at a key"},
		{"once", -4, Write, Grows | Wraps, noKeys, once, nil, "execute a command once per request id"},
	}},
	{"transactions", []Row{
		{"multi", 1, Local, Fast | Control, noKeys, multi, nil, "begin to queue a transaction"},
		{"exec", 1, Write, Control, noKeys, exec, nil, "execute what was queued, all or nothing"},
		{"discard", 1, Local, Fast | Control, noKeys, discard, nil, "forget what was queued"},
		{"watch", -2, Read, Fast | Control | Last, allKeys, watch, nil, "stop EXEC if a key changes"},
		{"unwatch", 1, Local, Fast, noKeys, unwatch, nil, "forget what is watched"},
	}},
	{"connection", []Row{
		{"ping", -1, Local, Fast, noKeys, ping, nil, "is the node there"},
		{"echo", 2, Local, Fast, noKeys, echo, nil, "repeat a string"},
		{"hello", -1, Local, Fast | NoAuth | NoMulti, noKeys, hello, nil, "protocol and password"},
		{"auth", -2, Local, Fast | NoAuth, noKeys, auth, nil, "give the password"},
		{"select", 2, Local, Fast, noKeys, selectDB, nil, "choose a database"},
		{"quit", -1, Local, Fast | NoAuth | Control, noKeys, quit, nil, "close the connection"},
		{"reset", 1, Local, Fast | NoAuth | Control, noKeys, reset, nil, "forget what it was told"},
		{"client", -2, Local, Barrier, noKeys, nil, clientCommands, "about connections"},
	}},
	{"server", []Row{
		{"info", -1, Local, Barrier | Dangerous, noKeys, info, nil, "what the node knows of itself"},
		{"command", -1, Local, 0, noKeys, commandAll, commandCommands, "about commands"},
		{"config", -2, Local, Barrier | Admin, noKeys, nil, configCommands, "about options"},
		{"time", 1, Local, Fast, noKeys, timeNow, nil, "the clock of this node"},
		{"role", 1, Local, Fast | Barrier, noKeys, role, nil, "role in replication"},
		{"dbsize", 1, Read, Fast | Whole, noKeys, dbsize, nil, "how many keys a database has"},
		{"flushdb", -1, Write, Dangerous, noKeys, flushdb, nil, "delete all keys of a database"},
		{"flushall", -1, Write, Dangerous, noKeys, flushall, nil, "delete all keys of all databases"},
	}},
	{"raft", []Row{
		{"raft.member", -2, Local, Barrier, noKeys, nil, memberCommands, "who is in the cluster"},
		{"raft.leader", -2, Local, Barrier, noKeys, nil, leaderCommands, "who leads the cluster"},
		{"raft.read", -1, Local, Fast | Barrier, noKeys, raftRead, nil,
			"what reads promise here: linearizable, lease, stale [max-ms]"},
	}},
	{"scripting", []Row{
		{"function", -2, Local, 0, noKeys, nil, functionCommands, "about functions: there are none"},
	}},
	{"cluster", []Row{
		{"cluster", -2, Local, Barrier, noKeys, nil, clusterCommands, "about the cluster"},
		{"readonly", 1, Local, Fast, noKeys, readonly, nil, "let a follower serve reads here"},
		{"readwrite", 1, Local, Fast, noKeys, readwrite, nil, "undo READONLY"},
		{"asking", 1, Local, Fast, noKeys, asking, nil, "announce a redirected command"},
	}},
}

var clientCommands = []Row{
	{"id", 2, Local, Fast, noKeys, clientID, nil, "number of this connection"},
	{"getname", 2, Local, Fast, noKeys, clientGetName, nil, "name of this connection"},
	{"setname", 3, Local, Fast, noKeys, clientSetName, nil, "name this connection"},
	{"setinfo", 4, Local, Fast, noKeys, clientSetInfo, nil, "name the client library"},
	{"info", 2, Local, Barrier, noKeys, clientInfo, nil, "this connection"},
	{"list", -2, Local, Barrier | Admin, noKeys, clientList, nil, "all connections"},
	{"kill", -3, Local, Barrier | Admin, noKeys, clientKill, nil, "close connections"},
	{"pause", -3, Local, Barrier | Admin, noKeys, clientPause, nil, "hold commands for a while"},
	{"unpause", 2, Local, Barrier | Admin, noKeys, clientUnpause, nil, "end a pause"},
	{"reply", 3, Local, NoMulti, noKeys, clientReply, nil, "switch replies on or off"},
	{"unblock", -3, Local, Admin, noKeys, clientUnblock, nil, "wake a blocked connection"},
	{"no-evict", 3, Local, Admin, noKeys, clientNoEvict, nil, "protect the connection"},
	{"no-touch", 3, Local, 0, noKeys, clientNoTouch, nil, "leave access times alone"},
	{"tracking", -3, Local, 0, noKeys, clientTracking, nil, "client-side caching: not supported"},
	{"caching", 3, Local, 0, noKeys, clientCaching, nil, "client-side caching: not supported"},
	{"getredir", 2, Local, 0, noKeys, clientGetRedir, nil, "where invalidations go: nowhere"},
	{"trackinginfo", 2, Local, 0, noKeys, clientTrackingInfo, nil, "state of client-side caching"},
	{"capa", -3, Local, 0, noKeys, clientCapa, nil, "what the client can: redirect"},
	{"help", 2, Local, 0, noKeys, help, nil, "this list"},
}

var commandCommands = []Row{
	{"count", 2, Local, 0, noKeys, commandCount, nil, "number of commands"},
	{"info", -2, Local, 0, noKeys, commandInfo, nil, "properties of commands"},
	{"docs", -2, Local, 0, noKeys, commandDocs, nil, "what commands do"},
	{"list", -2, Local, 0, noKeys, commandList, nil, "names of commands"},
	{"getkeys", -3, Local, 0, noKeys, commandGetKeys, nil, "the keys of a command line"},
	{"help", 2, Local, 0, noKeys, help, nil, "this list"},
}

var configCommands = []Row{
	{"get", -3, Local, Admin, noKeys, configGet, nil, "options by glob pattern"},
	{"set", -4, Local, Barrier | Admin, noKeys, configSet, nil, "change options"},
	{"resetstat", 2, Local, Barrier | Admin, noKeys, configResetStat, nil, "clear the counters"},
	{"help", 2, Local, 0, noKeys, help, nil, "this list"},
}

var objectCommands = []Row{
	{"encoding", 3, Read, 0, secondKey, objectEncoding, nil, "how Redis would keep it"},
	{"refcount", 3, Read, 0, secondKey, objectRefCount, nil, "1: values are not shared"},
	{"idletime", 3, Read, 0, secondKey, objectIdleTime, nil, "0: accesses are not recorded"},
	{"freq", 3, Read, 0, secondKey, objectFreq, nil, "refused: accesses are not recorded"},
	{"help", 2, Local, 0, noKeys, help, nil, "this list"},
}

var memberCommands = []Row{
	{"list", 2, Local, Barrier, noKeys, raftMemberList, nil, "members, as this node sees them"},
	{"add", -3, Local, Barrier | Admin, noKeys, raftMemberAdd, nil,
		"addr [NAME name] [LEARNER]: a waiting node joins, and votes once it has caught up"},
	{"remove", 3, Local, Barrier | Admin, noKeys, raftMemberRemove, nil,
		"name: it leaves for good"},
	{"replace", 5, Local, Barrier | Admin, noKeys, raftMemberReplace, nil,
		"name WITH name: the second votes in the place of the first, in one change"},
	{"promote", 3, Local, Barrier | Admin, noKeys, raftMemberPromote, nil,
		"name: a learner becomes a voter"},
	{"demote", 3, Local, Barrier | Admin, noKeys, raftMemberDemote, nil,
		"name: a voter becomes a learner"},
	{"help", 2, Local, 0, noKeys, help, nil, "this list"},
}

var leaderCommands = []Row{
	{"show", 2, Local, Barrier, noKeys, raftLeaderShow, nil, "whom this node takes for the leader"},
	{"transfer", -2, Local, Barrier | Admin, noKeys, raftLeaderTransfer, nil,
		"[name]: another voter leads, the most caught-up one unless named"},
	{"help", 2, Local, 0, noKeys, help, nil, "this list"},
}

var functionCommands = []Row{
	{"list", -2, Local, 0, noKeys, functionList, nil, "libraries: none"},
	{"stats", 2, Local, 0, noKeys, functionStats, nil, "nothing runs"},
	{"load", -3, Local, 0, noKeys, functionRefused, nil, "not supported"},
	{"delete", 3, Local, 0, noKeys, functionRefused, nil, "not supported"},
	{"flush", -2, Local, 0, noKeys, functionRefused, nil, "not supported"},
	{"dump", 2, Local, 0, noKeys, functionRefused, nil, "not supported"},
	{"restore", -3, Local, 0, noKeys, functionRefused, nil, "not supported"},
	{"kill", 2, Local, 0, noKeys, functionRefused, nil, "not supported"},
	{"help", 2, Local, 0, noKeys, help, nil, "this list"},
}

var clusterCommands = []Row{
	{"slots", 2, Local, Barrier, noKeys, clusterSlots, nil, "slot ranges and their nodes"},
	{"shards", 2, Local, Barrier, noKeys, clusterShards, nil, "the shard and its nodes"},
	{"nodes", 2, Local, Barrier, noKeys, clusterNodes, nil, "nodes, a line each"},
	{"info", 2, Local, Barrier, noKeys, clusterInfo, nil, "state of the cluster"},
	{"myid", 2, Local, 0, noKeys, clusterMyID, nil, "id of this node"},
	{"keyslot", 3, Local, 0, noKeys, clusterKeySlot, nil, "slot of a key"},
	{"countkeysinslot", 3, Local, Barrier, noKeys, clusterCountKeys, nil, "number of keys in a slot"},
	{"getkeysinslot", 4, Local, Barrier, noKeys, clusterGetKeys, nil, "keys in a slot"},
	{"replicas", 3, Local, Barrier, noKeys, clusterReplicas, nil, "replicas of a node"},
	{"slaves", 3, Local, Barrier, noKeys, clusterReplicas, nil, "replicas of a node"},
	{"addslots", -3, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"addslotsrange", -4, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"bumpepoch", 2, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"count-failure-reports", 3, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"delslots", -3, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"delslotsrange", -4, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"failover", -2, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"flushslots", 2, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"forget", 3, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"links", 2, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"meet", -4, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"replicate", 3, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"reset", -2, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"saveconfig", 2, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"set-config-epoch", 3, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"setslot", -4, Local, 0, noKeys, clusterRefused, nil, "refused"},
	{"help", 2, Local, 0, noKeys, help, nil, "this list"},
}
