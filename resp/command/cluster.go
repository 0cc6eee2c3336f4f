package command

import (
	"fmt"
	"math"
	"strings"

	"kelek/store/op"
)

// clustered answers with the error of a plain listener, or hands over the topology.
func clustered(c *Call, f func(c *Call, t *topology) Outcome) Outcome {
	if !c.Host.Face().Cluster {
		return c.fail(errClusterDisabled)
	}
	t := topologyOf(c)
	return f(c, &t)
}

func clusterRefused(c *Call) Outcome {
	return clustered(c, func(c *Call, _ *topology) Outcome { return c.fail(errTopology) })
}

func readonly(c *Call) Outcome { return setReadOnly(c, true) }

func readwrite(c *Call) Outcome { return setReadOnly(c, false) }

func setReadOnly(c *Call, on bool) Outcome {
	if !c.Host.Face().Cluster {
		return c.fail(errClusterDisabled)
	}
	c.Session.ReadOnly = on
	return c.ok()
}

// asking announces the command after an ASK, which is never sent here: nothing moves.
func asking(c *Call) Outcome {
	if !c.Host.Face().Cluster {
		return c.fail(errClusterDisabled)
	}
	return c.ok()
}

func clusterSlots(c *Call) Outcome {
	return clustered(c, func(c *Call, t *topology) Outcome {
		r := c.Reply
		r.Array(1)
		r.Array(2 + len(t.nodes))
		r.Int(0)
		r.Int(op.Slots - 1)
		for _, n := range t.nodes {
			r.Array(4)
			r.BulkString(n.host)
			r.Int(int64(n.port))
			r.BulkString(n.id)
			r.Map(0)
		}
		return c.answered()
	})
}

func clusterShards(c *Call) Outcome {
	return clustered(c, func(c *Call, t *topology) Outcome {
		r := c.Reply
		r.Array(1)
		r.Map(2)
		r.BulkString("slots")
		r.Array(2)
		r.Int(0)
		r.Int(op.Slots - 1)
		r.BulkString("nodes")
		r.Array(len(t.nodes))
		offset := c.Host.Status().Applied
		for i, n := range t.nodes {
			writeShardNode(r, &n, i == 0, max(n.match, offsetHere(&n, offset)))
		}
		return c.answered()
	})
}

// offsetHere is what this node has applied, for itself; a follower knows no more of the others.
func offsetHere(n *node, applied uint64) uint64 {
	if n.self {
		return applied
	}
	return 0
}

func writeShardNode(r *Reply, n *node, master bool, offset uint64) {
	role := "replica"
	if master {
		role = "master"
	}
	r.Map(7)
	r.BulkString("id")
	r.BulkString(n.id)
	r.BulkString("port")
	r.Int(int64(n.port))
	r.BulkString("ip")
	r.BulkString(n.host)
	r.BulkString("endpoint")
	r.BulkString(n.host)
	r.BulkString("role")
	r.BulkString(role)
	r.BulkString("replication-offset")
	r.Int(int64(offset))
	r.BulkString("health")
	r.BulkString("online")
}

// line is a node's line of CLUSTER NODES, without the line end.
func (t *topology) line(n *node) string {
	flags := ""
	if n.self {
		flags = "myself,"
	}
	addr := fmt.Sprintf("%s %s:%d@%d", n.id, n.host, n.port, n.bus)
	if n.id == t.nodes[0].id {
		return fmt.Sprintf("%s %smaster - 0 0 %d connected 0-%d", addr, flags, t.epoch, op.Slots-1)
	}
	return fmt.Sprintf("%s %sslave %s 0 0 %d connected", addr, flags, t.nodes[0].id, t.epoch)
}

func clusterNodes(c *Call) Outcome {
	return clustered(c, func(c *Call, t *topology) Outcome {
		var b strings.Builder
		for i := range t.nodes {
			b.WriteString(t.line(&t.nodes[i]))
			b.WriteByte('\n')
		}
		c.Reply.Verbatim("txt", b.String())
		return c.answered()
	})
}

func clusterReplicas(c *Call) Outcome {
	return clustered(c, func(c *Call, t *topology) Outcome {
		switch t.index(string(c.Args[2])) {
		case -1:
			return c.fail("ERR Unknown node " + string(cut(c.Args[2])))
		case 0:
			c.Reply.Array(len(t.nodes) - 1)
			for i := range t.nodes[1:] {
				c.Reply.BulkString(t.line(&t.nodes[1+i]))
			}
			return c.answered()
		}
		return c.fail("ERR The specified node is not a master")
	})
}

// clusterInfo says ok also while commands are held: clients that read fail stop asking.
func clusterInfo(c *Call) Outcome {
	return clustered(c, func(c *Call, t *topology) Outcome {
		c.Reply.Verbatim("txt", fmt.Sprintf("cluster_state:ok\r\n"+
			"cluster_slots_assigned:%[1]d\r\ncluster_slots_ok:%[1]d\r\n"+
			"cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n"+
			"cluster_known_nodes:%[2]d\r\ncluster_size:1\r\n"+
			"cluster_current_epoch:%[3]d\r\ncluster_my_epoch:%[3]d\r\n",
			op.Slots, len(t.nodes), t.epoch))
		return c.answered()
	})
}

func clusterMyID(c *Call) Outcome {
	return clustered(c, func(c *Call, _ *topology) Outcome {
		c.Reply.BulkString(NodeID(c.Host.Status().NodeID))
		return c.answered()
	})
}

func clusterKeySlot(c *Call) Outcome {
	return clustered(c, func(c *Call, _ *topology) Outcome {
		c.Reply.Int(int64(op.Slot(c.Args[2])))
		return c.answered()
	})
}

// SlotView is a View that can list the keys of a slot. visit gets at most limit keys, in key order,
// which are valid during the call; the result is how many keys were visited.
type SlotView interface {
	KeysInSlot(db uint8, slot uint16, limit int, visit func(key []byte)) (int, error)
}

func clusterCountKeys(c *Call) Outcome {
	return clustered(c, func(c *Call, _ *topology) Outcome {
		return c.inSlot(math.MaxInt, func(n int, _ [][]byte) { c.Reply.Int(int64(n)) }, false)
	})
}

func clusterGetKeys(c *Call) Outcome {
	return clustered(c, func(c *Call, _ *topology) Outcome {
		limit, ok := parseInt(c.Args[3])
		if !ok || limit < 0 {
			return c.fail("ERR Invalid number of keys")
		}
		return c.inSlot(int(limit), func(n int, keys [][]byte) {
			c.Reply.Array(n)
			for _, key := range keys {
				c.Reply.Bulk(key)
			}
		}, true)
	})
}

// inSlot visits this node's own state: as in Redis, these two are about the node that is asked.
func (c *Call) inSlot(limit int, answer func(n int, keys [][]byte), collect bool) Outcome {
	slot, ok := parseInt(c.Args[2])
	if !ok || slot < 0 || slot >= op.Slots {
		return c.fail("ERR Invalid slot")
	}
	view := c.Host.View()
	defer view.Close()
	lister, ok := view.(SlotView)
	if !ok {
		return c.fail("ERR this store cannot list the keys of a slot")
	}
	var keys [][]byte
	n, err := lister.KeysInSlot(0, uint16(slot), limit, func(key []byte) {
		if collect {
			keys = append(keys, append([]byte(nil), key...))
		}
	})
	if err != nil {
		return c.fail("ERR cannot read the keys of a slot: " + err.Error())
	}
	answer(n, keys)
	return c.answered()
}
