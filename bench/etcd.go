package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"kelek/bench/load"
)

// etcdNodes is the size of the cluster that kelek is compared with.
const etcdNodes = 3

// startEtcd starts a cluster of etcd. It is measured through its HTTP gateway on the leader, with
// one command per request: slower than its own client over gRPC, faster than most users' clients.
func startEtcd(ctx context.Context, dir string) (*system, error) {
	ports, err := systemPorts(2 * etcdNodes)
	if err != nil {
		return nil, err
	}
	l, err := newLaunch(dir, "etcd")
	if err != nil {
		return nil, err
	}
	l.protocol = load.EtcdHTTP
	var members []string
	for i := range etcdNodes {
		members = append(members, fmt.Sprintf("e%d=http://%s", i, loopback(ports[etcdNodes+i])))
	}
	for i := range etcdNodes {
		name, own, peer := fmt.Sprintf("e%d", i), loopback(ports[i]), loopback(ports[etcdNodes+i])
		data := filepath.Join(l.logs, name)
		if err := l.add(name, own, data, "etcd", "--name", name, "--data-dir", data,
			"--listen-client-urls", "http://"+own, "--advertise-client-urls", "http://"+own,
			"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new",
			"--logger", "zap", "--log-level", "error"); err != nil {
			return nil, err
		}
	}
	l.target = func(ctx context.Context) ([]string, error) { return etcdLeader(ctx, l.servers) }
	return l.finish(ctx, func() error {
		_, err := etcdLeader(ctx, l.servers)
		return err
	})
}

// etcdLeader asks every member who it is and who leads.
func etcdLeader(ctx context.Context, members []server) ([]string, error) {
	err := fmt.Errorf("no member of etcd says that it leads")
	for _, m := range members {
		leads, failed := etcdLeads(ctx, m.addr)
		if failed != nil {
			err = failed
		} else if leads {
			return []string{m.addr}, nil
		}
	}
	return nil, err
}

func etcdLeads(ctx context.Context, addr string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	url := "http://" + addr + "/v3/maintenance/status"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return false, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close() // only read
	var status struct {
		Header struct {
			MemberID string `json:"member_id"`
		} `json:"header"`
		Leader string `json:"leader"`
	}
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		return false, fmt.Errorf("%s: %s: %w", url, response.Status, err)
	}
	return status.Leader != "" && status.Leader != "0" && status.Leader == status.Header.MemberID, nil
}
