package bench

import "testing"

// A directory of one cluster is started with --peers of another, in every way in which one can
// write the wrong list. The nodes of the other cluster go on.
func TestANodeAmongThePeersOfAnotherClusterEnds(t *testing.T) {
	single, trio, home := startCluster(t, 1), startCluster(t, 3), startCluster(t, 3)
	for _, c := range []*Cluster{single, trio} {
		for _, n := range c.Nodes {
			if err := c.Stop(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	at := func(i int) string { return home.Nodes[i].PeerAddr() }
	words := func(dir, peer string) string { return dir + "|" + peer + "|cluster id|--peers" }

	dir := single.dataPath(single.Nodes[0])
	expectExit(t, 64, words(dir, at(1)), alone(dir, "--peers", "n1="+at(0)+",n2="+at(1))...)
	expectExit(t, 64, words(dir, at(0)), alone(dir, "--peers", "n1=127.0.0.1:1,n7="+at(0))...)

	dir = trio.dataPath(trio.Nodes[1])
	expectExit(t, 64, words(dir, at(0)), alone(dir, "--peers", "n1="+at(0)+",n2=127.0.0.1:1")...)
	expectExit(t, 64, words(dir, at(2)), alone(dir, "--peers", "n2=127.0.0.1:1,n9="+at(2))...)

	leaderOf(t, home, 0)
	for _, n := range trio.Nodes {
		if err := trio.Start(n); err != nil {
			t.Fatal(err)
		}
	}
	leaderOf(t, trio, 0) // the directories that were refused are as they were
}
