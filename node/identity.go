package node

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kelek/raftcore"
	"kelek/raftcore/wire"
)

// Names of the files that this part owns in a data directory.
const (
	identityFile = "IDENTITY"
	identityTemp = "IDENTITY.tmp"
	lockName     = "LOCK"
)

// identityFormat is the version in the first line of the identity file.
const identityFormat = 1

// defaultName is the name of a new node that was not given one.
const defaultName = "n1"

// identityBytesMax bounds what is read of an identity file; a whole one has below 2 KiB.
const identityBytesMax = 64 << 10

var errLocked = errors.New("locked by another process")

// Identity is who this data directory is. Its node id is random and new for every empty directory,
// so a machine that lost its disk is a new Raft member that happens to bear an old name, and can
// never vote twice. The boot counter is raised, durably, by each OpenIdentity.
//
// Invariant: a node id that anybody has seen, and the boot number it came with, are on disk.
type Identity struct {
	NodeID raftcore.NodeID
	Name   string
	Boot   uint64 // number of this start, from 1

	// ClusterID is zero until the node formed or adopted a cluster. It then never changes, unless its
	// creator stopped before the cluster came to be (see Form).
	ClusterID [16]byte
	// Founders are the members of the cluster's first configuration, as created or as invited.
	Founders []wire.Founder
	// Creator: this node made ClusterID, and so wrote the first entry of its log.
	Creator bool
	// Removed is why this node no longer belongs to it: one line, empty while it does.
	Removed string

	dir  string
	disk disk
	lock io.Closer
}

// disk is the four steps that make a file durable, and what the lock needs; a fake fails each.
type disk interface {
	writeSynced(path string, content []byte) error // create or truncate, write, sync, close
	rename(from, to string) error
	syncDir(dir string) error
	random(b []byte) error
}

type realDisk struct{}

func (realDisk) rename(from, to string) error { return os.Rename(from, to) }
func (realDisk) syncDir(dir string) error     { return syncDir(dir) }
func (realDisk) random(b []byte) error        { _, err := rand.Read(b); return err }

func (realDisk) writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// OpenIdentity locks a data directory, which it creates when it is not there, and returns who it
// is, with the boot counter raised. name is the node's name; empty takes the stored one, or n1 for
// a new directory. Errors are ExitErrors.
func OpenIdentity(dir, name string) (*Identity, error) {
	return openIdentity(dir, name, realDisk{})
}

func openIdentity(dir, name string, d disk) (*Identity, error) {
	if name != "" {
		if err := CheckName(name); err != nil {
			return nil, &ExitError{ExitConfig, fmt.Errorf("--id: %w", err)}
		}
	}
	if err := prepareDir(dir, d); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	id := &Identity{dir: dir, disk: d, lock: lock}
	if err := id.start(name); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return id, nil
}

// start loads or creates what the directory says, and counts this start.
func (id *Identity) start(name string) error {
	content, err := readBounded(filepath.Join(id.dir, identityFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = id.create(name)
	case err != nil:
		err = fileError(fmt.Errorf("identity file: %w", err))
	default:
		err = id.load(content, name)
	}
	if err != nil {
		return err
	}
	id.Boot++
	return id.save()
}

func (id *Identity) create(name string) error {
	if name == "" {
		name = defaultName
	}
	id.Name = name
	for id.NodeID == 0 { // zero is nobody
		var b [8]byte
		if err := id.disk.random(b[:]); err != nil {
			return &ExitError{ExitUnexpected, fmt.Errorf("random node id: %w", err)}
		}
		id.NodeID = raftcore.NodeID(binary.BigEndian.Uint64(b[:]))
	}
	return nil
}

func (id *Identity) load(content []byte, name string) error {
	path := filepath.Join(id.dir, identityFile)
	if err := id.decode(content); err != nil {
		var exit *ExitError
		if errors.As(err, &exit) {
			return &ExitError{exit.Code, fmt.Errorf("%s: %w", path, exit.Err)}
		}
		return &ExitError{ExitCorrupt, fmt.Errorf("%s is damaged: %w; move the directory away "+
			"and start with an empty one, which joins as a new node", path, err)}
	}
	if id.Removed != "" {
		return &ExitError{ExitRemoved, fmt.Errorf("data directory %s: %s; a node that was removed does "+
			"not come back: start with an empty directory, which joins as a new node", id.dir, id.Removed)}
	}
	if name != "" && name != id.Name {
		return &ExitError{ExitIdentity, fmt.Errorf("data directory %s belongs to node %q, not to %q: "+
			"start with --id %s, or choose another --dir", id.dir, id.Name, name, id.Name)}
	}
	return nil
}

// SetCluster records, durably, the cluster that this node belongs to from now on; creator says that
// this node made it. A node never goes from one cluster to another.
func (id *Identity) SetCluster(cluster [16]byte, founders []wire.Founder, creator bool) error {
	if id.ClusterID != [16]byte{} && cluster != id.ClusterID {
		return &ExitError{ExitIdentity, fmt.Errorf("data directory %s belongs to cluster %s, not to %s",
			id.dir, ClusterName(id.ClusterID), ClusterName(cluster))}
	}
	return id.ReplaceCluster(cluster, founders, creator)
}

// ReplaceCluster is SetCluster for a node whose former cluster never came to be: its creator
// stopped before the first entry was durable, and has told nobody. Only Form can know that.
func (id *Identity) ReplaceCluster(cluster [16]byte, founders []wire.Founder, creator bool) error {
	if cluster == ([16]byte{}) {
		return errors.New("identity: the cluster id is zero")
	}
	next := *id
	next.ClusterID, next.Founders, next.Creator = cluster, slices.Clone(founders), creator
	if err := next.save(); err != nil {
		return err
	}
	*id = next
	return nil
}

// SetRemoved records, durably, that the cluster has removed this node.
func (id *Identity) SetRemoved(why string) error {
	next := *id
	next.Removed = strings.Join(strings.Fields(why), " ")
	if err := next.save(); err != nil {
		return err
	}
	*id = next
	return nil
}

// Close gives the directory free.
func (id *Identity) Close() error { return id.lock.Close() }

// save replaces the identity file: temporary file, sync, rename, sync of the directory. After a
// crash the file is the old one or the new one, and after a return it is the new one.
func (id *Identity) save() error {
	temp, path := filepath.Join(id.dir, identityTemp), filepath.Join(id.dir, identityFile)
	if err := id.disk.writeSynced(temp, id.encode()); err != nil {
		return fileError(fmt.Errorf("write identity: %w", err))
	}
	if err := id.disk.rename(temp, path); err != nil {
		return fileError(fmt.Errorf("write identity: %w", err))
	}
	if err := id.disk.syncDir(id.dir); err != nil {
		return fileError(fmt.Errorf("sync data directory: %w", err))
	}
	return nil
}

// The file is text, for people who look after a broken machine; one word and its value per line,
// in this order, ended by the checksum of all bytes before its line:
//
//	kelek identity 1
//	node 9f86d081884c7d65
//	name n1
//	boot 7
//	cluster 7c1e44a9...            32 digits; zeros: none yet
//	creator false
//	founder 9f86d081884c7d65 n1    once per founder
//	removed n1 was removed ...     once the cluster has removed this node
//	crc32c 1a2b3c4d
const identityMagic = "kelek identity "

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (id *Identity) encode() []byte {
	b := fmt.Appendf(nil, "%s%d\nnode %016x\nname %s\nboot %d\ncluster %x\ncreator %t\n",
		identityMagic, identityFormat, uint64(id.NodeID), id.Name, id.Boot, id.ClusterID, id.Creator)
	for _, f := range id.Founders {
		b = fmt.Appendf(b, "founder %016x %s\n", uint64(f.ID), f.Name)
	}
	if id.Removed != "" {
		b = fmt.Appendf(b, "removed %s\n", id.Removed)
	}
	return fmt.Appendf(b, "crc32c %08x\n", crc32.Checksum(b, castagnoli))
}

// decode reads what encode wrote. The version comes before the checksum, so that a newer file is
// not taken for a damaged one.
func (id *Identity) decode(content []byte) error {
	if err := checkFormat(content); err != nil {
		return err
	}
	at := strings.LastIndex(strings.TrimSuffix(string(content), "\n"), "\n") + 1
	body, tail := content[:at], string(content[at:])
	if tail != fmt.Sprintf("crc32c %08x\n", crc32.Checksum(body, castagnoli)) {
		return errors.New("checksum mismatch")
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")[1:] {
		word, value, _ := strings.Cut(line, " ")
		if err := id.decodeLine(word, value); err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
	}
	if id.NodeID == 0 || id.Boot == 0 {
		return errors.New("node id or boot counter is missing")
	}
	return CheckName(id.Name)
}

func checkFormat(content []byte) error {
	line, _, _ := strings.Cut(string(content), "\n")
	text, found := strings.CutPrefix(line, identityMagic)
	version, err := strconv.ParseUint(text, 10, 32)
	if !found || err != nil {
		return errors.New("it does not begin as an identity file does")
	}
	if version != identityFormat {
		return &ExitError{ExitNewer, fmt.Errorf("identity format %d; this version of kelek reads %d: "+
			"start the newer version", version, identityFormat)}
	}
	return nil
}

func (id *Identity) decodeLine(word, value string) (err error) {
	switch word {
	case "node":
		id.NodeID, err = parseNodeID(value)
	case "name":
		id.Name = value
	case "boot":
		id.Boot, err = strconv.ParseUint(value, 10, 64)
	case "cluster":
		id.ClusterID, err = parseClusterID(value)
	case "creator":
		id.Creator, err = strconv.ParseBool(value)
	case "founder":
		f := wire.Founder{}
		text, name, _ := strings.Cut(value, " ")
		f.ID, err = parseNodeID(text)
		f.Name = name
		id.Founders = append(id.Founders, f)
	case "removed":
		id.Removed = value
	default:
		err = errors.New("unknown word")
	}
	return err
}

func parseNodeID(text string) (raftcore.NodeID, error) {
	n, err := strconv.ParseUint(text, 16, 64)
	return raftcore.NodeID(n), err
}

func parseClusterID(text string) (id [16]byte, err error) {
	b, err := hex.DecodeString(text)
	if err == nil && len(b) != len(id) {
		err = fmt.Errorf("%d bytes instead of %d", len(b), len(id))
	}
	copy(id[:], b)
	return id, err
}

// ClusterName is a cluster id as people see it: the first eight digits, as in 7c1e-44a9.
func ClusterName(id [16]byte) string {
	return fmt.Sprintf("%x-%x", id[0:2], id[2:4])
}
