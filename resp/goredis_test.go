package resp

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestGoRedis runs an unmodified client: its RESP3 handshake, its commands, its pipelines.
func TestGoRedis(t *testing.T) {
	f := newFace(t, Options{Password: "secret"})
	ctx := context.Background()
	c := redis.NewClient(&redis.Options{Addr: f.addr, Password: "secret", DB: 3, ClientName: "test"})
	defer c.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Ping(ctx).Err())
	must(c.Set(ctx, "k", "v", time.Hour).Err())
	if v, err := c.Get(ctx, "k").Result(); v != "v" || err != nil {
		t.Errorf("get: %q %v", v, err)
	}
	if _, err := c.Get(ctx, "none").Result(); !errors.Is(err, redis.Nil) {
		t.Errorf("get of nothing: %v", err)
	}
	if n, err := c.IncrBy(ctx, "n", 5).Result(); n != 5 || err != nil {
		t.Errorf("incrby: %d %v", n, err)
	}
	if ok, err := c.SetNX(ctx, "k", "w", 0).Result(); ok || err != nil {
		t.Errorf("setnx: %v %v", ok, err)
	}
	if name, err := c.ClientGetName(ctx).Result(); name != "test" || err != nil {
		t.Errorf("client getname: %q %v", name, err)
	}
	if m, err := c.ConfigGet(ctx, "databases").Result(); m["databases"] != "16" || err != nil {
		t.Errorf("config get: %v %v", m, err)
	}
	if info, err := c.ClientInfo(ctx).Result(); err != nil || info.DB != 3 || info.Resp != 3 {
		t.Errorf("client info: %+v %v", info, err)
	}
	if info, err := c.Info(ctx).Result(); err != nil || !strings.Contains(info, "loading:0") {
		t.Errorf("info: %q %v", info, err)
	}
	commands, err := c.Command(ctx).Result()
	if err != nil || commands["mset"] == nil || commands["mset"].StepCount != 2 {
		t.Errorf("command: %v %v", commands["mset"], err)
	}
	var got *redis.StringCmd
	_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Append(ctx, "a", "x")
		p.Append(ctx, "a", "y")
		got = p.Get(ctx, "a")
		p.Expire(ctx, "a", time.Minute)
		return nil
	})
	must(err)
	if got.Val() != "xy" {
		t.Errorf("pipelined get: %q", got.Val())
	}
	if r, err := c.Do(ctx, "ONCE", "me", 1, "INCR", "once").Int(); r != 1 || err != nil {
		t.Errorf("once: %d %v", r, err)
	}
}

// TestGoRedisCluster: the cluster client finds the shard and sends data to it.
func TestGoRedisCluster(t *testing.T) {
	f := newFace(t, Options{Mode: Cluster})
	s := *f.node.Status()
	s.Members = append(s.Members[:0:0], s.Members...)
	s.Members[0].ClusterAddr = f.addr
	f.node.SetStatus(&s)
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{f.addr}})
	defer c.Close()
	ctx := context.Background()
	if err := c.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Get(ctx, "k").Result(); v != "v" || err != nil {
		t.Errorf("get: %q %v", v, err)
	}
	shards, err := c.ClusterShards(ctx).Result()
	if err != nil || len(shards) != 1 || shards[0].Nodes[0].Role != "master" {
		t.Errorf("shards: %+v %v", shards, err)
	}
}
