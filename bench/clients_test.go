package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// script is what both kinds of go-redis client do, unchanged.
func script(t *testing.T, c redis.UniversalClient, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	key := func(i int) string { return fmt.Sprint(prefix, i) }
	for i := range 20 {
		if err := c.Set(ctx, key(i), i, 0).Err(); err != nil {
			t.Fatalf("SET: %v", err)
		}
		if got, err := c.Get(ctx, key(i)).Int(); got != i || err != nil {
			t.Fatalf("GET %s: %d, %v", key(i), got, err)
		}
	}
	if err := c.Get(ctx, prefix+"absent").Err(); err != redis.Nil {
		t.Errorf("GET of nothing: %v", err)
	}
	for want := int64(1); want <= 5; want++ {
		if got, err := c.Incr(ctx, prefix+"n").Result(); got != want || err != nil {
			t.Fatalf("INCR: %d, %v", got, err)
		}
	}
	if ok, err := c.SetNX(ctx, prefix+"n", 9, 0).Result(); ok || err != nil {
		t.Errorf("SETNX of what is there: %v, %v", ok, err)
	}
	if n, err := c.Append(ctx, prefix+"text", "abc").Result(); n != 3 || err != nil {
		t.Errorf("APPEND: %d, %v", n, err)
	}
	if ok, err := c.Expire(ctx, prefix+"text", time.Hour).Result(); !ok || err != nil {
		t.Errorf("EXPIRE: %v, %v", ok, err)
	}
	if ttl, err := c.TTL(ctx, prefix+"text").Result(); ttl < 59*time.Minute || err != nil {
		t.Errorf("TTL: %s, %v", ttl, err)
	}
	if n, err := c.Del(ctx, prefix+"n").Result(); n != 1 || err != nil {
		t.Errorf("DEL: %d, %v", n, err)
	}
	pipeline(t, ctx, c, prefix)
	transaction(t, ctx, c, "{"+prefix+"}") // one slot: go-redis checks that itself
	increments(t, ctx, c, "{"+prefix+"}")
}

func pipeline(t *testing.T, ctx context.Context, c redis.UniversalClient, prefix string) {
	t.Helper()
	var sums []*redis.IntCmd
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for range 50 {
			sums = append(sums, p.Incr(ctx, prefix+"p"))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("pipeline: %v", err)
	}
	for i, sum := range sums {
		if sum.Val() != int64(i+1) {
			t.Fatalf("reply %d of the pipeline is %d", i, sum.Val())
		}
	}
}

// transaction is MULTI and EXEC with reads between the writes, and a failure that stops nobody.
func transaction(t *testing.T, ctx context.Context, c redis.UniversalClient, prefix string) {
	t.Helper()
	var before, after *redis.StringCmd
	var failed, sum *redis.IntCmd
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		before = p.Get(ctx, prefix+"tx")
		p.Set(ctx, prefix+"tx", "text", 0)
		failed = p.Incr(ctx, prefix+"tx")
		after = p.Get(ctx, prefix+"tx")
		sum = p.Incr(ctx, prefix+"sum")
		return nil
	})
	if err != redis.Nil { // that of the first command
		t.Fatalf("transaction: %v", err)
	}
	if before.Err() != redis.Nil || failed.Err() == nil || after.Val() != "text" || sum.Val() != 1 {
		t.Fatalf("transaction: %v, %v, %v, %v", before, failed, after, sum)
	}
}

// increments reads and writes optimistically from several goroutines: no increment may be lost.
func increments(t *testing.T, ctx context.Context, c redis.UniversalClient, prefix string) {
	t.Helper()
	const clients, each = 4, 10
	key := prefix + "watched"
	add := func(tx *redis.Tx) error {
		n, err := tx.Get(ctx, key).Int()
		if err != nil && err != redis.Nil {
			return err
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.Set(ctx, key, n+1, 0)
			return nil
		})
		return err
	}
	done := make(chan error, clients)
	for range clients {
		go func() {
			var err error
			for added := 0; added < each && (err == nil || err == redis.TxFailedErr); {
				if err = c.Watch(ctx, add, key); err == nil {
					added++
				}
			}
			done <- err
		}()
	}
	for range clients {
		if err := <-done; err != nil {
			t.Fatalf("WATCH: %v", err)
		}
	}
	if n, err := c.Get(ctx, key).Int(); n != clients*each || err != nil {
		t.Fatalf("%d increments are %d, %v", clients*each, n, err)
	}
}

// scan goes over the twenty keys of script, a few at a time.
func scan(t *testing.T, c *redis.Client, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	found := map[string]bool{}
	keys := c.Scan(ctx, 0, prefix+"[0-9]*", 3).Iterator()
	for keys.Next(ctx) {
		found[keys.Val()] = true
	}
	if keys.Err() != nil || len(found) != 20 {
		t.Errorf("SCAN found %d keys, %v", len(found), keys.Err())
	}
}

func TestGoRedis(t *testing.T) {
	c := startCluster(t, 3)
	for _, n := range c.Nodes {
		t.Run("single "+n.Name, func(t *testing.T) {
			single := redis.NewClient(&redis.Options{Addr: n.Addr()})
			defer single.Close()
			script(t, single, n.Name)
			keys := []string{n.Name + "0", n.Name + "absent", n.Name + "1"}
			got, err := single.MGet(context.Background(), keys...).Result()
			if err != nil || fmt.Sprint(got) != "[0 <nil> 1]" {
				t.Errorf("MGET: %v, %v", got, err)
			}
			scan(t, single, n.Name)
		})
	}
	t.Run("cluster", func(t *testing.T) {
		var addrs []string
		for _, n := range c.Nodes {
			addrs = append(addrs, n.ClusterAddr())
		}
		for i := range addrs { // whichever node it asks first
			smart := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs[i : i+1]})
			script(t, smart, fmt.Sprint("cluster", i))
			if err := smart.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
