package node

import (
	"errors"
	"strings"
	"sync"
	"time"
)

// peerErrors keeps the log readable while a peer is away: its dialler fails about once a second.
type peerErrors struct {
	mu   sync.Mutex
	last map[string]time.Time // by peer, host and text
}

// peerErrorsMax bounds the map. At the limit it is emptied, and an error may be logged early.
const peerErrorsMax = 64

// PeerError implements Receiver: the same error of the same peer is logged once per warnInterval,
// whichever port it comes from, since a peer that dials us has another one each time. That this
// node was removed may be news.
func (n *Node) PeerError(name, addr string, err error) {
	if errors.Is(err, ErrExpelled) {
		n.learnRemoval(err)
	}
	host := addr[:max(strings.LastIndexByte(addr, ':'), 0)]
	if !n.peerErrors.first(name+host+err.Error(), time.Now()) {
		return
	}
	n.logger.Warn().Str("peer", name).Str("addr", addr).Err(err).Msg("no connection")
}

// first reports whether key was not seen within warnInterval.
func (p *peerErrors) first(key string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.last[key]; ok && now.Sub(at) < warnInterval {
		return false
	}
	if p.last == nil || len(p.last) >= peerErrorsMax {
		p.last = make(map[string]time.Time)
	}
	p.last[key] = now
	return true
}
