package mesh

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

const socketTable = "/proc/net/tcp"

// Supported says why there can be no mesh on this system, or nil.
func Supported() error {
	if _, err := os.Stat(socketTable); err != nil {
		return fmt.Errorf("this system does not tell which process dialled: %w", err)
	}
	return nil
}

var errStranger = errors.New("no node of this cluster")

// dialler names the node whose process holds the socket with these addresses, seen from there.
func dialler(local, remote *net.TCPAddr, owner map[int]string) (string, error) {
	inode, err := socketInode(local, remote)
	if err != nil {
		return "", err
	}
	want := "socket:[" + inode + "]"
	for pid, name := range owner {
		descriptors := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(descriptors)
		if err != nil {
			continue // that process has ended
		}
		for _, entry := range entries {
			// A descriptor that was closed meanwhile is not the one.
			if held, _ := os.Readlink(filepath.Join(descriptors, entry.Name())); held == want {
				return name, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", local, errStranger)
}

// socketInode looks a socket up by its addresses in the system's table of IPv4 sockets. Its lines:
//
//	sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
//	 0: 0100007F:1901 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 31337
func socketInode(local, remote *net.TCPAddr) (string, error) {
	table, err := os.Open(socketTable)
	if err != nil {
		return "", err
	}
	defer table.Close() // only read
	here, there := tableAddress(local), tableAddress(remote)
	const localField, remoteField, inodeField = 1, 2, 9
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > inodeField && fields[localField] == here && fields[remoteField] == there {
			return fields[inodeField], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%s has no socket: %w", local, errStranger)
}

// tableAddress writes an address as the table does: the four bytes of the network's order as one
// number of this machine's, which is little endian wherever there is a mesh.
func tableAddress(a *net.TCPAddr) string {
	ip := a.IP.To4()
	if ip == nil {
		return ""
	}
	return strings.ToUpper(hex.EncodeToString([]byte{ip[3], ip[2], ip[1], ip[0]})) +
		fmt.Sprintf(":%04X", a.Port)
}
