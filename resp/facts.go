package resp

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"

	"kelek/resp/command"
	"kelek/store/op"
)

// Facts is command.Host: what INFO says, gathered now.
func (s *Server) Facts(keyspace bool) *command.Facts {
	now := time.Now()
	f := &command.Facts{
		Version: s.options.Version, Mode: "standalone", OS: runtime.GOOS + " " + runtime.GOARCH,
		GoVersion: runtime.Version(), RunID: s.shared.runID, ConfigFile: s.options.ConfigFile,
		PID: os.Getpid(), TCPPort: s.face.SelfPort, NowMicros: now.UnixMicro(),
		UptimeSec: int64(now.Sub(s.shared.started) / time.Second),
		StartSec:  s.shared.started.Unix(), Fsync: s.options.Fsync,
		Clients: s.shared.Clients(), MaxClients: int(s.shared.maxClients.Load()),
	}
	if s.face.Cluster {
		f.Mode = "cluster"
	}
	if path, err := os.Executable(); err == nil {
		f.Executable = filepath.Clean(path)
	}
	f.Watching, f.WatchedKeys = s.shared.watching(now)
	s.storeFacts(f)
	s.memoryFacts(f)
	s.counterFacts(f)
	f.CPUSysMicros, f.CPUUserMicros = cpuMicros()
	if keyspace {
		f.Keyspace = s.shared.keyspace.count(s.backend, s.logStorage)
	}
	return f
}

func (s *Server) logStorage(err error) {
	s.log.Error().Err(err).Msg("cannot count the keys for INFO")
}

func (s *Server) storeFacts(f *command.Facts) {
	if s.options.StoreFacts == nil {
		return
	}
	store := s.options.StoreFacts()
	f.BlockCacheBytes, f.MemtableBytes = store.BlockCacheBytes, store.MemtableBytes
	f.DiskFreeBytes, f.Expired = store.DiskFreeBytes, store.ExpiredKeys
	f.OnceEntries = store.OnceEntries
}

// memoryFacts: the heap is read without stopping the process. Pebble's caches are in it, unless
// they are allocated by hand, in which case StoreFacts knows them.
func (s *Server) memoryFacts(f *command.Facts) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() == metrics.KindUint64 {
		f.UsedMemory = sample[0].Value.Uint64()
	}
	f.UsedMemoryRSS, f.SystemMemory = residentBytes(), systemBytes()
	for {
		peak := s.shared.peakBytes.Load()
		if f.UsedMemory <= peak || s.shared.peakBytes.CompareAndSwap(peak, f.UsedMemory) {
			f.UsedMemoryPeak = max(peak, f.UsedMemory)
			return
		}
	}
}

func (s *Server) counterFacts(f *command.Facts) {
	stats := s.shared.Stats
	f.Connections, f.Rejected = stats.Connections.Load(), stats.Rejected.Load()
	f.Commands, f.ErrorReplies = stats.Commands.Load(), stats.ErrorReplies.Load()
	f.BytesIn, f.BytesOut = stats.BytesIn.Load(), stats.BytesOut.Load()
	f.Hits, f.Misses = stats.Hits.Load(), stats.Misses.Load()
	f.OpsPerSec, f.BytesInPerSec, f.BytesOutPerSec = stats.rate.perSecond()
	f.Commandstats = stats.commandstats(s.shared.table)
	f.Errorstats = stats.errorstats()
}

// keyspaceCache keeps INFO from reading whole databases again and again. Some clients send INFO on
// every connect, and counting may be slow: so a count is used again for ten times as long as it
// took, which bounds its cost to a tenth of one core however often it is asked for.
type keyspaceCache struct {
	mu    sync.Mutex
	until time.Time
	last  [op.Databases]command.Keyspace
}

const keyspaceReuse = 10

func (k *keyspaceCache) count(b Backend, report func(error)) [op.Databases]command.Keyspace {
	k.mu.Lock()
	defer k.mu.Unlock()
	started := time.Now()
	if started.Before(k.until) {
		return k.last
	}
	view := b.View(true)
	defer view.Close()
	for db := range k.last {
		keys, expires, err := view.Count(uint8(db))
		if err != nil {
			report(err)
			break
		}
		k.last[db] = command.Keyspace{Keys: keys, Expires: expires}
	}
	now := time.Now()
	k.until = now.Add(keyspaceReuse * now.Sub(started))
	return k.last
}
